"""Which views suit which images, and that the sentence says so."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.views.presets import kind_of, known_kind, resolve
from selfsight.views.settings import View

GLOBAL = View(
    crop_scale=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=0.5,
    solarize=0.2,
)  # fmt: skip
LOCAL = View(size=0.43, crop_scale=(0.05, 0.4), blur=0.5)


def images(side: int, channels: int, dtype: type, mirrored: bool = True) -> ImageSet:
    return ImageSet(
        name="made",
        pixels=np.zeros((2, side, side, channels), dtype),
        row_ids=np.array(["a", "b"]),
        splits=np.array(["train", "train"]),
        mirrored=mirrored,
    )


@pytest.mark.parametrize(
    ("side", "channels", "dtype", "kind"),
    [
        (224, 3, np.uint8, "natural"), (65, 3, np.uint8, "natural"), (64, 3, np.uint8, "small"),
        (32, 3, np.uint8, "small"), (224, 1, np.uint8, "grayscale"), (8, 1, np.uint8, "grayscale"),
        (64, 13, np.uint8, "scientific"), (64, 3, np.float32, "scientific"),
        (64, 1, np.uint16, "scientific"), (64, 2, np.uint8, "scientific"),
    ],
)  # fmt: skip
def test_kind(side: int, channels: int, dtype: type, kind: str) -> None:
    assert kind_of(images(side, channels, dtype)) == kind
    assert f"kind {kind}" in resolve((GLOBAL,), images(side, channels, dtype))[1]


def test_photographs_keep_the_views_of_the_paper() -> None:
    (whole, part), said = resolve((GLOBAL, LOCAL), images(224, 3, np.uint8))
    assert whole == GLOBAL.updated({"size": 224.0})
    assert part == LOCAL.updated({"size": 96.0})
    assert "1 of 224 px, 1 of 96 px" in said


def test_small_images_get_the_cifar_recipe() -> None:
    (whole, part), _ = resolve((GLOBAL, LOCAL), images(32, 3, np.uint8))
    assert whole.size == 32.0
    assert whole.crop_scale == (0.2, 1.0)
    assert (whole.blur, whole.grayscale, whole.hue, whole.brightness) == (0.0, 0.1, 0.1, 0.4)
    assert part.size < 32
    assert part.crop_scale == (0.1, 0.4)


def test_one_channel_has_no_colour_but_light() -> None:
    (view,), _ = resolve((GLOBAL,), images(224, 1, np.uint8))
    assert (view.saturation, view.hue, view.grayscale) == (0.0, 0.0, 0.0)
    assert (view.brightness, view.contrast, view.blur) == (0.8, 0.8, 0.5)


@pytest.mark.parametrize(("channels", "dtype"), [(13, np.uint8), (1, np.uint16), (3, np.float32)])
def test_measured_images_get_what_sensors_do(channels: int, dtype: type) -> None:
    (view,), said = resolve((GLOBAL,), images(64, channels, dtype))
    assert (view.color, view.grayscale, view.blur, view.solarize) == (0.0, 0.0, 0.0, 0.0)
    assert min(view.gain, view.offset, view.noise, view.flip, view.vertical_flip) > 0
    assert view.quarter_turns
    assert (view.channel_dropout > 0) == (channels > 1)
    assert "never clamped" in said


def test_a_method_without_colour_gets_none() -> None:
    (view,), _ = resolve((View(color=0.0, grayscale=0.0),), images(64, 5, np.float32))
    assert (view.gain, view.offset, view.noise, view.channel_dropout) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.float32)])
@pytest.mark.parametrize("side", [8, 28, 100])
def test_what_has_a_reading_direction_is_never_mirrored(
    side: int, channels: int, dtype: type
) -> None:
    views, said = resolve((GLOBAL, LOCAL), images(side, channels, dtype, mirrored=False))
    for view in views:
        assert (view.flip, view.vertical_flip, view.quarter_turns) == (0.0, 0.0, False)
    assert "never mirrored" in said


def test_digits_of_eight_pixels() -> None:
    (whole, part), said = resolve((GLOBAL, LOCAL), images(8, 1, np.uint8, mirrored=False))
    assert whole.crop_scale == (0.6, 1.0)
    assert (whole.rotation, whole.shear) == (12.0, 10.0)
    assert (whole.solarize, whole.blur) == (0.0, 0.0)
    assert part.crop_scale is not None
    assert part.crop_scale[0] >= 0.5
    assert part.size >= 8
    assert "tiny" in said


def test_views_of_the_user_only_get_their_size() -> None:
    odd = View(size=0.5, flip=1.0, solarize=0.9, crop_scale=(0.01, 0.02))
    (view,), said = resolve((odd,), images(8, 1, np.uint8, mirrored=False), untouched="as given")
    assert view == odd.updated({"size": view.size})
    assert view.size == 8.0
    assert said.startswith("Views as given")


@pytest.mark.parametrize("side", [8, 32, 64, 96, 128, 160, 224, 256])
def test_sizes_are_pixels_and_resolving_twice_changes_no_size(side: int) -> None:
    views, _ = resolve((GLOBAL, LOCAL, View(size=48.0)), images(side, 3, np.uint8))
    assert all(view.size > 1.0 and view.size == round(view.size) for view in views)
    assert views[0].size == side
    assert views[2].size == 48.0
    again, _ = resolve(views, images(side, 3, np.uint8))
    assert [view.size for view in again] == [view.size for view in views]


def test_the_kind_can_be_told() -> None:
    (view,), _ = resolve((GLOBAL,), images(64, 3, np.uint8), kind="scientific")
    assert view.color == 0.0
    with pytest.raises(ValueError, match="did you mean 'natural'"):
        known_kind("naturel")
