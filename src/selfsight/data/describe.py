"""What an image set holds, in sentences, before anything starts."""

from __future__ import annotations

import numpy as np

from selfsight.data.imageset import SPLITS, ImageSet, Target

LOOKED_AT = 256


def describe(images: ImageSet) -> tuple[str, ...]:
    """How many images, their form and values, splits, targets and their unknowns, groups, notes."""
    some = images.pixels[np.linspace(0, len(images) - 1, LOOKED_AT).astype(np.int64)]
    values = f"{images.pixels.dtype.name} from {some.min():g} to {some.max():g}"
    form = (
        f"{images.name}: {len(images):,} images of {images.height}x{images.width} pixels, "
        f"{_counted(images.channels, 'channel')} of {values}."
    )
    sizes = [(split, len(images.rows(split))) for split in SPLITS]
    splits = ", ".join(f"{count:,} {split}" for split, count in sizes if count)
    lines = [form, f"Splits: {splits}."]
    lines += [_target(target) for target in images.targets.values()]
    if images.groups is not None:
        count = len(np.unique(images.groups[images.groups >= 0]))
        alone = int((images.groups < 0).sum())
        rest = f"; {alone:,} images are in none" if alone else ""
        lines.append(f"Groups: {count:,} ({images.group_name}){rest}.")
    return (*lines, *images.notes)


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
    what = f"class of {len(target.names):,} classes"
    if target.kind == "number":
        what = "number" if len(target.names) == 1 else f"vector of {len(target.names)} numbers"
        low, high = np.nanmin(target.values), np.nanmax(target.values)
        what += f" from {low:g} to {high:g}"
    elif target.kind == "labels":
        what = f"{len(target.names):,} labels, several at once"
    elif target.kind == "identity":
        what = f"{len(target.names):,} identities"
    unknown = int((~target.known).sum())
    return f"Target {target.name}: {what}" + (f"; {unknown:,} unknown." if unknown else ".")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
