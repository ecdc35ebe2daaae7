"""Large images cut into tiles, for small things in them: a defect on a coil.

Each image is cut at its own resolution into squares that cover it, evenly spaced (they overlap
where the side is no multiple). A tile has the targets and the split of its image; all tiles of an
image are one group, so that no split, fold or label draw parts them. Images smaller than a tile
are scaled up to it. Large images are read in strips (see `selfsight.data.pixels.strips`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress
from selfsight.data.pixels.decode import all_grey, decode
from selfsight.data.pixels.headers import (
    Coloured,
    Encoded,
    Unreadable,
    each,
    read_header,
    reason_of,
    scan,
)
from selfsight.data.pixels.plan import DecodePlan, form_of
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.store import decoded, fingerprint
from selfsight.data.pixels.strips import LARGE, first_strip, strips_of
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.listing import Files, Listing, Loaded, Size, evident

CHUNK = 256


@dataclass(frozen=True)
class Cuts:
    """Where the tiles of a listing lie.

    Attributes:
        image: ``(T,)`` row of the source of each tile, ascending.
        corners: ``(T, 2)`` top and left in the image as it is cut, pixels.
        sides: ``(N, 2)`` height and width that each image is cut at.
        tile: side, pixels.
    """

    image: NDArray[np.int64]
    corners: NDArray[np.int64]
    sides: NDArray[np.int64]
    tile: int


@dataclass(frozen=True)
class Piece:
    """An encoded image and the tiles that are wanted of it."""

    encoded: Encoded
    sides: tuple[int, int]
    corners: NDArray[np.int64]


def tiled(
    listing: Listing, tile: int, max_unreadable: float, asked: Asked | None = None
) -> Listing:
    """The listing with a row for each tile of ``tile`` x ``tile`` pixels.

    Looks at the header of every image.

    Args:
        listing: whole images.
        tile: side, pixels.
        max_unreadable: share of unreadable images that is left out.
        asked: how files are read, and the value scale of a run.

    Raises:
        ValueError: more than the share ``max_unreadable`` cannot be read.
    """
    count = len(listing.row_ids)
    rows = np.arange(count, dtype=np.int64)
    form, bad = None, Unreadable()
    sides = np.full((count, 2), tile, np.int64)
    whole: Loaded | None = None
    if listing.files is None:
        whole = listing.load(rows, None, max_unreadable)
        sides[:] = whole.pixels.shape[1:3]
    else:
        asked = asked or listing.files.asked
        headers, bad = scan(listing.files.batches, rows, asked.options.max_pixels)
        bad.check(rows, listing.row_ids, max_unreadable, listing.name)
        for row, header in headers.items():
            sides[row] = header.height, header.width
        form = form_of(headers, asked, listing.row_ids, listing.name)
        bad.reasons.update(form.odd)
        bad.check(rows, listing.row_ids, max_unreadable, listing.name)
        looked = replace(form, height=tile, width=tile)
        readable = np.array(sorted(headers))
        if form.channels == 3 and all_grey(listing.files.batches, readable, looked, first_strip):
            form = replace(form, channels=1, grey=True)
    small = sides.min(axis=1) < tile
    scale = tile / sides.min(axis=1, keepdims=True)
    sides = np.where(small[:, None], np.maximum(np.round(sides * scale), tile), sides).astype(int)
    corners = [_corners(height, width, tile) for height, width in sides.tolist()]
    image = np.repeat(rows, [len(places) for places in corners])
    cuts = Cuts(image, np.concatenate(corners), sides, tile)
    ids = listing.row_ids[image]
    row_ids = np.array([f"{name}@{top},{left}" for name, (top, left)
                        in zip(ids.tolist(), cuts.corners.tolist(), strict=True)])  # fmt: skip
    notes = [
        f"{counted(count, 'image is', 'images are')} cut into {counted(len(image), 'tile')} "
        f"of {tile}x{tile} pixels."
    ]
    if small.any():
        notes.append(
            counted(
                int(small.sum()), "image smaller than a tile is", "images smaller than a tile are"
            )
            + " scaled up to it."
        )
    load: Callable[[NDArray[np.int64], Size, float], Loaded]
    if whole is None:
        assert listing.files is not None and form is not None
        load = partial(_load_encoded, listing.files, cuts, form)
    else:
        load = partial(_load_array, listing, whole, cuts)
    groups, group_names = _groups(listing)
    return replace(
        listing.take(image),
        row_ids=row_ids,
        load=load,
        groups=groups[image],
        group_name=listing.group_name or "image",
        group_names=group_names,
        notes=(*listing.notes, *notes),
        files=None,
        tile_of=ids,
    )


def _corners(height: int, width: int, tile: int) -> NDArray[np.int64]:
    """Top and left of as few tiles as cover the image, evenly spaced."""
    axes = []
    for side in (height, width):
        count = -(-side // tile)
        axes.append(np.round(np.linspace(0, side - tile, count)).astype(np.int64))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _groups(listing: Listing) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The groups of the images and their names; an image in no group is one of its own."""
    ids, given = tuple(listing.row_ids.tolist()), listing.groups
    own = np.arange(len(ids), dtype=np.int64)
    if given is None:
        return own, ids
    count = int(given.max(initial=-1)) + 1
    names = listing.group_names or tuple(map(str, range(count)))
    return np.where(given < 0, count + own, given), (*names, *ids)


