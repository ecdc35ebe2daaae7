"""`Listing`: what a source knows of its images before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target
from selfsight.data.pixels.decode import Plan, all_grey, fill, plan
from selfsight.data.pixels.headers import Batches, Coloured, Unreadable, scan
from selfsight.data.pixels.lazy import LazyPixels
from selfsight.data.pixels.store import NoRoom, decoded, fingerprint, noted

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
    """An image set without pixels; ``load(rows, size, max_unreadable)`` reads them.

    ``files`` is there where they are encoded, each on its own; `Files.look` then leaves them so.
    ``tile_of`` says which image of the source a tile was cut from.
    """

    name: str
    row_ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    load: Callable[[NDArray[np.int64], Size, float], Loaded]
    targets: Mapping[str, Target] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None
    group_name: str | None = None
    mirrored: bool = True
    notes: tuple[str, ...] = ()
    files: Files | None = None
    tile_of: NDArray[np.str_] | None = None

    def take(self, rows: NDArray[np.int64]) -> Listing:
        """The rows given; ``load`` still takes row numbers of the whole listing."""
        return replace(
            self,
            row_ids=self.row_ids[rows],
            splits=self.splits[rows],
            targets={name: target.take(rows) for name, target in self.targets.items()},
            groups=None if self.groups is None else self.groups[rows],
            tile_of=None if self.tile_of is None else self.tile_of[rows],
        )


def file_identity(path: Path) -> str:
    """Text that changes when the file does."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class Files:
    """Encoded images of a source: how they are read, and what tells that they changed.

    Attributes:
        name: of the source, for messages.
        row_ids: of the whole source.
        batches: rows -> encoded images.
        identity: rows -> text that changes whenever their images do.
    """

    name: str
    row_ids: NDArray[np.str_]
    batches: Batches
    identity: Callable[[NDArray[np.int64]], Iterable[str]]

    def load(self, rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        """Decodes the rows: into memory, a store, or anew at each reading where no disk has room.

        Raises:
            ValueError: more than the share ``max_unreadable`` cannot be read, or none can.
        """
        plans, bad, notes = self._planned(rows, size, max_unreadable)
        good = rows[~np.isin(rows, list(bad.reasons))]
        for attempt in plans:
            named = partial(self._fingerprint, attempt, good)
            filled = partial(fill, batches=self.batches, rows=good, wanted=attempt)
            shape = (len(good), *attempt.shape)
            pixels: Any = None
            try:
                try:
                    pixels, said = decoded(shape, attempt.dtype, named, filled)
                except NoRoom as error:
                    notes.append(f"Images are decoded anew whenever they are read: {error}")
                    said = noted(named(), partial(filled, Nowhere()))
            except Coloured:
                continue
            break
        broken = {int(row): why for row, why in said["broken"].items()}
        kept = good[~np.isin(good, list(broken))]
        if pixels is None:
            pixels = self._lazy(kept, attempt)
        bad.reasons.update(broken)
        bad.check(rows, self.row_ids, max_unreadable, self.name)
        notes = [*bad.notes(self.row_ids), *attempt.notes, *notes]
        if attempt.grey and plans[-1].channels == 3:
            notes.append("Every image is stored in colour but is grey: one channel was kept.")
        return Loaded(pixels, kept, tuple(notes))

    def look(self, rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        """The rows undecoded, after a look at some headers: `LazyPixels` that can be settled.

        Raises:
            ValueError: more than the share ``max_unreadable`` of those looked at cannot be read.
        """
        plans, bad, _ = self._planned(rows, size, max_unreadable)
        good = rows[~np.isin(rows, list(bad.reasons))]
        settle = partial(self.load, size=size, max_unreadable=max_unreadable)
        wanted = replace(plans[-1], grey=False)
        return Loaded(self._lazy(good, wanted, settle), good, tuple(bad.notes(self.row_ids)))

    def _planned(
        self, rows: NDArray[np.int64], size: Size, max_unreadable: float
    ) -> tuple[list[Plan], Unreadable, list[str]]:
        """Plans to try in turn (the last takes any image), bad headers, notes."""
        looked_at = rows
        if len(rows) > MAX_SCANNED:  # the first look at a very large set is a sample
            looked_at = rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]
        headers, bad = scan(self.batches, looked_at)
        bad.check(looked_at, self.row_ids, max_unreadable, self.name)
        wanted = plan(headers.values(), size, self.name)
        plans = [wanted]
        if wanted.channels == 3 and all_grey(self.batches, np.array(sorted(headers)), wanted):
            plans.insert(0, replace(wanted, channels=1, grey=True))
        elif wanted.dtype == np.uint8 and wanted.channels == 1 and len(looked_at) < len(rows):
            plans = [replace(wanted, grey=True), replace(wanted, channels=3)]
        return plans, bad, []

    def _fingerprint(self, wanted: Plan, rows: NDArray[np.int64]) -> str:
        return fingerprint([repr((wanted.shape, wanted.dtype.name)), *self.identity(rows)])

    def _lazy(self, rows: NDArray[np.int64], wanted: Plan, settle: Any = None) -> Any:
        return LazyPixels(self.batches, rows, wanted, self.row_ids, settle)


class Nowhere:
    """Takes decoded images and keeps none."""

    def __setitem__(self, place: Any, image: Any) -> None:
        pass
