"""A training resolved against its images: every setting that depends on them, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data import request
from selfsight.data.describe import describe
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.notes import doubt
from selfsight.data.options import Images
from selfsight.data.pool import Pool, open_pool
from selfsight.data.statistics import Statistics, channel_statistics
from selfsight.methods import METHODS, name_of
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import NAMES, BackboneSpec
from selfsight.networks.stages import scales_and_shifts
from selfsight.runs.folder import RunFolder
from selfsight.runs.lineage import lineage_of_weights
from selfsight.runs.run import LABELS_READ
from selfsight.training.begun import as_begun
from selfsight.training.continuing import continued, in_epochs, left_alone, suits
from selfsight.training.device import choose_device, choose_speed
from selfsight.training.presets import with_length, with_preset
from selfsight.training.settings import Pretrain, method_name
from selfsight.training.start import Beginning, begin, check_named_code, working_size
from selfsight.training.supervision import labels_to_read
from selfsight.views.presets import resolve

Part = tuple[NDArray[Any], NDArray[np.int64]]


@dataclass(frozen=True)
class Plan:
    """A training that has been resolved against its images and not begun."""

    settings: Pretrain
    folder: RunFolder
    images: ImageSet
    parts: tuple[Part, ...]
    target: Target | None
    labels: Target | None
    statistics: Statistics
    spec: BackboneSpec
    device: torch.device
    notes: tuple[str, ...]
    leaks: tuple[str, ...] = ()
    on_device: bool = False
    """Whether all pixels lie on the device."""
    beginning: Beginning | None = None
    """What the backbone starts from; None: fresh weights."""
    pools: tuple[Pool, ...] = ()
    """What is trained on besides the image set."""
    labels_read: Target | None = None
    """The target as the training reads it; None where it reads no labels."""

    @property
    def epochs(self) -> int:
        assert self.settings.epochs is not None
        return self.settings.epochs

    @property
    def batch_size(self) -> int:
        assert self.settings.batch_size is not None
        return self.settings.batch_size

    @property
    def rows(self) -> int:
        return sum(len(rows) for _, rows in self.parts)


def prepare(settings: Pretrain, images: Images | None = None, *, trains: bool = True) -> Plan:
    """Opens the images and resolves every setting that depends on them.

    Args:
        settings: see `Pretrain`.
        images: what to open instead of ``settings.data``.
        trains: published weights are trained; where not, only if the settings ask for a training.

    Raises:
        ValueError: see `pretrain`.
    """
    kind = METHODS[method_name(settings.method)]
    device = choose_device(settings.device)
    if device.index is not None and settings.devices > 1:
        raise ValueError(
            f"device {settings.device!r} is one GPU, and devices is {settings.devices}: give cuda."
        )
    teachers = kind.teachers(settings.method)
    start = lineage_of_weights(settings.weights, settings.labels, teachers)
    opened = request.open(settings, images, records=start.records, seen=start.seen)
    settings, resized = _sized(settings, opened, reopen=images is None)
    if resized:
        opened = request.open(settings, records=start.records, seen=start.seen)
    target = _target(opened, settings.target)
    notes = [*describe(opened, settings), *(doubt(c) for c in start.cautions), *resized]
    settings, labels, said = _labels(settings, opened, target)
    notes += said
    check_named_code(settings)
    beginning = begin(settings, opened)
    settings = beginning.settings
    notes += beginning.notes
    if not trains:
        settings, said = left_alone(settings, beginning.source)
        notes += said
    if settings.anchor and beginning.source == "none":
        raise ValueError(
            "anchor: it holds the weights near those of a start, and the training starts from "
            "random ones; give --weights published, a file or a run, or leave --anchor out."
        )
    pools = tuple(open_pool(settings, source, opened) for source in settings.pool)
    parts = [(opened.pixels, opened.pool), *((pool.images.pixels, pool.rows) for pool in pools)]
    for pool in pools:
        without = f", without {pool.left_out:,} that are validation or test images"
        notes.append(
            f"Pretraining also sees {counted(len(pool.rows), 'image')} of {pool.images.name}"
            f"{without if pool.left_out else ''}."
        )
    count = sum(len(rows) for _, rows in parts)
    own_views = settings.views is not None
    if suits(settings, kind, beginning.source):
        settings, preset_notes = continued(
            settings, kind, count, batch_norm=beginning.has_batch_norm
        )
        settings, said = with_length(settings, count)
    else:
        settings, said = with_length(settings, count)
        settings = in_epochs(settings, count)
        settings, preset_notes = with_preset(settings, min(opened.height, opened.width))
    notes += said
    settings = in_epochs(_settled(settings), count)
    assert settings.batch_size is not None
    if count < 2 and settings.epochs:
        there = "is one image" if count else "are no images"
        raise ValueError(
            f"{opened.name}: there {there} to train on, and a training needs two; of its "
            f"{len(opened):,} the others are test or validation (--test, --validation, --limit)."
        )
    if settings.batch_size > count and settings.epochs:
        raise ValueError(
            f"batch size {settings.batch_size} is larger than the {counted(count, 'image')} "
            "to train on; "
            f"give --batch-size {max(2, min(256, count // 4))} or less."
        )
    processes = settings.devices * settings.nodes
    if settings.batch_size % processes:
        raise ValueError(
            f"batch size {settings.batch_size} does not divide by "
            f"{counted(processes, 'process', 'processes')}."
        )
    views, sentence = resolve(
        settings.views or kind.views,
        opened,
        untouched="as given" if own_views else "of the paper" if settings.preset == "paper" else "",
    )
    notes += [*(preset_notes if settings.epochs else []), sentence]
    # Weights that stay as they are belong to no method, and a training from them stands beside.
    end = "start" if settings.epochs == 0 else Path(name_of(kind.Settings)).stem
    out = settings.out or f"runs/{Path(settings.data).stem}-{end}"
    settings, kept = as_begun(settings, RunFolder(out))
    beginning = replace(beginning, settings=settings)
    spec = beginning.spec(opened, device.type, tokens="tokens" in kind.needs)
    if "tokens" in kind.needs and spec.name not in NAMES:
        _need_tokens(spec)
    if settings.freeze == "all_but_norms":
        _need_norms(spec)
    notes.append(spec.said)
    speed = choose_speed(
        device,
        precision=settings.precision,
        begun="precision" in kept,
        memory_format=settings.memory_format,
        compiled=settings.compile,
        placement=settings.placement,
        convolutions=not spec.name.startswith("vit"),
        pixel_bytes=sum(
            len(rows) * int(np.prod(p.shape[1:])) * p.dtype.itemsize for p, rows in parts
        ),
    )
    notes.append(speed.said)
    own = channel_statistics(opened, opened.pool)
    normalise, statistics, sentence = beginning.normalisation(own)
    side = max(opened.height, opened.width)
    wanted = kind.normalisation(settings.method, opened.channels, side)
    if wanted is not None and settings.normalise == "auto":
        normalise, (statistics, whose) = "auto", wanted
        sentence = f"Normalised as the weights of {whose} were trained."
    notes += [sentence] * bool(sentence)
    if settings.epochs == 0 and trains:
        notes.append("Epochs 0: the weights are kept as they are.")
    resolved = settings.updated(
        {
            "out": out,
            "views": views,
            "precision": speed.precision,
            "memory_format": speed.memory_format,
            "compile": speed.compile,
            "backbone": spec.name,
            "network": spec.network,
            "device": str(device),
            "normalise": normalise,
            "representation": _representation(settings, beginning),
        }
    )
    return Plan(
        resolved,
        RunFolder(out),
        opened,
        tuple(parts),
        target,
        labels,
        statistics,
        spec,
        device,
        tuple(notes),
        (*opened.leaks, *(leak for pool in pools for leak in pool.leaks)),
        speed.placement == "device",
        beginning,
        pools,
        labels if resolved.supervision.on or "labels" in kind.needs else None,
    )


def _sized(settings: Pretrain, images: ImageSet, *, reopen: bool) -> tuple[Pretrain, list[str]]:
    """Settings with the size that published weights were made for, where the images are larger."""
    side = working_size(settings, images) if reopen else None
    if side is None:
        return settings, []
    before = f"{images.height} x {images.width} px"
    settings = settings.updated({"image_size": side})
    said = (
        f"Images of {before} are brought to {side} px, the size the weights were published for; "
        "--image-size N shows more detail and costs (N / "
        f"{side}) squared times as much."
    )
    return settings, [said]


def _settled(settings: Pretrain) -> Pretrain:
    """What is still open of the backbone's weights and statistics, decided.

    Raises:
        ValueError: frozen stages whose statistics would move.
    """
    frozen = settings.freeze == "early"
    still = settings.freeze if settings.freeze != "auto" else "none"
    if frozen and settings.batch_norm == "trained":
        raise ValueError(
            "batch_norm 'trained': the statistics of frozen stages would still move; give "
            "--batch-norm held, or --freeze none."
        )
    return settings.updated(
        {
            "freeze": still,
            "batch_norm": "held" if frozen or settings.batch_norm == "held" else "trained",
        }
    )


def _representation(settings: Pretrain, beginning: Beginning) -> str:
    """What represents an image: as asked, as in the run it starts from, or by the weights."""
    if settings.representation != "auto":
        return settings.representation
    if beginning.run is not None:
        return str(beginning.run.plain.get("representation", "output"))
    return "stages" if beginning.source == "published" else "output"


def _need_tokens(spec: BackboneSpec) -> None:
    """Builds a network of the user's own to see whether it has patch tokens."""
    if not build_backbone(spec, seed=0).has_tokens:
        raise ValueError(
            f"backbone {spec.name!r}: the method needs patch tokens; give the module a method "
            "tokens(images, keep), or leave --backbone out."
        )


