"""What an evaluation measures: images in their splits, and representations of them by subject."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.splits import at_most
from selfsight.evaluation.material import Material
from selfsight.evaluation.pooling import Pooling
from selfsight.evaluation.predictions import Predictions, settle
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import SENTENCES, Results
from selfsight.evaluation.subject import Subject
from selfsight.records.results import PROTOCOL
from selfsight.runs.folder import RunFolder
from selfsight.runs.lineage import Lineage
from selfsight.runs.lock import locked

MOST_UNLABELLED = 20_000
"""Images that measures without labels are taken of."""


@dataclass(frozen=True)
class Measured:
    """What is measured, on what, and where the results go.

    Attributes:
        folder: of results and predictions.
        images: in their splits.
        source: absolute path or address of the images; empty where they were in memory.
        split: that is scored; None: there is none.
        train: rows that statistics are fitted on.
        found: the subjects, the trained one first.
        weights: hash of the trained weights.
        representation: ``output``, ``mean`` or ``stages``.
        material: of a run; None where there are representations alone.
        notes: sentences of the results.
        told: leaks of the images that the training has told of.
        lineages: what subjects that are runs were trained on, by subject.
    """

    folder: RunFolder
    images: ImageSet
    source: str
    split: str | None
    train: NDArray[np.int64]
    found: Sequence[Subject]
    weights: str
    representation: str = "output"
    material: Material | None = None
    notes: tuple[str, ...] = ()
    told: Collection[str] = ()
    lineages: Mapping[str, Lineage] = field(default_factory=dict)

    @property
    def scored(self) -> NDArray[np.int64]:
        """Rows of the split that is scored."""
        return self.images.rows(self.split) if self.split else np.zeros(0, np.int64)

    @property
    def leaks(self) -> list[str]:
        """Leaks that the user allowed, after the name of the data."""
        images = self.images
        return [f"{images.name}: {leak}" for leak in images.leaks if leak not in self.told]

    def enter(
        self,
        results: Results,
        target: Target | None,
        *,
        balanced: bool,
        seed: int,
        finetuning: str = "",
    ) -> Row:
        """Adds the entry of `selfsight.records.results.Evaluation` to the results.

        Returns:
            What the records of the target have in common.
        """
        images = self.images
        groups = b"" if images.groups is None else images.groups.tobytes()
        sides = _hashed("\n".join(images.splits.tolist()).encode(), groups)
        labels = ""
        if target is not None:
            rows = np.union1d(images.rows("train"), self.scored)
            labels = _hashed(repr(target.names).encode(), target.values[rows].tobytes())
        entry: Row = {
            "data": images.name,
            "source": self.source,
            "fingerprint": images.fingerprint(),
            "sides": sides,
            "target": None if target is None else target.name,
            "labels": labels,
            "backbone": self.weights,
            "representation": self.representation,
            "balanced": balanced,
            "seed": seed,
            "finetuning": finetuning,
            "protocol": PROTOCOL,
        }
        content = {name: value for name, value in entry.items() if name not in ("data", "source")}
        key = _hashed(repr(sorted(content.items())).encode())
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        results.evaluations[key] = {**entry, "when": now, **{part: [] for part in SENTENCES}}
        place: Row = {"evaluation": key, "data": images.name, "split": self.split}
        if target is not None:
            known = target.known[Pooling.of(images).heads(images.rows("train"))]
            place |= {"task": target.kind, "target": target.name, "known_labels": int(known.sum())}
        return place

    def keep(
        self,
        results: Results,
        predictions: Predictions,
        write_more: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes predictions and results into the folder; another evaluation waits.

        Args:
            results: are written last: they hold the checksums of the other files.
            predictions: are added to those that are there.
            write_more: writes further files of the folder.
        """
        folder = self.folder
        with locked(folder.path, wait=True):
            digests = Results.read(folder.results).files if folder.results.exists() else {}
            results.notes += predictions.write(folder.predictions, digests)
            write_more()
            for evaluation in results.evaluations.values():
                for part in SENTENCES:
                    evaluation[part] = list(dict.fromkeys(getattr(results, part)))
            results.write()
            settle(folder.predictions)


def scored_split(images: ImageSet, wanted: str) -> str | None:
    """Test where there is one, else validation, else None.

    Raises:
        ValueError: the split that was asked for has no images.
    """
    for split in ("test", "validation") if wanted == "auto" else (wanted,):
        if len(images.rows(split)):
            return split
    if wanted != "auto":
        raise ValueError(f"split: {images.name} has no {wanted} images.")
    return None


def needed(
    images: ImageSet, labelled: bool, split: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All rows that are needed, ascending, and those that statistics are fitted on."""
    if labelled:
        return images.rows("train", "validation", "test"), images.rows("train")
    pool = at_most(images.pool, MOST_UNLABELLED, 0)
    scored = images.rows(split) if split else pool[:0]
    return np.union1d(pool, scored), pool


def learnable(targets: Sequence[Target], measured: Measured, notes: list[str]) -> list[Target]:
    """The targets that there is something to learn of; the others get a note.

    A vector comes without the numbers that are unknown in all images of train or of the split that
    is scored.

    Raises:
        ValueError: there is a single target, and it is of one class in train.
    """
    train, found = measured.images.rows("train"), []
    for target in targets:
        known = target.values[train][target.known[train]]
        if target.kind == "class" and len(np.unique(known)) < 2:
            only = target.names[int(known[0])]
            text = (
                f"target {target.name!r}: all labelled images of train are {only!r}, so there is "
                "nothing to learn"
            )
            if len(targets) == 1:
                raise ValueError(f"{text}; label images of another class, or name another target.")
            notes.append(f"{text}: it was left out.")
            continue
        if target.kind == "number" and len(target.names) > 1:
            sides = [target.values[rows] for rows in (train, measured.scored) if len(rows)]
            there = np.all([~np.isnan(side).all(0) for side in sides], axis=0)
            lacking = [name for name, is_there in zip(target.names, there, strict=True)
                       if not is_there]  # fmt: skip
            if lacking and there.any():
                notes.append(
                    f"{target.name}: {', '.join(lacking)} is unknown in all images of train or of "
                    f"{measured.split}; the table is of the other numbers."
                )
                names = tuple(n for n in target.names if n not in lacking)
                target = replace(target, values=target.values[:, there], names=names)
        found.append(target)
    return found


def source_of(data: object) -> str:
    """The absolute path of images, or their address; empty where they were in memory."""
    if not isinstance(data, str | Path):
        return ""
    path = Path(data)
    return str(path.resolve()) if path.exists() else str(data)


def _hashed(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
