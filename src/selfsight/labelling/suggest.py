"""The verb `suggest`: a run and its unlabelled images in, a table to fill in and a page out."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from selfsight.console import counted, say
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.notes import guesses
from selfsight.data.options import Images
from selfsight.data.pixels.display import displayed, write_pictures
from selfsight.data.reading import NONE
from selfsight.files import check_output_folder, csv_cell, write_json, write_text
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representation_cache import kept_representations
from selfsight.fitting.representations import Representations
from selfsight.labelling import strategies
from selfsight.labelling.sheet import write_sheet
from selfsight.records.labelling import SuggestedImage, SuggestionsFile
from selfsight.reporting.labelling import write_labelling_page
from selfsight.runs.request import RunData, images_of, reading_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device

TRAIN_PER_TEST = 4
RANDOM_TEST = "test: drawn at random; no training sees it"
FEW = 10
"""Labels a class below which images that stand for others help more than uncertain ones
(arXiv:2202.02794)."""


class Suggest(RunData):
    """Pick the images whose labels will help most, and write a table to fill in."""

    count: Annotated[int, Field(ge=1), tyro.conf.arg(aliases=("-n",))] = 50
    """How many images to suggest."""
    out: str = "suggestions"
    """Folder of labels.csv, sheet.png, suggestions.json and index.html."""
    by: Literal["auto", "representative", "typical", "coverage", "uncertainty", "random"] = "auto"
    """How to pick: representative (facility location), typical (TypiClust), coverage (k-centre),
    uncertainty or random; auto: representative, and uncertainty from ten labels a class on."""
    per_group: Annotated[int, Field(ge=1)] | None = None
    """Images of one group at most; None: twice an even share."""
    test_images: Annotated[int, Field(ge=0)] | None = None
    """Images of the test split to label too, drawn at random, so that results on test are of a
    random sample; None: one for every four that are suggested, as long as test has unlabelled
    images."""
    near: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Cosine of two representations above which their images are near-duplicates."""


@dataclass(frozen=True)
class Suggestions:
    """What was suggested.

    Attributes:
        rows: ``(n,)`` rows of the image set, the most helpful first; random test images last.
        row_ids: of these.
        reasons: one for each.
        folder: of labels.csv, sheet.png, suggestions.json and index.html.
    """

    rows: NDArray[np.int64]
    row_ids: list[str]
    reasons: list[str]
    folder: Path

    def __str__(self) -> str:
        return f"{counted(len(self.rows), 'image')} to label: {self.folder / 'labels.csv'}"


def suggest(settings: Suggest, images: Images | None = None) -> Suggestions:
    """Chooses images of train and unlabelled rows that have no label, and writes them down.

    A few random images of the test split stand beside them: labels of images that a model chose
    would make a test split that the model chose.

    Args:
        settings: see `Suggest`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        The images, the reason for each, and the folder of the files.

    Raises:
        ValueError: no such run or target, or no image without a label.
    """
    device = choose_device(settings.device)
    check_output_folder(settings.out)
    _keep_what_was_filled_in(settings)
    run = load_run(settings.run)
    if settings.labels is None and settings.data is None and run.settings.labels is not None:
        settings = settings.updated({"labels": run.settings.labels})
    images = images_of(run, settings, images)
    target = _target(run, settings, images)
    rows = images.pool
    labelled = np.zeros(len(rows), np.bool_) if target is None else target.known[rows]
    if labelled.all():
        raise ValueError(
            f"{images.name}: every image that may be trained on has a label already; there is "
            "nothing to suggest."
        )
    values = _represented(run, settings, images, rows, device)
    unit = strategies.unit_vectors(values)
    groups = groups_of(images.groups, rows)
    picker = strategies.Picker(
        unit, labelled, groups, near=settings.near, per_group=_per_group(settings, images, groups)
    )
    by = settings.by
    if by == "auto":
        many = target is not None and labelled.sum() >= FEW * _outputs(target)
        by = "uncertainty" if many else "representative"
    if by == "uncertainty" and (target is None or target.kind in ("number", "identity")):
        raise ValueError("by uncertainty: it needs a target of classes or of several labels.")
    if by == "uncertainty" and not labelled.any():
        raise ValueError("by uncertainty: there is no label yet; leave --by out.")
    if by == "representative":
        reasons = strategies.representative(picker, settings.count, seed=settings.seed)
    elif by == "typical":
        reasons = strategies.typical(picker, settings.count, seed=settings.seed)
    elif by == "coverage":
        reasons = strategies.k_centre(picker, settings.count)
    elif by == "random":
        reasons = strategies.at_random(picker, settings.count, seed=settings.seed)
    else:
        assert target is not None
        doubt = _uncertainty(settings, images, target, values, rows, labelled)
        reasons = strategies.uncertain(picker, settings.count, doubt)
    chosen = rows[np.array(picker.chosen, np.int64)]
    if len(chosen) < settings.count:
        say(
            f"Only {counted(len(chosen), 'image')} can be suggested: the others are "
            "near-duplicates of these or of labelled images, or of full groups (--near, "
            "--per-group)."
        )
    test = _random_test_images(settings, images, target)
    chosen, reasons = np.concatenate([chosen, test]), [*reasons, *[RANDOM_TEST] * len(test)]
    return _written(run, settings, images, target, chosen, reasons, by, int(labelled.sum()))


