"""Views that suit an image set: chosen from its size, channels and dtype, and said.

A method declares the views of its paper, for photographs of 224 pixels. `resolve` adapts them to
the image set.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from selfsight.data.imageset import ImageSet
from selfsight.settings import unknown
from selfsight.views.settings import View

Kind = Literal["natural", "small", "grayscale", "scientific"]

SMALL, TINY = 64, 16
"""Sides in pixels up to which images count as small (CIFAR) and tiny (8 x 8 digits)."""
LOCAL = 0.5
"""A view whose largest crop is at most this share of the area is a local one (multi-crop)."""

_WORDS = {
    "natural": "colour photographs: the method's own views",
    "small": "small colour images: crops of at least a fifth, mild colour, no blur",
    "grayscale": "one channel: brightness and contrast, no other colour",
    "scientific": "measured channels: crops, mirrors and quarter turns, gain and offset of each "
    "channel and noise instead of colour, values never clamped",
}


def resolve(
    views: tuple[View, ...],
    images: ImageSet,
    *,
    kind: Kind | None = None,
    untouched: str = "",
) -> tuple[tuple[View, ...], str]:
    """Adapts a method's views to an image set.

    Args:
        views: as the method's paper has them, or as the user wrote them.
        images: their size, channels, dtype and `mirrored` decide.
        kind: of the images, where the guess is wrong.
        untouched: whose views they are, where only sizes become pixels: ``as given``, for example.

    Returns:
        The views, every size in pixels, and one sentence that says what was chosen and why.

    Raises:
        ValueError: no such kind.
    """
    side = max(images.height, images.width)
    if untouched:
        sized = tuple(view.updated({"size": _pixels(view, side)}) for view in views)
        return sized, f"Views {untouched}, {_sides(sized)}."
    kind = known_kind(kind) if kind else kind_of(images)
    adapted = tuple(
        adapt(view, kind, side=side, channels=images.channels, mirrored=images.mirrored)
        for view in views
    )
    said = _WORDS[kind] + ", tiny: mild crops, small rotations and shears" * (side <= TINY)
    said += "" if images.mirrored else ", never mirrored"
    what = f"{images.height} x {images.width} px, {images.channels} x {images.pixels.dtype}"
    return adapted, f"Views for {said} (kind {kind}: {what}; {_sides(adapted)})."


def kind_of(images: ImageSet) -> Kind:
    """Which kind the image set is: by dtype and channels first, then by size."""
    if images.pixels.dtype != np.uint8 or images.channels not in (1, 3):
        return "scientific"
    if images.channels == 1:
        return "grayscale"
    return "small" if max(images.height, images.width) <= SMALL else "natural"


def known_kind(kind: str) -> Kind:
    """The kind, if there is one of this name.

    Raises:
        ValueError: there is none; names the nearest.
    """
    for known in get_args(Kind):
        if kind == known:
            return known  # type: ignore[no-any-return]
    raise unknown("kind of images", kind, get_args(Kind))


def adapt(view: View, kind: Kind, *, side: int, channels: int, mirrored: bool) -> View:
    """One view of a method's paper for images of this kind, its size in pixels."""
    changes: dict[str, Any] = {"size": _pixels(view, side)}
    if kind == "scientific":
        changes |= _measured(view, channels)
    elif side <= SMALL:
        changes |= {"blur": 0.0, "hue": min(view.hue, 0.1)} | {
            name: min(getattr(view, name), 0.4) for name in ("brightness", "contrast", "saturation")
        }
        # At 32 px 0.1 is worth about a point of accuracy over ImageNet's 0.2.
        changes["grayscale"] = min(view.grayscale, 0.1)
    if kind in ("small", "scientific") or side <= SMALL:
        changes |= _crop_from(view, 0.1 if _local(view) else 0.2)
    if kind == "grayscale":
        changes |= {"saturation": 0.0, "hue": 0.0, "grayscale": 0.0}
    if not mirrored:
        changes |= {"flip": 0.0, "vertical_flip": 0.0, "quarter_turns": False}
        changes |= _crop_from(view, 0.2 if _local(view) else 0.4)
    if side <= TINY:
        changes |= _tiny(view, kind, mirrored)
    return view.updated(changes)


def _measured(view: View, channels: int) -> dict[str, Any]:
    """Scientific images: no colour; where the paper's view has colour, what sensors do instead."""
    plain = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    changes: dict[str, Any] = {**plain, "color": 0.0, "grayscale": 0.0, "blur": 0.0}
    changes |= {"solarize": 0.0, "vertical_flip": view.flip, "quarter_turns": view.flip > 0}
    if view.color:
        changes |= {"gain": 0.2, "offset": 0.2, "noise": 0.2}
        changes["channel_dropout"] = 0.1 if channels > 1 else 0.0
    return changes


def _tiny(view: View, kind: Kind, mirrored: bool) -> dict[str, Any]:
    """Images of a few pixels: what they show is gone after a strong crop or an inversion."""
    changes: dict[str, Any] = {"solarize": 0.0, "blur": 0.0, "crop_ratio": (0.85, 1 / 0.85)}
    if view.crop_scale is not None:
        changes["crop_scale"] = (0.5, 0.8) if _local(view) else (0.6, 1.0)
    if not mirrored:
        changes |= {"rotation": max(view.rotation, 12.0), "shear": max(view.shear, 10.0)}
    elif kind != "scientific":
        changes |= {"rotation": max(view.rotation, 8.0), "shear": max(view.shear, 5.0)}
    if view.color:
        changes["noise"] = max(view.noise, 0.1)
    return changes


def _crop_from(view: View, low: float) -> dict[str, Any]:
    if view.crop_scale is None:
        return {}
    high = view.crop_scale[1]
    return {"crop_scale": (min(max(view.crop_scale[0], low), high), high)}


def _local(view: View) -> bool:
    return view.crop_scale is not None and view.crop_scale[1] <= LOCAL


def _pixels(view: View, side: int) -> float:
    """The side in pixels; a share is rounded so that the patches of a ViT divide it."""
    if view.size > 1.0:
        return float(round(view.size))
    if view.size == 1.0:
        return float(side)
    step = 16 if side >= 128 else 8 if side > SMALL else 4
    return float(min(side, max(round(view.size * side / step) * step, 2 * step)))


def _sides(views: tuple[View, ...]) -> str:
    counts: dict[int, int] = {}
    for view in views:
        counts[int(view.size)] = counts.get(int(view.size), 0) + 1
    return ", ".join(f"{count} of {side} px" for side, count in counts.items())
