"""Are the features robust? The linear probe on test images with blur, noise, JPEG, less light.

The probe is the one of clean images, fitted on the largest share of the labels; only what it is
applied to changes. The kinds are those of Hendrycks and Dietterich (arXiv:1903.12261), made by the
operations of our own views, at three strengths that suit any size and value range.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import progress, say
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics, channel_statistics
from selfsight.draws import keys_of, normal
from selfsight.evaluation.measured import Measured
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
from selfsight.evaluation.subject import Subject
from selfsight.evaluation.summary import ends, score_interval
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.scores import score
from selfsight.views.ops import adjust_brightness, gaussian_blur, to_unit, unit_scale
from selfsight.vocabulary import headline

STRENGTHS: dict[str, tuple[float, float, float]] = {
    "blur": (0.01, 0.02, 0.04),
    "noise": (0.25, 0.5, 1.0),
    "jpeg": (60, 30, 10),
    "brightness": (0.8, 0.6, 0.4),
}
"""Standard deviation of a Gaussian as a share of the longer side; of noise, in those of the
channel; quality; the factor of all values."""
_STREAM, _BATCH = 0, 256


def corrupt(
    pixels: NDArray[np.generic], kind: str, strength: int, statistics: Statistics, first: int = 0
) -> NDArray[np.generic]:
    """Images with one corruption, in their own dtype.

    Args:
        pixels: ``(B, H, W, C)`` uint8, uint16 or float32, raw.
        kind: a key of `STRENGTHS`; ``jpeg`` takes 1 or 3 channels of uint8.
        strength: 1 to 3.
        statistics: of the channels; noise is a share of their standard deviation.
        first: number of the first image; the noise is a function of it.
    """
    amount = STRENGTHS[kind][strength - 1]
    if kind == "jpeg":
        return np.stack([_jpeg(image, int(amount)) for image in pixels])
    raw = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    images, has_range = to_unit(raw).clone(), raw.dtype != torch.float32
    count, _, height, width = images.shape
    if kind == "blur":
        sigma = max(amount * max(height, width), 0.3)
        half = min(max(1, round(3 * sigma)), min(height, width) - 1)
        made = gaussian_blur(images, torch.full((count,), sigma), 2 * half + 1)
    elif kind == "brightness":
        made = adjust_brightness(images, torch.full((count,), amount), clamp=has_range)
    else:
        keys = keys_of(0, strength, torch.arange(first, first + count))
        drawn = normal(keys, _STREAM, images[0].numel()).reshape(images.shape)
        std = torch.tensor(statistics.std, dtype=torch.float32)[:, None, None]
        made = images + amount * std * drawn
    return _raw(made, raw.dtype)


def _raw(images: Tensor, dtype: torch.dtype) -> NDArray[np.generic]:
    if dtype != torch.float32:
        scale = unit_scale(dtype)
        top = round(1 / scale)
        images = (images.clamp(0, 1) / scale).round().clamp(0, top).to(torch.int32)
    plain = images.permute(0, 2, 3, 1).contiguous().numpy()
    return plain if dtype == torch.float32 else plain.astype(str(dtype).removeprefix("torch."))


def _jpeg(image: NDArray[np.generic], quality: int) -> NDArray[np.generic]:
    from PIL import Image

    grey = image.shape[2] == 1
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if grey else image).save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer))
    return decoded[:, :, None] if grey else decoded


def kinds_for(images: ImageSet) -> list[str]:
    """The corruptions that these images can have."""
    jpeg = images.pixels.dtype == np.uint8 and images.channels in (1, 3)
    return [kind for kind in STRENGTHS if kind != "jpeg" or jpeg]


def words(kind: str, strength: int, images: ImageSet) -> str:
    """The strength in numbers: ``sigma 0.64 px``."""
    amount = STRENGTHS[kind][strength - 1]
    if kind == "blur":
        return f"sigma {max(amount * max(images.height, images.width), 0.3):.2g} px"
    if kind == "noise":
        return f"s.d. {amount:g} of the channel's"
    return f"quality {amount:g}" if kind == "jpeg" else f"values x {amount:g}"


def corrupted(
    results: Results,
    place: Row,
    measured: Measured,
    subset: Subset,
    rows: NDArray[np.int64],
    resampling: Resampling,
) -> None:
    """Adds to ``results.corruptions`` the headline metric of each subject, clean and corrupted.

    Args:
        results: are added to; each reading of the test split is noted.
        place: of the target.
        measured: the images, and the subjects: those that have a network are scored.
        subset: that the probe is fitted on.
        rows: ``(M,)`` scored rows.
        resampling: of the scored rows.
    """
    images, target = measured.images, subset.target
    statistics = channel_statistics(images, images.rows("train"))
    metric, kinds = headline(target.kind), kinds_for(images)
    able = [subject for subject in measured.found if subject.represent is not None]
    about = {
        **place,
        "probe": "linear",
        "label_fraction": None,
        "num_labels": len(subset),
        "label_seed": subset.seed,
    }
    if any(len(subject.of_draw) > 1 or subject.seeds for subject in able):
        results.notes.append(
            "Corruptions are of one initialisation of the untrained network and one training seed, "
            "also where they are clean; the table of probes has several."
        )
    if len(kinds) < len(STRENGTHS):
        results.notes.append("JPEG needs 8 bits and one or three channels: it was left out.")
    fitted = {s.name: PROBES["linear"](subset, s.at(0)) for s in able}

    def add(subject: Subject, features: Tensor, kind: str, strength: int) -> None:
        fit = fitted[subject.name]
        output = fit.output(features)
        values = score(target, output, rows, resampling.weights, fit.thresholds)[metric, None]
        here = {**about, "subject": subject.name}
        interval = score_interval(metric, values[None, None], resampling)
        amount = words(kind, strength, images) if strength else "clean"
        which = {"corruption": kind, "strength": strength, "amount": amount, "metric": metric}
        row = {**here, **which, **ends(interval)}
        results.corruptions.append({n: v for n, v in row.items() if n != "label_seed"})
        results.note_reading({**here, "corruption": f"{kind} {strength}"})

    for subject in able:
        add(subject, subject.at(0).at(rows), "none", 0)
    part = images.take(rows)
    with progress("corruptions", 3 * len(kinds)) as step:
        for kind, strength in itertools.product(kinds, (1, 2, 3)):
            other = part.changed(pixels=_corrupted(part, kind, strength, statistics))
            for subject in able:
                assert subject.represent is not None
                features = subject.represent(other, f"{kind}-{strength}")
                damaged = ~torch.isfinite(features).all(1, keepdim=True)
                device = subject.at(0).values.device
                features = torch.where(damaged, torch.zeros_like(features), features)
                add(subject, features.to(device), kind, strength)
            step.update()
    say(f"{images.name}, {target.name}: {', '.join(kinds)} at three strengths each")


def _corrupted(
    images: ImageSet, kind: str, strength: int, statistics: Statistics
) -> NDArray[np.generic]:
    """`corrupt` of all images, some at a time."""
    return np.concatenate(
        [
            corrupt(images.pixels[first : first + _BATCH], kind, strength, statistics, first)
            for first in range(0, len(images), _BATCH)
        ]
    )
