"""What an image set holds, in sentences, before anything starts."""

from __future__ import annotations

import numpy as np

from selfsight.console import counted
from selfsight.data.duplicates import look
from selfsight.data.imageset import SPLITS, ImageSet, Target
from selfsight.data.notes import Note, doubt
from selfsight.data.pixels.lazy import waiting
from selfsight.data.reading import ReadOptions

LOOKED_AT = 256
UNLIKE = 10.0
"""Ratio of the usual largest values of two splits above which they are taken to differ in scale."""
NO_DATA = (-9999.0, -99999.0, -32768.0, -32767.0, float(np.finfo(np.float32).min))
"""Values that instruments and maps write where there is nothing."""


def describe(images: ImageSet, options: ReadOptions | None = None) -> tuple[str, ...]:
    """How many images, their form and values, splits, targets and their unknowns, groups, notes.

    Args:
        images: of any source.
        options: as they were asked for; what has no effect on these images is said.
    """
    scale = images.value_scale
    name = images.pixels.dtype.name
    bits = f" of {scale.bits} bits" if scale and scale.bits and name != "uint8" else ""
    values = f"{name}{bits} {span_words(images)}"
    form = (
        f"{images.name}: {counted(len(images), 'image')} of {images.height}x{images.width} pixels, "
        f"{counted(images.channels, 'channel')} of {values}."
    )
    sizes = [(split, len(images.rows(split))) for split in SPLITS]
    splits = ", ".join(f"{count:,} {split}" for split, count in sizes if count)
    lines = [form, f"Splits: {splits}."]
    lines += [_target(target) for target in images.targets.values()]
    if images.groups is not None:
        count = len(np.unique(images.groups[images.groups >= 0]))
        alone = int((images.groups < 0).sum())
        rest = f"; {counted(alone, 'image is', 'images are')} in none" if alone else ""
        lines.append(f"Groups: {count:,} ({images.group_name}){rest}.")
    lines += [] if options is None else beyond(images, options)
    return (*lines, *images.notes, *(doubt(caution) for caution in images.cautions))


def span_words(images: ImageSet) -> str:
    """``from 0 to 255``; says where only some of the images were looked at."""
    if waiting(images.pixels) is None:
        low, high = look(images).values
        if images.content.holes.any() and not np.isfinite(images.content.low).any():
            return "without a finite value"
        return f"from {low:g} to {high:g}"
    rows = np.unique(np.linspace(0, len(images) - 1, LOOKED_AT).astype(np.int64))
    some = images.pixels[rows]
    known = some[np.isfinite(some)] if some.dtype.kind == "f" else some
    if not known.size:
        return f"without a finite value in a sample of {counted(len(rows), 'image')}"
    span = f"from {known.min():g} to {known.max():g}"
    return f"{span} in a sample of {counted(len(rows), 'image')}"


def beyond(images: ImageSet, options: ReadOptions) -> list[Note]:
    """Declared bits that do not count, and values outside of the declared bits or range."""
    scale = images.value_scale
    if scale is None:
        return []
    notes = []
    bits, span = options.bits, options.value_range
    if bits is not None and bits != scale.bits:
        own = (
            f"8 bits, and --bits {bits} changes nothing"
            if scale.type == "uint8"
            else (f"no bits, and --bits {bits} changes nothing; give --value-range")
        )
        if scale.type in ("uint8", "float32"):
            notes.append(
                doubt(f"Values of {scale.type} have {own}.", about="pixels", setting="bits")
            )
    if span is not None and scale.span is not None and scale.span != span and scale.bits:
        notes.append(
            doubt(
                f"The images are {scale.words}, which says what is black and white: --value-range "
                f"{span[0]:g} {span[1]:g} changes nothing.",
                about="pixels",
                setting="value_range",
            )
        )
    asked = span if span == scale.span else scale.span if bits and bits == scale.bits else None
    if asked is None or waiting(images.pixels) is not None:
        return notes
    content, (low, high) = images.content, asked
    outside = (content.low < low) | (content.high > high)
    if count := int(outside.sum()):
        flag = f"--value-range {low:g} {high:g}" if span == asked else f"--bits {bits}"
        first = str(images.row_ids[int(outside.argmax())])
        known = np.isfinite(content.low)
        notes.append(
            doubt(
                f"{counted(count, 'image holds', 'images hold')} values outside of {flag} (they go "
                f"from {content.low[known].min():g} to {content.high[known].max():g}), the first "
                f"is {first}: they are lighter than white or darker than black.",
                about="pixels",
                setting="value_range" if span == asked else "bits",
                count=count,
            )
        )
    return notes


