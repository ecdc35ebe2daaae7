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
from selfsight.data.pixels.decode import all_grey, fill
from selfsight.data.pixels.headers import Batches, Coloured, Unreadable, scan
from selfsight.data.pixels.lazy import LazyPixels
from selfsight.data.pixels.memmap import rows_at_once
from selfsight.data.pixels.passes import passed
from selfsight.data.pixels.plan import DecodePlan, plan
from selfsight.data.pixels.store import NoRoom, decoded, fingerprint
from selfsight.data.pixels.values import ValueScale, declared
from selfsight.data.reading import Asked

MAX_SCANNED = 20_000
SAMPLE = 5_000

Size = int | tuple[int, int] | None


@dataclass(frozen=True)
class Loaded:
    """Pixels ``(M, H, W, C)`` of the rows that could be read, those rows, notes, value scale."""

    pixels: NDArray[Any]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    scale: ValueScale | None = None


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
    group_names: tuple[str, ...] = ()
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

    def only(self, rows: NDArray[np.int64], *notes: str) -> Listing:
        """A listing of these (ascending) rows alone, numbered anew."""
        part = replace(self.take(rows), notes=(*self.notes, *notes))
        if self.files is not None:
            files = self.files.only(rows)
            return replace(part, files=files, load=files.load)

        def load(chosen: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
            loaded = self.load(rows[chosen], size, max_unreadable)
            return replace(loaded, rows=np.searchsorted(rows, loaded.rows))

        return replace(part, load=load)


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
        asked: how files are read, and the value scale of a run.
    """

    name: str
    row_ids: NDArray[np.str_]
    batches: Batches
    identity: Callable[[NDArray[np.int64]], Iterable[str]]
    asked: Asked = field(default_factory=Asked)

    def listing(self) -> Listing:
        """The images alone: no targets, all in train."""
        splits = np.full(len(self.row_ids), "train", "<U10")
        return Listing(self.name, self.row_ids, splits, self.load, files=self)

    def only(self, rows: NDArray[np.int64]) -> Files:
        """Some (ascending) rows alone, numbered anew."""
        return replace(
            self,
            row_ids=self.row_ids[rows],
            batches=lambda chosen: self.batches(rows[chosen]),
            identity=lambda chosen: self.identity(rows[chosen]),
        )

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
            pixels, content = None, None
            try:
                try:
                    pixels, said = decoded(shape, attempt.dtype, named, filled)
                except NoRoom as error:
                    notes.append(f"Images are decoded anew whenever they are read: {error}")
                    empty = np.empty((0, *attempt.shape), attempt.dtype)
                    said, content = passed(named(), empty, filled)
            except Coloured:
                continue
            break
        broken = {int(row): why for row, why in said["broken"].items()}
        kept = good[~np.isin(good, list(broken))]
        if pixels is None:
            pixels = self._lazy(kept, attempt)
            pixels.content = content
        bad.reasons.update(broken)
        bad.check(rows, self.row_ids, max_unreadable, self.name)
        notes = [*bad.notes(self.row_ids), *attempt.notes, *notes]
        if attempt.grey and plans[-1].channels == 3:
            notes.append("Every image is stored in colour but is grey: one channel was kept.")
        self._check_assumed(pixels, kept, attempt)
        return Loaded(pixels, kept, tuple(notes), evident(attempt.scale, pixels, self.asked))

    def look(self, rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        """The rows undecoded, after a look at some headers: `LazyPixels` that can be settled.

        Raises:
            ValueError: more than the share ``max_unreadable`` of those looked at cannot be read.
        """
        plans, bad, _ = self._planned(rows, size, max_unreadable)
        good = rows[~np.isin(rows, list(bad.reasons))]
        settle = partial(self.load, size=size, max_unreadable=max_unreadable)
        wanted = replace(plans[-1], grey=False)
        pixels = self._lazy(good, wanted, settle)
        return Loaded(pixels, good, tuple(bad.notes(self.row_ids)), wanted.scale)

    def _planned(
        self, rows: NDArray[np.int64], size: Size, max_unreadable: float
    ) -> tuple[list[DecodePlan], Unreadable, list[str]]:
        """Plans to try in turn (the last takes any image), bad headers, notes."""
        looked_at = rows
        if len(rows) > MAX_SCANNED:  # the first look at a very large set is a sample
            looked_at = rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]
        if not len(rows):
            raise ValueError(f"{self.name}: there are no images in it.")
        headers, bad = scan(self.batches, looked_at, self.asked.options.max_pixels)
        bad.check(looked_at, self.row_ids, max_unreadable, self.name)
        wanted = plan(headers, size, self.name, self.asked, self.row_ids)
        bad.reasons.update(wanted.odd)
        bad.check(looked_at, self.row_ids, max_unreadable, self.name)
        plans = [wanted]
        rows_read = np.array(sorted(set(headers) - set(wanted.odd)), np.int64)
        if wanted.channels == 3 and all_grey(self.batches, rows_read, wanted):
            plans.insert(0, replace(wanted, channels=1, grey=True))
        elif wanted.dtype == np.uint8 and wanted.channels == 1 and len(looked_at) < len(rows):
            plans = [replace(wanted, grey=True), replace(wanted, channels=3)]
        return plans, bad, []

    def _fingerprint(self, wanted: DecodePlan, rows: NDArray[np.int64]) -> str:
        return fingerprint([wanted.key, *self.identity(rows)])

    def _lazy(self, rows: NDArray[np.int64], wanted: DecodePlan, settle: Any = None) -> Any:
        return LazyPixels(self.batches, rows, wanted, self.row_ids, settle)

    def _check_assumed(self, pixels: Any, rows: NDArray[np.int64], wanted: DecodePlan) -> None:
        """Files of 16 bits beside files of 8 must use the upper half, or say what they use."""
        if wanted.assumed is None:
            return
        byte, deep = wanted.assumed
        half = 128 if wanted.dtype == np.uint8 else (1 << 15)
        places = np.flatnonzero(np.isin(rows, deep))
        if len(places) and not reaches(pixels, half, places):
            raise ValueError(
                f"{self.name}: {self.row_ids[byte]} has 8 bits, and {self.row_ids[deep[0]]} has "
                "values of 16 bits that stay in the lower half; say what they use by --bits 12 or "
                "--bits 16."
            )


def reaches(pixels: Any, value: float, places: NDArray[np.int64] | None = None) -> bool:
    """Whether any pixel is at least so large; reads until one is."""
    places = np.arange(len(pixels)) if places is None else places
    step = rows_at_once(pixels)
    return any(
        np.asarray(pixels[places[first : first + step]]).max(initial=0) >= value
        for first in range(0, len(places), step)
    )


def evident(scale: ValueScale, pixels: Any, asked: Asked) -> ValueScale:
    """The scale of a first opening; 16 bits that say no more are 16 where the upper half is used.

    A scale that a run prescribes stays, and the pixels are not looked at.
    """
    open_question = scale.type == "uint16" and scale.span is None and asked.scale is None
    if open_question and not isinstance(pixels, LazyPixels) and reaches(pixels, 1 << 15):
        return declared(scale, 16, None)
    return scale