def _load_array(
    listing: Listing,
    whole: Loaded,
    cuts: Cuts,
    rows: NDArray[np.int64],
    size: Size,
    max_unreadable: float,
) -> Loaded:
    height, width = _working(size, cuts.tile)
    source = whole.pixels

    def fill(out: NDArray[Any]) -> dict[str, Any]:
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            values = np.stack([
                _cut(source[image], cuts.sides[image], corner, cuts.tile)
                for image, corner in zip(cuts.image[part], cuts.corners[part], strict=True)
            ])  # fmt: skip
            out[first : first + len(part)] = resized(values, (height, width))
        return {"rows": len(rows)}

    shape = (len(rows), height, width, source.shape[3])
    made_of = ["tiles", repr((shape, whole.scale, cuts.tile)), rows.tobytes().hex()]

    def named() -> str:
        # An array has no file for each image: its pixels tell that they changed.
        digests = (hashlib.blake2b(image.tobytes(), digest_size=8) for image in source)
        return fingerprint([*made_of, *(digest.hexdigest() for digest in digests)])

    pixels, _ = decoded(shape, source.dtype, named, fill)
    return Loaded(pixels, rows, whole.notes, whole.scale)


def _cut(
    image: NDArray[Any], sides: NDArray[np.int64], corner: NDArray[np.int64], tile: int
) -> NDArray[Any]:
    if image.shape[:2] != tuple(sides.tolist()):
        image = resized(image[None], (int(sides[0]), int(sides[1])))[0]
    top, left = corner.tolist()
    return image[top : top + tile, left : left + tile]


def _load_encoded(
    files: Files,
    cuts: Cuts,
    form: DecodePlan,
    rows: NDArray[np.int64],
    size: Size,
    max_unreadable: float,
) -> Loaded:
    height, width = _working(size, cuts.tile)
    wanted = replace(form, height=height, width=width)
    images, first = np.unique(cuts.image[rows], return_index=True)
    ends = [*first[1:].tolist(), len(rows)]

    def pieces() -> Iterable[list[Any]]:
        place = 0
        for batch in files.batches(images):
            found: list[Any] = []
            for encoded in batch:
                chosen = rows[first[place] : ends[place]]
                sides = cuts.sides[images[place]]
                place += 1
                if isinstance(encoded, str):
                    found.append(encoded)
                else:
                    corners = cuts.corners[chosen]
                    found.append(Piece(encoded, (int(sides[0]), int(sides[1])), corners))
            yield found

    def fill(out: NDArray[Any]) -> dict[str, Any]:
        broken: dict[str, str] = {}
        place = 0
        results = each(
            partial(_tiles_of, wanted=wanted, tile=cuts.tile), pieces(), wanted.options.max_pixels
        )
        with progress("cutting tiles", len(images)) as bar:
            for image, found in zip(images.tolist(), results, strict=True):
                bar.update()
                if isinstance(found, str):
                    broken[str(image)] = found
                    continue
                try:
                    start = place
                    for tiles in found:
                        out[start : start + len(tiles)] = tiles
                        start += len(tiles)
                except (Coloured, MemoryError):
                    raise
                except Exception as error:  # inside a decoder; its tiles are written over
                    broken[str(image)] = reason_of(error, b" ")
                else:
                    place = start
        return {"rows": place, "broken": broken}

    def named() -> str:
        made_of = ["tiles", wanted.key, str(cuts.tile)]
        return fingerprint([*made_of, rows.tobytes().hex(), *files.identity(images)])

    try:
        pixels, said = decoded((len(rows), *wanted.shape), wanted.dtype, named, fill)
    except Coloured:
        coloured = replace(form, channels=3, grey=False)
        return _load_encoded(files, cuts, coloured, rows, size, max_unreadable)
    bad = Unreadable({int(image): why for image, why in said["broken"].items()})
    bad.check(images, files.row_ids, max_unreadable, files.name)
    kept = rows[~np.isin(cuts.image[rows], list(bad.reasons))]
    scale = evident(form.scale, pixels, files.asked)
    return Loaded(pixels, kept, (*form.notes, *bad.notes(files.row_ids)), scale)


def _tiles_of(piece: Any, *, wanted: DecodePlan, tile: int) -> Iterable[NDArray[Any]]:
    """Tiles ``(k, H, W, C)`` of one image, some at a time.

    A large image is read when they are asked for, in strips, so that one is in memory at a time.
    """
    if piece.sides[0] * piece.sides[1] > LARGE:
        return _tiles_in_strips(piece, wanted, tile)
    whole = decode(piece.encoded, replace(wanted, height=piece.sides[0], width=piece.sides[1]))
    cut = [whole[top : top + tile, left : left + tile] for top, left in piece.corners.tolist()]
    return [resized(np.stack(cut), (wanted.height, wanted.width))]


def _tiles_in_strips(piece: Piece, wanted: DecodePlan, tile: int) -> Iterator[NDArray[Any]]:
    """The tiles of a large image, those of one height at a time."""
    size = (wanted.height, wanted.width)
    header = read_header(piece.encoded, wanted.options.max_pixels)
    if (header.height, header.width) != piece.sides:  # it is scaled up: a side is below a tile
        whole = decode(piece.encoded, replace(wanted, height=piece.sides[0], width=piece.sides[1]))
        for top, left in piece.corners.tolist():
            yield resized(whole[None, top : top + tile, left : left + tile], size)
        return
    with strips_of(piece.encoded, wanted) as strips:
        for top in np.unique(piece.corners[:, 0]).tolist():
            strip = strips(top, top + tile)
            lefts = piece.corners[piece.corners[:, 0] == top, 1].tolist()
            yield resized(np.stack([strip[:, left : left + tile] for left in lefts]), size)


def _working(size: Size, tile: int) -> tuple[int, int]:
    if size is None:
        return tile, tile
    return (size, size) if isinstance(size, int) else size
