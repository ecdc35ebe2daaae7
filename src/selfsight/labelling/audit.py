"""The verb `audit`; with a run also labels that are probably wrong, and drift from other images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from selfsight.console import say
from selfsight.data.audit import AuditData, Audited, audit_data
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.options import Images
from selfsight.files import write_json
from selfsight.fitting.novelty import unit
from selfsight.labelling.drift import Drift, drift
from selfsight.labelling.wrong_labels import LabelChecks, check_labels
from selfsight.models.tables import writing_table
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.pictures import encoded
from selfsight.neighbours.shown import shown_picture
from selfsight.records.labelling import LabelsFile, SuspiciousLabel
from selfsight.reporting.wrong_labels import write_labels_page
from selfsight.runs.labels_read import LabelsRead
from selfsight.runs.lineage import lineage_of, source_of

PICTURED = 120
"""Labels that the page shows."""
SIDE = 96
TRAINED_ON_LABELS = (
    "{read:,} of the {checked:,} labels that are checked trained {run} or what it started from, so "
    "its representations repeat what is wrong in them: take a run that was trained without labels."
)


class AuditImages(AuditData):
    """Look for what crosses the splits, duplicates, broken images, wrong labels, and drift."""

    run: str | None = None
    """A finished run or a model whose representations find labels that are probably wrong."""
    against: str | None = None
    """Other images, such as those of last year: which of these images are new beside them, and how
    far the two sets are apart; only with --run."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1; only with --run."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""

    @model_validator(mode="after")
    def _settings_are_used(self) -> AuditImages:
        if self.against is not None and self.run is None:
            raise ValueError(
                "against: images are compared by the representations of a run; give --run too"
            )
        return self


@dataclass(frozen=True)
class AuditedWithRun(Audited):
    """An audit with labels that are probably wrong, and drift from other images.

    Attributes:
        labels: pyarrow, the most suspicious first; None: there were none to check.
        labels_page: path of ``labels.html``.
        drift: from the other images; None: none were named.
        caution: where the run was trained on labels; empty otherwise.
    """

    labels: Any = None
    labels_page: Path | None = None
    drift: Drift | None = None
    caution: str = ""

    def __str__(self) -> str:
        lines = [super().__str__()]
        if self.labels is not None:
            lines.append(f"{len(self.labels):,} suspicious labels: {self.labels_page}")
        if self.caution:
            lines.append(f"Caution: {self.caution}")
        if self.drift is not None:
            lines.append(str(self.drift))
        return "\n".join(lines)


def audit_images(settings: AuditImages, images: Images | None = None) -> Audited:
    """Audits images; with a run also their labels, and with other images the drift from them.

    ``labels.csv`` lists the train images whose label disagrees with predictions out of fold or with
    their neighbours, the most suspicious first; ``labels.html`` shows them. ``drift.csv`` has the
    distance of each image to the nearest one of the other images, and whether that is further than
    usual among those; ``drift.json`` and ``drift.html`` say how far the two sets are apart.

    Args:
        settings: see `AuditImages`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        What was found, and the paths of the pages.

    Raises:
        ValueError: the images or the run cannot be opened, there is no target of classes or
            labels (without other images), or too few images to compare.
    """
    plain = {name: getattr(settings, name) for name in AuditData.model_fields}
    found = audit_data(AuditData.model_validate(plain), images)
    if settings.run is None:
        return found
    encoder = Encoder.load(settings.run, device=settings.device, allow_code=settings.allow_code)
    opened = encoder.open(settings.data if images is None else images, settings)
    folder = found.page.parent
    compared: Drift | None = None
    if settings.against is not None:
        others = encoder.open(settings.against, settings.updated({"allow_leaks": True}))
        compared = drift(opened, others, encoder, folder, run=str(settings.run), seed=settings.seed)
    target = _checked_target(opened, settings)
    if target is None:
        return AuditedWithRun(found.audit, found.page, drift=compared)
    labels = suspicious_labels(opened, target, encoder, seed=settings.seed)
    with writing_table(folder / "labels.csv") as write:
        write(labels)
    record = _record(opened, target, labels, settings)
    write_json(folder / "labels.json", record.plain())
    page = write_labels_page(folder / "labels.json")
    return AuditedWithRun(found.audit, found.page, labels, page, compared, record.caution)


def _checked_target(images: ImageSet, settings: AuditImages) -> Target | None:
    """The target whose labels are checked; None where there is none and drift was asked for."""
    if settings.against is not None and settings.target is None and len(images.targets) != 1:
        return None
    target = choose_target(images, settings.target)
    if target is not None and target.kind in ("class", "labels"):
        if not len(_labelled(images, target)) and settings.against is not None:
            return None
        return target
    if settings.against is not None:
        return None
    kind = "no target" if target is None else f"{target.name}, which is {target.kind}"
    raise ValueError(f"run: {images.name} has {kind}; wrong labels are found of classes alone.")


