"""Pixel arrays brought to a size, a number of channels and a type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.decode import MIN_SIDE
from selfsight.data.pixels.memmap import picked, rows_at_once
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.store import decoded, fingerprint
from selfsight.data.sources.listing import Listing, Loaded, Size, file_identity

CHUNK = 256
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TOP = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


@dataclass(frozen=True)
class Pixels:
    """Arrays one after the other as ``(N, H, W, C)`` of one type, read a chunk at a time.

    Attributes:
        parts: arrays or HDF5 datasets of the same shape but for their length.
        first_channel: whether they are ``(N, C, H, W)``.
        shape: ``(N, H, W, C)``.
        dtype: that the values are brought to.
        factor: that they are multiplied by before.
    """

    parts: Sequence[Any]
    first_channel: bool
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    factor: int = 1

    def chunks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """The (ascending) rows, converted, in order."""
        start = 0
        for part in self.parts:
            inside = rows[(rows >= start) & (rows < start + len(part))] - start
            start += len(part)
            # Whole chunks of an HDF5 file, which are decompressed whole.
            size = max(rows_at_once(part), (getattr(part, "chunks", None) or (1,))[0])
            for first in range(0, len(part), size):
                chosen = inside[(inside >= first) & (inside < first + size)] - first
                if len(chosen):
                    yield self._converted(np.asarray(part[first : first + size])[chosen])

    def _converted(self, values: NDArray[Any]) -> NDArray[Any]:
        values = values[..., None] if values.ndim == 3 else values
        values = values.transpose(0, 2, 3, 1) if self.first_channel else values
        if self.factor != 1:
            values = values.astype(self.dtype) * self.dtype.type(self.factor)
        return np.ascontiguousarray(values, self.dtype)

    @property
    def as_it_is(self) -> NDArray[Any] | None:
        """The memory-mapped file itself where nothing has to be converted."""
        part: Any = self.parts[0]
        plain = isinstance(part, np.ndarray) and part.dtype == self.dtype and self.factor == 1
        if len(self.parts) > 1 or not plain or self.first_channel:
            return None
        whole: NDArray[Any] = part[..., None] if part.ndim == 3 else part
        return whole


def as_pixels(parts: Sequence[Any], path: Path) -> tuple[Pixels, list[str]]:
    """How arrays of any common layout and type are read as pixels, and what was decided.

    Raises:
        ValueError: the shapes differ or are no images, or the values fit no type.
    """
    shape = parts[0].shape
    if any(part.shape[1:] != shape[1:] for part in parts):
        raise ValueError(f"{path}: the images of its splits have different shapes.")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{path}: pixels of shape {shape} are no images; they must be (N, H, W), "
            "(N, H, W, C) or (N, C, H, W)."
        )
    notes: list[str] = []
    first_channel = len(shape) == 4 and shape[1] < min(shape[2:]) and shape[3] >= min(shape[1:3])
    if len(shape) == 3:
        height, width, channels = shape[1], shape[2], 1
    elif first_channel:
        channels, height, width = shape[1:]
        notes.append(f"Arrays of {shape} are read as (N, C, H, W): {channels} channels.")
    else:
        height, width, channels = shape[1:]
        if channels not in (1, 3):
            notes.append(f"Arrays of {shape} are read as (N, H, W, C): {channels} channels.")
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{path}: its images of {height}x{width} pixels are too small; each side needs "
            f"{MIN_SIDE} at least."
        )
    dtype, factor, said = _fitting_type(parts, path)
    count = sum(len(part) for part in parts)
    whole = (count, int(height), int(width), int(channels))
    return Pixels(parts, first_channel, whole, dtype, factor), [*notes, *said]


def _fitting_type(parts: Sequence[Any], path: Path) -> tuple[np.dtype[Any], int, list[str]]:
    given = parts[0].dtype
    if given.kind == "b":
        return np.dtype(np.uint8), 255, ["Truth values were made 0 and 255."]
    if given.kind == "f":
        said = [] if given.itemsize == 4 else [f"{given.name} values were made float32."]
        some = np.asarray(parts[0][: min(CHUNK, rows_at_once(parts[0]))])
        low, high = np.nanmin(some), np.nanmax(some)
        said.append(f"Values go from {low:.4g} to {high:.4g} (first {len(some):,} images).")
        return np.dtype(np.float32), 1, said
    if given.kind in "iu":
        if given.kind == "u" and given.itemsize <= 2:
            return given.newbyteorder("="), 1, []
        low, high = _span(parts)
        dtype: np.dtype[Any] = np.dtype(np.float32)
        if low >= 0 and high <= TOP["uint16"]:
            dtype = np.dtype(np.uint8 if high <= TOP["uint8"] else np.uint16)
        return dtype, 1, [f"{given.name} values from {low} to {high} were made {dtype.name}."]
    raise ValueError(f"{path}: pixels of type {given} are no numbers.")


def _span(parts: Sequence[Any]) -> tuple[int, int]:
    size = rows_at_once(parts[0])
    chunks = (np.asarray(p[i : i + size]) for p in parts for i in range(0, len(p), size))
    spans = [(int(chunk.min()), int(chunk.max())) for chunk in chunks]
    return min(low for low, _ in spans), max(high for _, high in spans)


def load_array(
    pixels: Pixels, path: Path, rows: NDArray[np.int64], size: Size, max_unreadable: float
) -> Loaded:
    """The rows of an array file; a file that needs no change is used where it lies."""
    height, width = (size, size) if isinstance(size, int) else size or pixels.shape[1:3]
    whole = len(rows) == pixels.shape[0] and (height, width) == pixels.shape[1:3]
    if whole and pixels.as_it_is is not None:
        return Loaded(pixels.as_it_is, rows)

    def fill(out: NDArray[Any]) -> dict[str, Any]:
        place = 0
        for chunk in pixels.chunks(rows):
            out[place : place + len(chunk)] = resized(chunk, (height, width))
            place += len(chunk)
        return {"rows": place}

    shape = (len(rows), height, width, pixels.shape[3])
    made_of = [repr((shape, pixels.dtype.name)), file_identity(path), rows.tobytes().hex()]
    found, _ = decoded(shape, pixels.dtype, partial(fingerprint, made_of), fill)
    notes = []
    if (height, width) != pixels.shape[1:3]:
        old = f"{pixels.shape[1]}x{pixels.shape[2]}"
        notes.append(f"Images ({old}) were resized and centre-cropped to {height}x{width} pixels.")
    return Loaded(found, rows, tuple(notes))


def list_set(images: ImageSet) -> Listing:
    """An image set that is there already, as a source."""

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        whole = len(rows) == len(images)
        return Loaded(resized(images.pixels if whole else picked(images.pixels, rows), size), rows)

    return Listing(
        name=images.name,
        row_ids=images.row_ids,
        splits=images.splits,
        load=load,
        targets=images.targets,
        groups=images.groups,
        group_name=images.group_name,
        mirrored=images.mirrored,
        notes=images.notes,
        tile_of=images.tile_of,
    )


def made_like(images: ImageSet, like: ImageSet) -> ImageSet:
    """The images with the channels and the type of another set: grey <-> RGB, 8 <-> 16 bits.

    Raises:
        ValueError: there is no such conversion between their channels.
    """
    pixels, notes = images.pixels, []
    if images.channels != like.channels:
        if {images.channels, like.channels} != {1, 3}:
            raise ValueError(
                f"{images.name} has {images.channels} channels and {like.name} has "
                f"{like.channels}: they cannot be used together."
            )
        if like.channels == 3:
            pixels = np.repeat(pixels, 3, axis=3)
        else:
            grey = [_grey(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
            pixels = np.concatenate(grey)
        notes.append(f"Its {images.channels} channels were made {like.channels}, as {like.name}.")
    if pixels.dtype != like.pixels.dtype:
        factor = TOP[like.pixels.dtype.name] / TOP[pixels.dtype.name]
        notes.append(f"Its {pixels.dtype} values were made {like.pixels.dtype}, as {like.name}.")
        scaled = pixels.astype(np.float32) * factor
        if like.pixels.dtype != np.float32:
            scaled = np.clip(scaled.round(), 0, TOP[like.pixels.dtype.name])
        pixels = scaled.astype(like.pixels.dtype)
    return replace(images, pixels=pixels).with_notes(*notes)


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    values = pixels.astype(np.float32) @ LUMA
    return (values if pixels.dtype == np.float32 else values.round()).astype(pixels.dtype)[
        ..., None
    ]
