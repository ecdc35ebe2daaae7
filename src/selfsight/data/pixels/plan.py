"""`DecodePlan`: the one size, number of channels and value scale that images are brought to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import left_out, some
from selfsight.data.pixels.header import Header
from selfsight.data.pixels.values import ValueScale, conversion
from selfsight.data.reading import Asked, ReadOptions

MAX_NATIVE = 256
MAX_AUTOMATIC = 224
MIN_SIDE = 4
BYTES = ValueScale.of("uint8")


@dataclass(frozen=True)
class DecodePlan:
    """Height, width, channels and value scale that all images are brought to, and why.

    Attributes:
        height, width: pixels.
        channels: of each.
        scale: of the values; its ``dtype`` is that of the pixels.
        options: how files are read.
        owner: how sentences call what the scale is of.
        grey: coloured files are expected to be grey; `Coloured` is raised at the first that is not.
        notes: what was decided.
        odd: row -> why it cannot be brought to this form.
        assumed: a row of 8 bits and rows of 16 that declare no bits, where 16 were assumed.
    """

    height: int
    width: int
    channels: int
    scale: ValueScale = BYTES
    options: ReadOptions = field(default_factory=ReadOptions)
    owner: str = "the set"
    grey: bool = False
    notes: tuple[str, ...] = ()
    odd: Mapping[int, str] = field(default_factory=dict)
    assumed: tuple[int, NDArray[np.int64]] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.scale.dtype)

    @property
    def coloured(self) -> DecodePlan:
        """The plan by which an image is read, before it is known to be grey."""
        return replace(self, channels=3, grey=False) if self.grey else self

    @property
    def key(self) -> str:
        """Text that differs where the decoded pixels could."""
        options = self.options
        return repr((self.shape, self.scale, options.bits, options.value_range, options.nodata))


def plan(
    headers: Mapping[int, Header],
    size: int | tuple[int, int] | None,
    source: str,
    asked: Asked,
    row_ids: NDArray[np.str_],
) -> DecodePlan:
    """One size, number of channels and value scale for all the images.

    Images of one size up to 256 pixels stay as they are; others are brought to a square with the
    median short side, rounded to a multiple of 8, at most 224 pixels.

    Args:
        headers: row -> header; at least one.
        size: of the square, or (height, width), or None: automatic.
        source: its name, for messages.
        asked: the scale of a run, and the options.
        row_ids: of the whole source.

    Raises:
        ValueError: the images are too small, or none of them fits the scale of the run.
    """
    sizes = Counter((header.height, header.width) for header in headers.values())
    notes: list[str] = []
    height, width = chosen_size(sizes, size, source)
    notes += resize_notes(sizes, (height, width))
    form = form_of(headers, asked, row_ids, source)
    return replace(form, height=height, width=width, notes=(*notes, *form.notes))


def chosen_size(
    sizes: Mapping[tuple[int, int], int], size: int | tuple[int, int] | None, source: str
) -> tuple[int, int]:
    """Height and width that images of some sizes are brought to; see `plan`.

    Args:
        sizes: (height, width) -> how many images have it, most frequent first found.
        size: of the square, or (height, width), or None: automatic.
        source: its name, for messages.

    Raises:
        ValueError: the images are too small.
    """
    height, width = max(sizes, key=lambda pair: sizes[pair])
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    elif len(sizes) > 1 or min(height, width) > MAX_NATIVE:
        short = np.repeat([min(pair) for pair in sizes], list(sizes.values()))
        height = width = min(MAX_AUTOMATIC, max(8, 8 * round(float(np.median(short)) / 8)))
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{source}: its images of {height}x{width} pixels are too small; each side needs "
            f"{MIN_SIDE} at least."
        )
    return height, width


def resize_notes(sizes: Iterable[tuple[int, int]], size: tuple[int, int]) -> list[str]:
    """A sentence on images of some (height, width) that are brought to a size, or none."""
    distinct = set(sizes)
    if distinct <= {size}:
        return []
    heights, widths = zip(*distinct, strict=True)
    span = f"{min(heights)}x{min(widths)}"
    what = f"Images ({span})"
    if len(distinct) > 1:
        what = (
            f"Images of {counted(len(distinct), 'size')} ({span} to {max(heights)}x{max(widths)})"
        )
    return [f"{what} were resized and centre-cropped to {size[0]}x{size[1]} pixels."]


def form_of(
    headers: Mapping[int, Header], asked: Asked, row_ids: NDArray[np.str_], source: str
) -> DecodePlan:
    """Channels and value scale that all the images are brought to; the sides stay 0.

    Raises:
        ValueError: none of the images fits the scale of the run.
    """
    counts = Counter(header.channels for header in headers.values())
    channels = counts.most_common(1)[0][0]
    if channels in (1, 3):
        channels = 3 if counts[3] else 1
    form = DecodePlan(0, 0, channels, options=asked.options)
    odd: dict[int, str] = {}
    fitting: dict[int, Header] = {}
    usual = Counter(h.type for h in headers.values() if h.channels == channels).most_common(1)[0][0]
    for row, header in headers.items():
        if header.channels == channels or {header.channels, channels} == {1, 3}:
            fitting[row] = header
        else:
            odd[row] = (
                f"{counted(header.channels, 'channel')} of {header.type}, where most have "
                f"{channels} of "
                f"{usual}"
            )
    if asked.scale is not None:
        form = replace(form, scale=asked.scale, owner=asked.owner)
    else:
        form = _scaled(form, fitting, row_ids)
    for row, header in fitting.items():
        try:
            factor_of(header, form)
        except ValueError as error:
            odd[row] = str(error)
    if asked.scale is not None and len(odd) == len(headers):
        raise ValueError(f"{source}: {odd[min(odd)]}.")
    notes = [*form.notes, *_notes(fitting, form, row_ids)]
    return replace(form, notes=tuple(notes), odd=odd)


def factor_of(header: Header, form: DecodePlan) -> tuple[float, float]:
    """``(factor, shift)`` that bring values of an image to the plan's scale; see `conversion`.

    Raises:
        ValueError: its type or the plan's does not say what values mean.
    """
    options = form.options
    images = header.scale(options.bits, options.value_range)
    if form.assumed is not None and images.bits is None:
        images = header.scale(16, None)
    return conversion(images, form.scale, form.owner, options.value_range)


def _scaled(
    form: DecodePlan, headers: Mapping[int, Header], row_ids: NDArray[np.str_]
) -> DecodePlan:
    """The scale of a set that no run prescribes: one, by what the files declare."""
    options = form.options
    first: dict[ValueScale, int] = {}
    counts: Counter[ValueScale] = Counter()
    for row, header in headers.items():
        scale = header.scale(options.bits, options.value_range)
        first.setdefault(scale, row)
        counts[scale] += 1
    types = {scale.type for scale in counts}
    usual = counts.most_common(1)[0][0]
    name = str(row_ids[first[usual]])
    if types == {"uint8", "uint16"}:
        wide = any(h.type == "uint16" and h.channels == form.channels for h in headers.values())
        deep = [scale for scale in counts if scale.type == "uint16"]
        bits = max(scale.bits or 16 for scale in deep)
        scale = ValueScale("uint16", "uint16", bits, 0.0, float(2**bits - 1)) if wide else BYTES
        assumed = None
        if any(scale.bits is None for scale in deep):
            rows = [r for r, h in headers.items() if h.type == "uint16" and h.bits is None]
            byte = next(row for row, header in headers.items() if header.type == "uint8")
            assumed = (byte, np.array(rows, np.int64))
        return replace(form, scale=scale, owner=name, assumed=assumed)
    if len(counts) > 1 and all(scale.span is not None for scale in counts):
        if len(types) == 1:
            usual = max(counts, key=lambda scale: scale.bits or 0)
        else:
            low, high = options.value_range or (0.0, float(2 ** (options.bits or 16) - 1))
            usual = ValueScale("float32", "float32", None, low, high)
    return replace(form, scale=usual, owner=name)


def _notes(
    headers: Mapping[int, Header], form: DecodePlan, row_ids: NDArray[np.str_]
) -> Iterable[str]:
    """What is done to images of other channels or types, and which frames are read."""
    kinds = Counter((header.channels, header.type) for header in headers.values())
    channels, kind = form.channels, form.scale.type
    if channels not in (1, 3) or (channels == 3 and kind != "uint8"):
        yield f"Images of {counted(channels, 'channel')}, {kind}."
    grey = sum(count for (many, _), count in kinds.items() if many < channels)
    if channels == 3 and grey:
        bits = f"{form.scale.bits} bits" if form.scale.bits else form.scale.dtype
        where = "among coloured ones"
        yield (
            counted(grey, f"grey image {where} was", f"grey images {where} were")
            + f" made RGB of {bits}."
        )
    elif kind == "uint16" and (bytes_ := sum(n for (_, t), n in kinds.items() if t == "uint8")):
        yield (
            counted(bytes_, "grey image of 8 bits was", "grey images of 8 bits were")
            + f" widened to {form.scale.bits or 16} bits."
        )
    if kind not in ("uint8", "uint16", "float32"):
        yield f"{kind} values become {form.scale.dtype} without a change."
    several = [str(row_ids[row]) for row, header in headers.items() if header.frames > 1]
    if several:
        yield left_out(
            f"{counted(len(several), 'file holds', 'files hold')} several frames, and the "
            "first of each is read: "
            f"{some(several)}.",
            about="frames", count=len(several), names=several,
        )  # fmt: skip
