"""The random parameters: their ranges, their distributions, and what they depend on."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsight.draws import keys_of
from selfsight.views.parameters import blur_kernel, draw, draw_channels
from selfsight.views.settings import View

KEYS = keys_of(3, 5, torch.arange(10_000))


def uniform_distance(values: torch.Tensor, low: float, high: float) -> float:
    """Kolmogorov's distance to the uniform distribution, times the root of the count."""
    values = (values.double().sort().values - low) / (high - low)
    steps = (torch.arange(len(values)) + 0.5) / len(values)
    return float((values - steps).abs().max() * math.sqrt(len(values)))


def test_draws_are_uniform_in_their_ranges() -> None:
    view = View(brightness=0.4, contrast=1.5, hue=0.2, rotation=30, shear=10, noise=0.5)
    drawn = draw(view, KEYS, 0, 64, 64)
    for values, low, high in (
        (drawn.factors[:, 0], 0.6, 1.4),
        (drawn.factors[:, 1], 0.0, 2.5),
        (drawn.turn, -0.2, 0.2),
        (drawn.angle, -30, 30),
        (drawn.shear, -10, 10),
        (drawn.sigma, 0.1, 2.0),
        (drawn.noise, 0.0, 0.5),
        (drawn.table, 0.0, 1.0),
    ):
        assert float(values.min()) >= low - 1e-6
        assert float(values.max()) <= high + 1e-6
        assert uniform_distance(values, low, high) < 1.95  # 0.1 % of uniform samples are beyond


def test_events_have_their_probabilities() -> None:
    view = View(flip=0.3, vertical_flip=0.1, color=0.8, grayscale=0.2, blur=0.5, solarize=0.0)
    drawn = draw(view, KEYS, 0, 64, 64)
    for hits, chance in (
        (drawn.flips[:, 0], 0.3),
        (drawn.flips[:, 1], 0.1),
        (drawn.colored, 0.8),
        (drawn.grayscale, 0.2),
        (drawn.blurred, 0.5),
        (drawn.solarized, 0.0),
    ):
        assert float(hits.float().mean()) == pytest.approx(chance, abs=0.02)


def test_certain_and_impossible_events() -> None:
    drawn = draw(View(flip=1.0, blur=0.0), KEYS, 0, 64, 64)
    assert bool(drawn.flips[:, 0].all())
    assert not bool(drawn.blurred.any())


def test_all_orders_of_the_four_colour_operations_are_as_likely() -> None:
    drawn = draw(View(), KEYS, 0, 64, 64)
    code = drawn.order[:, 0] * 12 + drawn.order[:, 1] * 4 + drawn.hue_at
    counts = torch.unique(code, return_counts=True)[1]
    assert len(counts) == 24
    expected = len(KEYS) / 24
    assert float(((counts - expected) ** 2 / expected).sum()) < 49.7  # 0.1 % of chi2(23)


def test_views_and_settings_have_draws_of_their_own() -> None:
    view = View(rotation=10)
    first, second = draw(view, KEYS, 0, 64, 64), draw(view, KEYS, 1, 64, 64)
    correlation = torch.corrcoef(torch.stack([first.angle, second.angle]))[0, 1]
    assert abs(float(correlation)) < 0.04
    changed = draw(view.updated({"flip": 0.9, "crop_scale": None}), KEYS, 0, 64, 64)
    assert torch.equal(first.angle, changed.angle)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.floats(0.05, 1.0),
    st.floats(0.3, 1.0),
)
def test_boxes_lie_in_the_image(height: int, width: int, scale: float, ratio: float) -> None:
    view = View(crop_scale=(scale, 1.0), crop_ratio=(ratio, 1 / ratio))
    top, left, box_height, box_width = draw(view, KEYS[:200], 0, height, width).boxes.unbind(1)
    assert bool((top >= 0).all() and (left >= 0).all())
    assert bool((box_height >= 1).all() and (box_width >= 1).all())
    assert bool((top + box_height <= height + 1e-3).all())
    assert bool((left + box_width <= width + 1e-3).all())


