"""What is wrong with an image set before anyone trains on it: leaks, duplicates, blanks.

`selfsight.data.leaks` is quick and is what a training checks first; `audit` looks at everything.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress
from selfsight.data import request
from selfsight.data.describe import describe, value_text
from selfsight.data.duplicates import look
from selfsight.data.imageset import SPLITS, ImageSet, Target
from selfsight.data.leaks import copies_of, crossings_of, different_targets
from selfsight.data.notes import records, say_notes
from selfsight.data.options import Data, Images
from selfsight.data.pixels.display import write_pictures
from selfsight.files import check_output_folder, write_json
from selfsight.outputs import check_not_the_data, check_output
from selfsight.records.audits import SIDES, Audit, NearPair, RowNote

MAX_PAIRS = 1000
BINS = 20


class AuditData(Data):
    """Look for what crosses the splits, duplicates, and broken or blank images."""

    out: str | None = None
    """Folder of audit.html, audit.json and pictures.npz; by default runs/DATA-audit."""
    near: bool = True
    """Look for near-duplicates too."""


@dataclass(frozen=True)
class Audited:
    """An audit and its page.

    Attributes:
        audit: what was found.
        page: path of ``audit.html``.
    """

    audit: Audit
    page: Path

    @property
    def exit_code(self) -> int:
        """1 where images or groups cross the splits, where too many test images have a
        near-duplicate in train, or where the images may have been read wrongly.
        """
        return 1 if self.audit.crossings or self.audit.near_leak or self.doubtful else 0

    @property
    def doubtful(self) -> int:
        """Readings that a person should look at before a training."""
        return sum(bool(reading["doubtful"]) for reading in self.audit.readings)

    def __str__(self) -> str:
        lines = [crossing.what for crossing in self.audit.crossings]
        if self.audit.near_test:
            lines.append(self.audit.near_sentence)
        if self.doubtful:
            doubts = counted(self.doubtful, "reading is doubtful", "readings are doubtful")
            lines.append(f"{doubts}, and first in the audit: hence the exit code 1.")
        return "\n".join([*lines, f"The audit: {self.page}"])


def audit_data(settings: AuditData, images: Images | None = None) -> Audited:
    """Audits images and writes ``audit.json``, ``pictures.npz`` and ``audit.html``.

    Args:
        settings: see `AuditData`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        What was found, and the path of the page.

    Raises:
        ValueError: the images cannot be opened.
    """
    from selfsight.reporting.audit import pictured_rows, write_audit_page

    path = Path(settings.data)
    name = path.name.replace(".", "-") if path.is_file() else path.stem  # jets.h5 beside jets.npz
    folder = Path(settings.out or f"runs/{name}-audit")
    check_output_folder(folder)
    check_not_the_data(folder, settings.data if images is None else images)
    for name in ("audit.json", "audit.html"):
        check_output(folder / name)
    # A leak does not stop an audit, which looks for leaks.
    opened = request.open(settings.updated({"allow_leaks": True}), images, near=False)
    say_notes(describe(opened, settings))
    found = audit(opened, near=settings.near)
    write_json(folder / "audit.json", found.plain())
    write_pictures(folder / "pictures.npz", opened.pixels, pictured_rows(found), found.values)
    return Audited(found, write_audit_page(folder))


def audit(images: ImageSet, *, near: bool = True) -> Audit:
    """Looks at every image, target and group.

    Args:
        images: with complete splits.
        near: whether to look for near-duplicates too (two minutes for 60,000 images of 32 px).
    """
    from selfsight.data.near_duplicates import near_duplicates

    start = time.perf_counter()
    with progress("looking at each image"):
        looked = look(images)
        copies = copies_of(images, looked)
    blank = np.flatnonzero(looked.blank)
    notes = list(images.notes)
    pairs: list[NearPair] = []
    if near:
        first = np.unique(looked.codes, return_index=True)[1]  # one of each image
        rows = np.sort(first[~looked.blank[first]])
        with progress("looking for near-duplicates"):
            found = near_duplicates(images, rows)
        notes += found.notes
        pairs = [
            NearPair(
                (int(a), int(b)),
                (str(images.splits[a]), str(images.splits[b])),
                different_targets(images, np.array([a, b])),
                float(similarity),
            )
            for (a, b), similarity in zip(found.rows, found.similarity, strict=True)
        ]
    near_test = {
        row
        for pair in pairs
        if {SIDES[split] for split in pair.splits} == {SIDES["train"], SIDES["test"]}
        for row, split in zip(pair.rows, pair.splits, strict=True)
        if split == "test"
    }
    shown = sorted(pairs, key=lambda pair: (not pair.across, -pair.similarity))[:MAX_PAIRS]
    crossings = crossings_of(images, copies)
    named = {row for group in copies for row in group.rows} | set(blank.tolist())
    named |= {row for pair in shown for row in pair.rows}
    for crossing in crossings:
        splits = images.splits[list(crossing.rows)].tolist()
        named |= {crossing.rows[splits.index(split)] for split in crossing.splits}
    return Audit(
        name=images.name,
        images=len(images),
        height=images.height,
        width=images.width,
        channels=images.channels,
        dtype=images.pixels.dtype.name,
        values=looked.values,
        splits={split: len(images.rows(split)) for split in SPLITS},
        distributions={n: distribution(images, target) for n, target in images.targets.items()},
        groups=_groups(images),
        blank=tuple(blank.tolist()),
        copies=tuple(copies),
        near=tuple(shown),
        near_count=len(pairs),
        near_across=sum(pair.across for pair in pairs),
        near_test=len(near_test),
        crossings=tuple(crossings),
        rows={row: _note(images, row) for row in sorted(named)},
        notes=tuple(notes),
        readings=tuple(records(notes)),
        seconds=time.perf_counter() - start,
    )


def _note(images: ImageSet, row: int) -> RowNote:
    words = {name: value_text(target, row) or "unknown" for name, target in images.targets.items()}
    several = ", ".join(f"{name} {text}" for name, text in list(words.items())[:4])
    text = several if len(words) > 1 else "".join(words.values())
    return RowNote(str(images.row_ids[row]), str(images.splits[row]), text)


def distribution(images: ImageSet, target: Target) -> dict[str, Any]:
    """Known, unknown and the counts of a target in each split that has images.

    A class counts its images, a label the images that have it, a number the images of each of 20
    bins (``edges``, of each entry of a vector), an identity how many there are.
    """
    found: dict[str, Any] = {"kind": target.kind, "names": list(target.names), "splits": {}}
    edges: list[NDArray[np.float64]] = []
    if target.kind == "identity":
        found["names"] = []
    if target.kind == "number":
        for numbers in target.values.T:
            known = numbers[~np.isnan(numbers)]
            edges.append(np.histogram_bin_edges(known.astype(np.float64), BINS))
        found["edges"] = [edge.tolist() for edge in edges]
    for split in SPLITS:
        rows = images.rows(split)
        if not len(rows):
            continue
        values, known_rows = target.values[rows], target.known[rows]
        counts: Any
        if target.kind == "class":
            counts = np.bincount(values[known_rows], minlength=len(target.names)).tolist()
        elif target.kind == "labels":
            counts = np.nansum(values, axis=0).astype(int).tolist()
        elif target.kind == "identity":
            counts = len(np.unique(values[known_rows]))
        else:
            counts = [
                np.histogram(numbers[~np.isnan(numbers)], edge)[0].tolist()
                for numbers, edge in zip(values.T, edges, strict=True)
            ]
        known = int(known_rows.sum())
        found["splits"][split] = {
            "known": known,
            "unknown": len(rows) - known,
            "counts": counts,
        }
    return found


def _groups(images: ImageSet) -> dict[str, Any] | None:
    if images.groups is None:
        return None
    sizes = np.unique(images.groups[images.groups >= 0], return_counts=True)[1]
    return {
        "name": images.group_name,
        "count": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "alone": int((images.groups < 0).sum()),
    }
