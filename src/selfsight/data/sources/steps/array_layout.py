"""What arrays of images are: which axes they have, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfsight.console import counted
from selfsight.data.notes import guess
from selfsight.data.pixels.memmap import rows_at_once
from selfsight.data.pixels.plan import MIN_SIDE
from selfsight.data.pixels.values import ValueScale, conversion, declared, pixel_type, value_type
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.array_pixels import ArrayPixels

SAMPLE = 256
"""Images whose values are looked at to say where they go from and to."""


def as_pixels(
    parts: Mapping[str, Any], source: str, asked: Asked, axes: str | None = None
) -> tuple[ArrayPixels, list[str]]:
    """How arrays of any common layout and type are read as pixels, and what was decided.

    Args:
        parts: name -> array.
        source: its name, for messages.
        asked: axes, bits, value range, and the scale of a run.
        axes: that are known; None: asked for, or guessed.

    Raises:
        ValueError: the shapes differ or are no images, or the types do and do not say what their
            values mean.
    """
    arrays = list(parts.values())
    known = asked.options.axes if axes is None else axes
    axes, notes = _axes(arrays[0].shape, source, known)
    shapes = [tuple(array.shape) for array in arrays]
    place = axes.index("N")
    inner = {shape[:place] + shape[place + 1 :] for shape in shapes}
    if len({len(shape) for shape in shapes}) > 1 or len(inner) > 1:
        named = ", ".join(f"{name} {array.shape}" for name, array in parts.items())
        raise ValueError(f"{source}: the images of its splits have different shapes: {named}.")
    sides = dict(zip(axes, shapes[0], strict=True))
    height, width, channels = sides["H"], sides["W"], sides.get("C", 1)
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{source}: its images of {height}x{width} pixels are too small; each side needs "
            f"{MIN_SIDE} at least."
        )
    scale, factors, more = _scale(parts, source, asked)
    count = sum(shape[place] for shape in shapes)
    whole = (int(count), int(height), int(width), int(channels))
    nodata = asked.options.nodata
    return ArrayPixels(arrays, axes, whole, scale, factors, nodata), [*notes, *more]


def _axes(shape: tuple[int, ...], source: str, wanted: str | None) -> tuple[str, list[str]]:
    """The axes of an array of images: those that were asked for, or a guess."""
    if wanted is not None and len(wanted) != len(shape) and len(shape) in (3, 4):
        wanted = wanted.replace("C", "") if len(shape) == 3 else None
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{source}: pixels of shape {shape} are no images; they must be (N, H, W), "
            "(N, H, W, C) or (N, C, H, W)."
        )
    if wanted is not None:
        return wanted, []
    if len(shape) == 3:
        return "NHW", []
    first = shape[1] < min(shape[2:]) and shape[3] >= min(shape[1:3])
    axes, other = ("NCHW", "NHWC") if first else ("NHWC", "NCHW")
    channels = shape[1] if first else shape[3]
    if not first and channels in (1, 3):
        return axes, []
    # As likely the other way round where both ends could be channels, or neither.
    unsure = (shape[1] <= 16) == (shape[3] <= 16)
    text = f"Arrays of {shape} are read as ({', '.join(axes)}): {channels} channels"
    note = guess(text, "axes", axes, [other], about=source, doubtful=unsure)
    return axes, [note]


def _scale(
    parts: Mapping[str, Any], source: str, asked: Asked
) -> tuple[ValueScale, list[tuple[float, float]], list[str]]:
    """The value scale of all parts, how each is brought to it, and what was decided."""
    notes: list[str] = []
    scales = {}
    for name, array in parts.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{source}: pixels of type {array.dtype} are no numbers.")
        scales[name] = _declared(array.dtype, asked)
    kinds = {array.dtype for array in parts.values()}
    for dtype in sorted(kinds, key=str):
        if dtype.kind == "b":
            notes.append("Truth values were made 0 and 255.")
        elif dtype.kind == "f" and dtype.itemsize != 4:
            notes.append(f"{dtype.name} values were made float32.")
    if asked.scale is not None:
        wanted, owner = asked.scale, asked.owner
    else:
        wanted, owner = _own_scale(parts, scales, notes)
    factors = []
    for name, scale in scales.items():
        try:
            factors.append(conversion(scale, wanted, owner, asked.options.value_range))
        except ValueError as error:
            where = f"{source} ({name})" if len(scales) > 1 else source
            raise ValueError(f"{where}: {error}.") from None
    first = next(iter(parts.values()))
    if first.dtype.kind == "f":
        some = np.asarray(first[: min(SAMPLE, rows_at_once(first))])
        of_images = f" in a sample, the first {counted(len(some), 'image')}"
        sample = "" if len(some) == len(first) else of_images
        finite, span = some[np.isfinite(some)], "are not finite"
        if finite.size:
            span = f"go from {finite.min():.4g} to {finite.max():.4g}"
        notes.append(f"Values {span}{sample}.")
    return wanted, factors, notes


def _declared(dtype: np.dtype[Any], asked: Asked) -> ValueScale:
    kind = value_type(dtype)
    bits = 8 if kind == "uint8" else asked.options.bits
    return declared(ValueScale(kind, pixel_type(kind)), bits, asked.options.value_range)


def _own_scale(
    parts: Mapping[str, Any], scales: Mapping[str, ValueScale], notes: list[str]
) -> tuple[ValueScale, str]:
    """The scale of arrays that no run prescribes, and the name of the part it is of.

    Wide integers are kept in the smallest type that holds all of them: the one look at values.
    """
    name, scale = max(scales.items(), key=lambda pair: (pair[1].bits or 0, pair[1].type))
    kinds = {each.type for each in scales.values()}
    if len(kinds) > 1 and all(each.span is not None for each in scales.values()):
        if scale.type not in ("uint8", "uint16"):
            top = max(each.span[1] for each in scales.values() if each.span is not None)
            return ValueScale("float32", "float32", None, 0.0, top), name
        return scale, name
    if scale.type in ("uint8", "uint16", "float32") or len(kinds) > 1:
        return scale, name
    low, high = _span(list(parts.values()))
    bits = scale.bits or 16
    if low >= 0 and high < 2**bits and bits <= 16:
        small = high < 256 if scale.bits is None else bits <= 8
        scale = replace(scale, dtype="uint8" if small else "uint16")
    notes.append(f"{scale.type} values from {low} to {high} were made {scale.dtype}.")
    return scale, name


def _span(parts: Sequence[Any]) -> tuple[int, int]:
    size = rows_at_once(parts[0])
    chunks = (np.asarray(p[i : i + size]) for p in parts for i in range(0, len(p), size))
    spans = [(int(chunk.min()), int(chunk.max())) for chunk in chunks]
    return min(low for low, _ in spans), max(high for _, high in spans)