def test_crops_are_distributed_as_the_loop_of_random_resized_crop() -> None:
    view = View(crop_scale=(0.08, 1.0))
    boxes = draw(view, KEYS, 0, 224, 224).boxes
    assert torch.equal(boxes, boxes.round())
    generator = torch.Generator().manual_seed(0)
    count = len(KEYS)
    area = 224 * 224 * (0.08 + 0.92 * torch.rand(count, 10, generator=generator))
    log_ratio = math.log(4 / 3) * (2 * torch.rand(count, 10, generator=generator) - 1)
    heights = (area / log_ratio.exp()).sqrt().round()
    widths = (area * log_ratio.exp()).sqrt().round()
    first = ((heights <= 224) & (widths <= 224)).to(torch.uint8).argmax(1, keepdim=True)
    wanted_area = (heights * widths).gather(1, first)[:, 0]
    found_area = boxes[:, 2] * boxes[:, 3]
    shares = torch.linspace(0.05, 0.95, 10)
    torch.testing.assert_close(
        found_area.quantile(shares) / 224**2, wanted_area.quantile(shares) / 224**2,
        atol=0.015, rtol=0.0,
    )  # fmt: skip
    place = boxes[:, 0] / (224 - boxes[:, 2]).clamp_min(1)
    assert float(place[boxes[:, 2] < 150].mean()) == pytest.approx(0.5, abs=0.01)


def torchvision_fallback(height: int, width: int, ratio: tuple[float, float]) -> list[int]:
    """Top, left, height and width where no try fits, as RandomResizedCrop.get_params has them."""
    if width / height < min(ratio):
        w = width
        h = round(w / min(ratio))
    elif width / height > max(ratio):
        h = height
        w = round(h * max(ratio))
    else:
        w, h = width, height
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize(("height", "width"), [(90, 30), (256, 1600), (40, 50), (20, 400)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.5, 1.2)])
def test_crops_of_elongated_images_keep_their_ratio(
    height: int, width: int, ratio: tuple[float, float]
) -> None:
    view = View(crop_scale=(0.08, 1.0), crop_ratio=ratio)
    boxes = draw(view, KEYS, 0, height, width).boxes
    found = boxes[:, 3] / boxes[:, 2]
    slack = 1.0 + 1.5 / boxes[:, 2:].amin(1)  # sides are whole pixels
    assert bool((found <= ratio[1] * slack).all() and (found >= ratio[0] / slack).all())
    fallback = torch.tensor(torchvision_fallback(height, width, ratio), dtype=boxes.dtype)
    share = float((boxes == fallback).all(1).double().mean())
    # How often ten tries fail, by torchvision's loop.
    generator = torch.Generator().manual_seed(0)
    area = height * width * (0.08 + 0.92 * torch.rand(20_000, 10, generator=generator))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    stretch = (low + (high - low) * torch.rand(20_000, 10, generator=generator)).exp()
    w, h = (area * stretch).sqrt().round(), (area / stretch).sqrt().round()
    failed = float((~((w <= width) & (h <= height))).all(1).double().mean())
    assert share == pytest.approx(failed, abs=0.02)


def test_tiny_elongated_images_fall_back_too() -> None:
    boxes = draw(View(crop_scale=(0.9, 1.0)), KEYS, 0, 4, 16).boxes
    assert torch.allclose(boxes[:, 3] / boxes[:, 2], torch.tensor(4 / 3), atol=0.6)
    assert bool((boxes[:, 2] <= 4).all())


def test_crops_of_tiny_images_are_not_whole_pixels() -> None:
    boxes = draw(View(crop_scale=(0.6, 1.0)), KEYS, 0, 8, 8).boxes
    assert len(torch.unique(boxes[:, 2])) > 1000


def test_no_crop_is_the_whole_frame() -> None:
    boxes = draw(View(crop_scale=None), KEYS[:3], 0, 20, 30).boxes
    assert boxes.tolist() == [[0, 0, 20, 30]] * 3


def test_quarter_turns_give_all_eight_positions() -> None:
    view = View(quarter_turns=True, flip=0.5, vertical_flip=0.5)
    drawn = draw(view, KEYS, 0, 32, 32)
    code = drawn.flips[:, 0] * 4 + drawn.flips[:, 1] * 2 + drawn.transposed
    shares = torch.unique(code, return_counts=True)[1] / len(KEYS)
    torch.testing.assert_close(shares, torch.full((8,), 0.125), atol=0.01, rtol=0.0)


def test_channels() -> None:
    view = View(gain=0.1, offset=0.3, channel_dropout=0.6)
    factor, offset = draw_channels(view, KEYS, 0, 3)
    kept = factor > 0
    assert bool(kept.any(1).all())
    assert bool((offset[~kept] == 0).all())
    # Each channel is dropped with 0.6; all three with 0.216, and one of them is then kept.
    assert float((~kept).float().mean()) == pytest.approx(0.6 - 0.216 / 3, abs=0.01)
    assert float(factor[kept].log().std()) == pytest.approx(0.1, abs=0.005)
    assert float(offset[kept].std()) == pytest.approx(0.3, abs=0.01)


def test_blur_kernel_is_a_tenth_of_the_side_and_odd() -> None:
    assert [blur_kernel(side) for side in (8, 32, 96, 100, 224)] == [3, 3, 9, 11, 23]