def _random_test_images(
    settings: Suggest, images: ImageSet, target: Target | None
) -> NDArray[np.int64]:
    """Test images without a label, drawn at random by the seed."""
    rows = images.rows("test")
    if target is not None:
        rows = rows[~target.known[rows]]
    count = settings.test_images
    if count is None:
        count = -(-settings.count // TRAIN_PER_TEST)
    random = np.random.default_rng([settings.seed, 5])
    return np.sort(random.permutation(rows)[:count])


def _keep_what_was_filled_in(settings: Suggest) -> None:
    path = Path(settings.out) / "labels.csv"
    if not path.is_file() or (
        settings.labels and Path(settings.labels).resolve() == path.resolve()
    ):
        return
    with open(path, newline="", encoding="utf-8") as file:
        if any(len(row) > 1 and row[1] for row in list(csv.reader(file))[1:]):
            raise ValueError(
                f"{path} has been filled in; give it as --labels {path}, or choose another --out."
            )


def _target(run: Run, settings: Suggest, images: ImageSet) -> Target | None:
    name = settings.target
    if name is None and run.settings.target in images.targets:
        name = run.settings.target
    if name is None:
        if len(images.targets) > 1:
            names = ", ".join(sorted(images.targets))
            raise ValueError(
                f"{images.name} has several targets; choose one with --target: {names}."
            )
        return next(iter(images.targets.values()), None)
    if images.targets and name not in images.targets:
        raise unknown(f"target in {images.name} named", name, images.targets)
    return images.targets.get(name)


def _represented(
    run: Run, settings: Suggest, images: ImageSet, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    """Representations of the rows, kept in the run."""
    backbone = run.backbone(allow_code=settings.allow_code)
    values = kept_representations(
        run.folder.representations,
        "pool",
        backbone,
        images,
        rows,
        run.statistics,
        device=device,
        said=f"representations of {counted(len(rows), 'image')}",
    )
    return torch.nan_to_num(values, posinf=0.0, neginf=0.0)


def _per_group(settings: Suggest, images: ImageSet, groups: NDArray[np.int64]) -> int | None:
    if settings.per_group is not None or images.groups is None:
        return settings.per_group
    return max(1, -(-2 * settings.count // len(np.unique(groups))))


def _outputs(target: Target) -> int:
    return max(1, len(target.names))


def _uncertainty(
    settings: Suggest,
    images: ImageSet,
    target: Target,
    values: Tensor,
    rows: NDArray[np.int64],
    labelled: NDArray[np.bool_],
) -> Tensor:
    """``(N,)`` in [0, 1], by a linear probe fitted on the labelled rows."""
    whole = Representations.of(values, rows, rows)
    subset = Subset(images, target, rows[labelled], settings.seed)
    probabilities = PROBES["linear"](subset, whole).predict(values).float()
    return strategies.margin(probabilities, several=target.kind == "labels")


def _written(
    run: Run,
    settings: Suggest,
    images: ImageSet,
    target: Target | None,
    chosen: NDArray[np.int64],
    reasons: list[str],
    by: str,
    labelled: int,
) -> Suggestions:
    folder = Path(settings.out)
    ids = images.row_ids[chosen].tolist()
    guessed = guesses(images.notes).get("separator", [])
    separators = (settings.separator, *guessed, *reading_of(run).get("separator", ()))
    separator = next((each for each in separators if each not in (None, NONE)), None) or "|"
    asked = None if settings.target == NONE else settings.target
    name = target.name if target is not None else asked or "label"
    write_text(folder / "labels.csv", _table(settings, images, target, ids, name, separator))
    write_sheet(folder / "sheet.png", displayed(np.asarray(images.pixels[chosen])))
    record = SuggestionsFile(
        run=settings.run,
        data=images.name,
        by=by,
        target=name,
        kind=None if target is None else target.kind,
        names=() if target is None else target.names,
        table="labels.csv",
        labelled=labelled,
        images=tuple(map(SuggestedImage, ids, reasons, images.splits[chosen].tolist())),
    )
    write_json(folder / "suggestions.json", record.plain())
    write_pictures(folder / "pictures.npz", images.pixels[chosen], range(len(chosen)))
    write_labelling_page(folder)
    return Suggestions(chosen, ids, reasons, folder)


def _table(
    settings: Suggest,
    images: ImageSet,
    target: Target | None,
    ids: list[str],
    name: str,
    separator: str,
) -> str:
    """``labels.csv``: the labels of ``--labels`` again, so that it replaces it, and empty cells."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["row_id", csv_cell(name)])
    if settings.labels is not None and target is not None:
        for row in np.flatnonzero(target.known).tolist():
            rows.writerow([csv_cell(images.row_ids[row]), _cell(target, row, separator)])
    rows.writerows([csv_cell(row_id), ""] for row_id in ids)
    return text.getvalue()


def _cell(target: Target, row: int, separator: str) -> str:
    value = target.values[row]
    if target.values.ndim == 1:
        return csv_cell(target.names[int(value)])
    if target.kind == "number":
        return repr(float(value[0]))
    # An empty cell would be unknown, not "none of them".
    names = [target.names[k] for k in np.flatnonzero(value == 1)]
    return csv_cell(separator.join(names) or separator)