def suspicious_labels(images: ImageSet, target: Target, encoder: Encoder, *, seed: int = 0) -> Any:
    """A pyarrow table of train images whose label is probably wrong, the most suspicious first.

    Columns: ``row_id``, ``target`` (of several labels the one in question), ``given``,
    ``predicted``, ``given_probability`` and ``predicted_probability`` (out of fold), ``agreeing``
    (share of the ten nearest images with the given label), ``suspicion`` (from 0 to 1).

    Args:
        images: in the form of the encoder.
        target: of kind class or labels.
        encoder: the network.
        seed: of the folds.

    Raises:
        ValueError: see `check_labels`.
    """
    import pyarrow as pa

    rows = _labelled(images, target)
    vectors = unit(encoder.vectors(images, rows, None))
    finite = np.isfinite(vectors.numpy()).all(1)
    rows, vectors = rows[finite], vectors[torch.from_numpy(finite)]
    groups = images.groups
    if groups is None:  # copies of one image must not confirm each other
        groups = np.unique(images.content.digests, return_inverse=True)[1].astype(np.int64)
    parts = []
    for name, names, classes, used in _questions(target, rows):
        known = np.isin(rows, used)
        try:
            checks = check_labels(
                vectors[torch.from_numpy(known)], classes, groups[used], seed=seed
            )
        except ValueError as error:
            if target.kind == "class":
                raise
            say(f"{name}: {error}")
            continue
        parts.append(_table(images.row_ids[used], name, names, classes, checks))
    if not parts:
        raise ValueError(f"{images.name}: no label of {target.name} can be checked.")
    table = pa.concat_tables(parts)
    return table.take(np.argsort(-table["suspicion"].to_numpy(), kind="stable"))


def _labelled(images: ImageSet, target: Target) -> NDArray[np.int64]:
    """The rows whose labels are checked: of the pool, never of validation or test."""
    pool = images.pool
    return pool[target.known[pool]]


Question = tuple[str, tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]


def _questions(target: Target, rows: NDArray[np.int64]) -> list[Question]:
    """Name, classes, values and rows: once for a class, once for each of several labels."""
    if target.kind == "class":
        return [(target.name, target.names, target.values[rows], rows)]
    found: list[Question] = []
    for at, name in enumerate(target.names):
        values = target.values[rows, at]
        known = ~np.isnan(values)
        found.append((name, ("no", "yes"), (values[known] > 0).astype(np.int64), rows[known]))
    return found


def _table(
    row_ids: NDArray[np.str_],
    name: str,
    names: tuple[str, ...],
    classes: NDArray[np.int64],
    checks: LabelChecks,
) -> Any:
    import pyarrow as pa

    at = np.flatnonzero(checks.suspicious)
    return pa.table(
        {
            "row_id": pa.array(row_ids[at].tolist(), pa.string()),
            "target": pa.array([name] * len(at), pa.string()),
            "given": pa.array([names[c] for c in classes[at]], pa.string()),
            "predicted": pa.array([names[c] for c in checks.predicted[at]], pa.string()),
            "given_probability": checks.given_probability[at],
            "predicted_probability": checks.predicted_probability[at],
            "agreeing": checks.agreeing[at],
            "suspicion": checks.suspicion[at],
        }
    )


def _record(images: ImageSet, target: Target, labels: Any, settings: AuditImages) -> LabelsFile:
    place = {row_id: row for row, row_id in enumerate(images.row_ids.tolist())}
    shown = []
    for one in labels.slice(0, PICTURED).to_pylist():
        pixels = np.asarray(images.pixels[place[one["row_id"]]])
        shown.append(
            SuspiciousLabel(
                row_id=one["row_id"],
                given=one["given"]
                if target.kind == "class"
                else f"{one['target']}: {one['given']}",
                predicted=one["predicted"],
                given_probability=one["given_probability"],
                agreeing=one["agreeing"],
                picture=shown_picture(encoded(pixels, SIDE)),
            )
        )
    rows, run = _labelled(images, target), str(settings.run)
    source = source_of(run)
    lineage = lineage_of([] if source is None else [source])
    read = int(LabelsRead.by(lineage, images, target.name).read[rows].sum())
    return LabelsFile(
        data=images.name,
        target=target.name,
        run=run,
        images=len(rows),
        suspicious=len(labels),
        table="labels.csv",
        shown=tuple(shown),
        caution=TRAINED_ON_LABELS.format(read=read, checked=len(rows), run=run) if read else "",
    )
