"""Each operation beside the documented formula of torchvision, written out image by image."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selfsight.views import ops
from selfsight.views.resampling import blurred_by_shifts, enlarged_crop

CLOSE = {"atol": 1e-5, "rtol": 0.0}
FACTORS = torch.tensor([0.0, 0.4, 1.0, 1.5, 3.0])


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def grey(image: Tensor) -> Tensor:
    return 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def test_brightness(images: Tensor) -> None:
    wanted = torch.stack([(f * x).clamp(0, 1) for f, x in zip(FACTORS, images, strict=True)])
    torch.testing.assert_close(ops.adjust_brightness(images, FACTORS), wanted, **CLOSE)


def test_contrast(images: Tensor) -> None:
    wanted = torch.stack(
        [
            (f * x + (1 - f) * grey(x).mean()).clamp(0, 1)
            for f, x in zip(FACTORS, images, strict=True)
        ]
    )
    torch.testing.assert_close(ops.adjust_contrast(images, FACTORS), wanted, **CLOSE)


def test_saturation(images: Tensor) -> None:
    wanted = torch.stack(
        [(f * x + (1 - f) * grey(x)).clamp(0, 1) for f, x in zip(FACTORS, images, strict=True)]
    )
    torch.testing.assert_close(ops.adjust_saturation(images, FACTORS), wanted, **CLOSE)


def test_contrast_of_one_channel_uses_its_own_mean() -> None:
    image = torch.rand(2, 1, 6, 6)
    factor = torch.tensor([0.5, 0.7])
    mean = image.mean((1, 2, 3), keepdim=True)
    wanted = 0.5 * image[0] + 0.5 * mean[0]
    torch.testing.assert_close(ops.adjust_contrast(image, factor)[0], wanted, **CLOSE)


def test_colour_without_a_range_is_not_clamped() -> None:
    image = torch.full((1, 2, 3, 3), 40.0)
    assert ops.adjust_brightness(image, torch.tensor([2.0]), clamp=False).max() == 80.0
    assert ops.adjust_brightness(image, torch.tensor([2.0])).max() == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.floats(-0.5, 0.5, width=32),
)
def test_hue_of_any_pixel(pixel: list[float], turn: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    wanted = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))
    image = torch.tensor(pixel).view(1, 3, 1, 1)
    found = ops.adjust_hue(image, torch.tensor([turn])).flatten()
    torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("pixel", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("turn", [-0.5, -0.34, 0.0, 1 / 3, 0.5])
def test_hue_at_the_corners(pixel: tuple[float, ...], turn: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    wanted = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))
    found = ops.adjust_hue(torch.tensor(pixel).float().view(1, 3, 1, 1), torch.tensor([turn]))
    torch.testing.assert_close(found.flatten(), wanted, **CLOSE)


def test_each_image_has_its_own_turn(images: Tensor) -> None:
    turns = torch.tensor([0.0, 0.1, -0.2, 0.3, 0.5])
    together = ops.adjust_hue(images, turns)
    alone = torch.cat([ops.adjust_hue(images[i : i + 1], turns[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, **CLOSE)
    torch.testing.assert_close(together[0], images[0], **CLOSE)


def test_grayscale_and_solarize(images: Tensor) -> None:
    wanted = torch.stack([grey(x).expand(3, -1, -1) for x in images])
    torch.testing.assert_close(ops.to_grayscale(images), wanted, **CLOSE)
    found = ops.solarize(torch.tensor([[[[0.2, 0.5, 0.9]]]]))
    torch.testing.assert_close(found.flatten(), torch.tensor([0.2, 0.5, 0.1]), **CLOSE)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_of_other_channels_is_left_alone(channels: int) -> None:
    images = torch.rand(2, channels, 4, 4)
    factor = torch.tensor([0.3, 0.2])
    for found in (
        ops.adjust_saturation(images, factor),
        ops.adjust_hue(images, factor),
        ops.to_grayscale(images),
    ):
        assert torch.equal(found, images)


def test_public_operations_leave_their_input(images: Tensor) -> None:
    before = images.clone()
    for operation in (ops.adjust_brightness, ops.adjust_contrast, ops.adjust_saturation):
        operation(images, FACTORS)
    ops.adjust_hue(images, FACTORS / 10)
    ops.gaussian_blur(images, FACTORS + 0.1, 5)
    assert torch.equal(images, before)


# ------------------------------------------------------------------------------------- resampling
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_crop_is_cut_then_resize(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    box = (data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    top = data.draw(st.integers(0, height - box[0]))
    left = data.draw(st.integers(0, width - box[1]))
    across, down = data.draw(st.booleans()), data.draw(st.booleans())
    size = data.draw(st.integers(1, 48))
    image = torch.rand(1, 2, height, width)
    cut = image[:, :, top : top + box[0], left : left + box[1]]
    wanted = F.interpolate(cut, (size, size), mode="bilinear", antialias=True, align_corners=False)
    wanted = wanted.flip([3] * across + [2] * down)
    boxes = torch.tensor([[top, left, *box]], dtype=torch.float32)
    found = ops.resized_crop(image, boxes, torch.tensor([[across, down]]), size)
    torch.testing.assert_close(found, wanted, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_enlarged_crop_is_the_resized_one(data: st.DataObject) -> None:
    """Rows by index beside two products: whole and fractional boxes, any order, any grouping."""
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    size = data.draw(st.integers(max(height, width), 40))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    images = torch.rand(4, 3, height, width, generator=generator)
    chosen = torch.randint(0, 4, (7,), generator=generator)
    limits = torch.tensor([height, width])
    sides = (limits * torch.rand(7, 2, generator=generator)).clamp_min(1.0)
    corner = (limits - sides) * torch.rand(7, 2, generator=generator)
    if data.draw(st.booleans()):
        sides, corner = sides.floor(), corner.floor()
    boxes, flips = torch.cat([corner, sides], 1), torch.rand(7, 2, generator=generator) < 0.5
    wanted = ops.resized_crop(images[chosen], boxes, flips, size, scale=0.5)
    group = data.draw(st.sampled_from([None, 0, 3, 7]))
    found = enlarged_crop(images, chosen, boxes, flips, size, scale=0.5, group=group)
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_whole_frame_of_the_same_size_is_the_image(images: Tensor) -> None:
    square = images[:, :, :10]
    boxes = torch.tensor([0.0, 0.0, 10.0, 10.0]).expand(5, 4)
    found = ops.resized_crop(square, boxes, torch.zeros(5, 2, dtype=torch.bool), 10, scale=0.5)
    torch.testing.assert_close(found, 0.5 * square, **CLOSE)


@pytest.mark.parametrize("kernel_size", [3, 9, 23])
def test_blur_is_a_convolution_with_reflected_edges(kernel_size: int) -> None:
    images = torch.rand(5, 3, 30, 26)
    sigmas = torch.tensor([0.1, 0.3, 0.8, 1.4, 2.0])
    half = kernel_size // 2
    wanted = []
    for image, sigma in zip(images, sigmas, strict=True):
        offsets = torch.linspace(-half, half, kernel_size)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = kernel / kernel.sum()
        padded = F.pad(image[:, None], (half, half, half, half), mode="reflect")
        wanted.append(F.conv2d(padded, torch.outer(kernel, kernel)[None, None])[:, 0])
    for blur in (ops.gaussian_blur, blurred_by_shifts):
        found = blur(images, sigmas, kernel_size)
        torch.testing.assert_close(found, torch.stack(wanted), **CLOSE)


def test_affine_reads_each_pixel_where_the_inverse_map_points() -> None:
    image = torch.rand(1, 2, 9, 12)
    angle, shear = 25.0, -12.0
    found = ops.affine(image, torch.tensor([angle]), torch.tensor([shear]))
    turn, slant = math.radians(angle), math.tan(math.radians(shear))
    wanted = torch.zeros(2, 9, 12)
    for row in range(9):
        for column in range(12):
            x, y = column - 5.5, row - 4.0
            source_x = (math.cos(turn) - math.sin(turn) * slant) * x
            source_x += (math.cos(turn) * slant + math.sin(turn)) * y + 5.5
            source_y = -math.sin(turn) * x + math.cos(turn) * y + 4.0
            left, top = math.floor(source_x), math.floor(source_y)
            for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= r < 9 and 0 <= c < 12:
                    weight = (1 - abs(source_x - c)) * (1 - abs(source_y - r))
                    wanted[:, row, column] += weight * image[0, :, r, c]
    torch.testing.assert_close(found[0], wanted, **CLOSE)


def test_quarter_rotation_is_clockwise() -> None:
    image = torch.rand(1, 1, 8, 8)
    found = ops.affine(image, torch.tensor([90.0]), torch.tensor([0.0]))
    torch.testing.assert_close(found, image.rot90(-1, (2, 3)), **CLOSE)


# ------------------------------------------------------------------------------------- unit scale
def test_unit_scale() -> None:
    assert ops.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [0.0, 0.2, 1.0]
    )
    deep = torch.tensor([0, 13107, 65535], dtype=torch.int32).to(torch.uint16)
    assert ops.to_unit(deep).tolist() == pytest.approx([0.0, 0.2, 1.0])
    measured = torch.tensor([-3.0, 7.5])
    assert torch.equal(ops.to_unit(measured), measured)
    with pytest.raises(ValueError, match="float64"):
        ops.to_unit(measured.double())