def _need_norms(spec: BackboneSpec) -> None:
    """Builds the network to see whether its normalisations have a scale and a shift."""
    if not scales_and_shifts(build_backbone(spec, seed=0).network):
        raise ValueError(
            f"freeze 'all_but_norms': {spec.name} has no normalisation with a scale and a shift, "
            "so nothing would learn; give --freeze early or none."
        )


def _target(images: ImageSet, name: str | None) -> Target | None:
    if name is None and len(images.targets) > 1:
        return None
    return choose_target(images, name)


def _labels(
    settings: Pretrain, images: ImageSet, target: Target | None
) -> tuple[Pretrain, Target | None, list[str]]:
    """Settings with the share of labelled rows resolved, the labels to read, and what is said.

    Raises:
        ValueError: labels are asked for and there are several targets, or they are needed and
            there are none.
    """
    kind, supervision = METHODS[method_name(settings.method)], settings.supervision
    asked = supervision.on or "labels" in kind.needs
    if target is None:
        target = choose_target(images, settings.target) if asked else None
    labels = None if target is None else labels_to_read(target, images, supervision)
    known = 0 if labels is None else int(labels.known.sum())
    if not asked:
        return settings, labels, []
    name = method_name(settings.method)
    if not known and "labels" in kind.needs:
        raise ValueError(
            f"method {name!r} learns from labels, and {images.name} has none on its train images; "
            "join some with --labels FILE, or take another method."
        )
    if not known:
        return settings, labels, ["No train image has a label: supervision is left out."]
    assert labels is not None
    if supervision.labelled_share is None and kind.labelled_share is not None:
        settings = settings.updated({"supervision.labelled_share": kind.labelled_share})
    share = settings.supervision.labelled_share
    oversampled = f", oversampled to {share:.0%} of each batch" if share else ""
    train = int(images.targets[labels.name].known[images.rows("train")].sum())
    said = (
        f"{LABELS_READ} {known:,} of the {counted(train, 'label')} of {labels.name}{oversampled}."
    )
    return settings, labels, [said]