def gaps(images: ImageSet, nodata: str | None) -> list[Note]:
    """Images in which a value is not finite, or is one that stands for no data, by split."""
    if images.pixels.dtype != np.float32 or not len(images):
        return []
    content = images.content
    notes = []
    holes = {"nan": (content.holes, "values that are not finite")}
    for value in NO_DATA:
        if nodata is None or float(nodata) != value:
            # With nine digits the flag means the same float32; with six it does not.
            holes[f"{value:.9g}"] = (content.low == np.float32(value), f"the value {value:g}")
    for word, (rows, what) in holes.items():
        count = int(rows.sum())
        if not count:
            continue
        counts = ((split, int((rows & (images.splits == split)).sum())) for split in SPLITS)
        where = ", ".join(f"{number:,} {split}" for split, number in counts if number)
        example = str(images.row_ids[int(rows.argmax())])
        held = counted(count, "image holds", "images hold")
        notes.append(
            doubt(
                f"{held} {what} ({where}), the first is {example} "
                f"(--nodata {word} fills them with the mean of the image).",
                about="pixels",
                setting="nodata",
                count=count,
            )
        )
    return notes


def unlike_splits(images: ImageSet) -> list[Note]:
    """Splits whose values differ by an order of magnitude: one may be scaled in another way."""
    if images.pixels.dtype == np.uint8:
        return []
    high = np.abs(images.content.high)
    usual = {}
    for split in SPLITS:
        known = high[images.rows(split)]
        known = known[np.isfinite(known)]
        if len(known):
            usual[split] = float(np.median(known))
    if not usual:
        return []
    low, top = min(usual, key=usual.__getitem__), max(usual, key=usual.__getitem__)
    if usual[top] <= UNLIKE * usual[low]:
        return []
    text = (
        f"The largest value of an image is {usual[low]:.4g} in {low} and {usual[top]:.4g} in {top} "
        "(medians): the splits may be scaled in different ways; bring them to one scale."
    )
    return [doubt(text, about=f"{low}, {top}")]


def value_text(target: Target, row: int) -> str:
    """What a target says of an image: a name, names, numbers; empty where it is unknown."""
    value = target.values[row]
    if target.values.ndim == 1:
        return target.names[int(value)] if value >= 0 else ""
    if np.isnan(value).all():
        return ""
    if target.kind == "labels":
        present = [name for name, v in zip(target.names, value, strict=True) if v > 0.5]
        return ", ".join(present) or "none"
    return ", ".join(f"{v:g}" for v in value)


def _target(target: Target) -> str:
    what = f"class of {counted(len(target.names), 'class', 'classes')}"
    if target.kind == "number":
        what = "number" if len(target.names) == 1 else f"vector of {len(target.names)} numbers"
        low, high = np.nanmin(target.values), np.nanmax(target.values)
        what += f" from {low:g} to {high:g}"
    elif target.kind == "labels":
        what = f"{counted(len(target.names), 'label')}, several at once"
    elif target.kind == "identity":
        what = counted(len(target.names), "identity", "identities")
    unknown = int((~target.known).sum())
    return f"Target {target.name}: {what}" + (f"; {unknown:,} unknown." if unknown else ".")
