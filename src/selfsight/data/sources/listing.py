"""`Listing`: what a source knows of its images before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.decode import Batches, Coloured, Plan, all_grey, fill, plan, scan
from selfsight.data.imageset import Target
from selfsight.data.store import decoded, fingerprint

MAX_SCANNED = 20_000
SAMPLE = 5_000

Size = int | tuple[int, int] | None


@dataclass(frozen=True)
class Loaded:
    """Pixels ``(M, H, W, C)`` of the rows that could be read, those rows, and what was said."""

    pixels: NDArray[Any]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """An image set without pixels; ``load(rows, size, max_unreadable)`` reads them."""

    name: str
    row_ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    load: Callable[[NDArray[np.int64], Size, float], Loaded]
    targets: Mapping[str, Target] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None
    group_name: str | None = None
    mirrored: bool = True
    notes: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.int64]) -> Listing:
        """The rows given; ``load`` still takes row numbers of the whole listing."""
        return replace(
            self,
            row_ids=self.row_ids[rows],
            splits=self.splits[rows],
            targets={name: target.take(rows) for name, target in self.targets.items()},
            groups=None if self.groups is None else self.groups[rows],
        )


def file_identity(path: Path) -> str:
    """Text that changes when the file does."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def _fingerprint(
    wanted: Plan, identity: Callable[[NDArray[np.int64]], Iterable[str]], rows: NDArray[np.int64]
) -> str:
    return fingerprint([repr((wanted.shape, wanted.dtype.name)), *identity(rows)])


def load_encoded(
    name: str,
    row_ids: NDArray[np.str_],
    batches: Batches,
    identity: Callable[[NDArray[np.int64]], Iterable[str]],
    rows: NDArray[np.int64],
    size: Size,
    max_unreadable: float,
) -> Loaded:
    """Decodes the rows of a source of encoded images.

    Args:
        name: of the source, for messages.
        row_ids: of the whole source.
        batches: rows -> encoded images.
        identity: rows -> text that changes whenever their images do.
        rows, size, max_unreadable: see `Listing`.

    Raises:
        ValueError: more than the share ``max_unreadable`` cannot be read, or none can.
    """
    looked_at = rows
    if len(rows) > MAX_SCANNED:  # the first look at a very large set is a sample
        looked_at = rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]
    headers, bad = scan(batches, looked_at)
    bad.check(looked_at, row_ids, max_unreadable, name)
    good = rows[~np.isin(rows, list(bad.reasons))]
    wanted = plan(headers.values(), size, name)
    attempts = [wanted]
    if wanted.channels == 3 and all_grey(batches, np.array(sorted(headers)), wanted):
        attempts.insert(0, replace(wanted, channels=1, grey=True))
    elif wanted.dtype == np.uint8 and wanted.channels == 1 and len(looked_at) < len(rows):
        attempts = [replace(wanted, grey=True), replace(wanted, channels=3)]
    for attempt in attempts:
        try:
            pixels, said = decoded(
                (len(good), *attempt.shape),
                attempt.dtype,
                partial(_fingerprint, attempt, identity, good),
                partial(fill, batches=batches, rows=good, wanted=attempt),
            )
        except Coloured:
            continue
        break
    broken = {int(row): why for row, why in said["broken"].items()}
    bad.reasons.update(broken)
    bad.check(rows, row_ids, max_unreadable, name)
    notes = [*bad.notes(row_ids), *wanted.notes]
    if attempt.grey and wanted.channels == 3:
        notes.append("Every image is stored in colour but is grey: one channel was kept.")
    return Loaded(pixels, good[~np.isin(good, list(broken))], tuple(notes))
