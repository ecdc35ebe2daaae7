"""`Listing`: what a source knows of its images before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.decode import Batches, Unreadable, fill, grey_only, plan, scan
from selfsight.data.imageset import Target

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


def load_encoded(
    name: str,
    row_ids: NDArray[np.str_],
    batches: Batches,
    rows: NDArray[np.int64],
    size: Size,
    max_unreadable: float,
) -> Loaded:
    """Decodes the rows of a source of encoded images.

    Raises:
        ValueError: more than the share ``max_unreadable`` cannot be read, or none can.
    """
    headers, bad = scan(batches, rows)
    bad_in_rows = len(bad.reasons)
    if bad_in_rows:
        _checked(bad, row_ids, rows, max_unreadable, name)
    good = np.array(sorted(headers), np.int64)
    wanted = plan(headers.values(), size)
    pixels = np.empty((len(good), *wanted.shape), wanted.dtype)
    broken = fill(pixels, batches, good, wanted)
    bad.reasons.update(broken.reasons)
    _checked(bad, row_ids, rows, max_unreadable, name)
    good = good[~np.isin(good, list(broken.reasons))]
    pixels = pixels[: len(good)]
    notes = [*bad.notes(row_ids), *wanted.notes]
    if wanted.channels == 3 and grey_only(pixels[:16]) and grey_only(pixels):
        pixels = np.ascontiguousarray(pixels[..., :1])
        notes.append("Every image is stored as RGB but is grey: one channel was kept.")
    return Loaded(pixels, good, tuple(notes))


def _checked(
    bad: Unreadable,
    row_ids: NDArray[np.str_],
    rows: NDArray[np.int64],
    allowed: float,
    name: str,
) -> None:
    place = {row: i for i, row in enumerate(rows.tolist())}
    local = Unreadable({place[row]: why for row, why in bad.reasons.items()})
    local.check(row_ids[rows], allowed, name)
    if len(bad.reasons) == len(rows):
        raise ValueError(f"{name}: none of the {len(rows):,} images can be read.")
