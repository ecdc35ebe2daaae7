from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import channel_statistics
from selfsight.draws import keys_of
from selfsight.fitting.representation_cache import cached_tensor, weights_key
from selfsight.fitting.representations import (
    Representations,
    raw_pixels,
    represent,
    represent_views,
)
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.views.apply import make_views, whole_frame
from selfsight.views.settings import View


@pytest.fixture
def backbone() -> Backbone:
    network = Network(widths=(8, 16), depths=(1, 1))
    return build_backbone(choose_backbone("resnet20", network, 1, 8), seed=0)


def test_represent_is_the_backbone_on_whole_frames(digits: ImageSet, backbone: Backbone) -> None:
    rows = np.array([3, 400, 17])
    statistics = channel_statistics(digits, digits.pool)
    backbone.train()
    backbone.bf16 = True
    found = represent(backbone, digits, rows, statistics, device="cpu", batch_size=2)
    assert backbone.training
    assert backbone.bf16
    backbone.eval()
    backbone.bf16 = False
    batch = torch.from_numpy(digits.pixels[rows]).permute(0, 3, 1, 2)
    expected = backbone(whole_frame(batch, statistics)).detach()
    torch.testing.assert_close(found, expected)


def test_views_are_represented_as_they_are_made(digits: ImageSet, backbone: Backbone) -> None:
    rows = np.array([3, 400, 17])
    statistics = channel_statistics(digits, digits.pool)
    views = (View(size=8.0, flip=0.0), View(size=8.0, flip=0.0, rotation=20.0))
    found = represent_views(backbone, digits, rows, views, statistics, device="cpu")
    backbone.eval()
    batch = torch.from_numpy(digits.pixels[rows]).permute(0, 3, 1, 2)
    made = make_views(batch, keys_of(0, 0, torch.arange(3)), views, statistics)
    assert not torch.equal(found[0], found[1])
    for view, values in zip(made, found, strict=True):
        torch.testing.assert_close(values, backbone(view).detach())


def test_the_key_of_weights_sees_every_value(backbone: Backbone) -> None:
    before = weights_key(backbone)
    assert before == weights_key(backbone)
    next(iter(backbone.buffers())).view(-1)[0] += 1e-6
    changed = weights_key(backbone)
    assert changed != before
    with torch.no_grad():
        list(backbone.parameters())[-1].view(-1)[-1] += 1e-6
    assert weights_key(backbone) not in (before, changed)


def test_a_failed_computation_leaves_no_file(tmp_path: Path) -> None:
    def fails() -> torch.Tensor:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        cached_tensor(tmp_path, "x", "key", fails)
    assert list(tmp_path.iterdir()) == []
    made = cached_tensor(tmp_path, "x", "key", lambda: torch.ones(2, 3))
    torch.testing.assert_close(cached_tensor(tmp_path, "x", "key", fails), made)


def test_pixels_are_fitted_on_train_alone(digits: ImageSet) -> None:
    rows, train = np.arange(len(digits)), digits.rows("train")
    before = raw_pixels(digits, rows, train, components=20)
    pixels = digits.pixels.copy()
    pixels[digits.rows("test")] = 255 - pixels[digits.rows("test")]
    after = raw_pixels(replace(digits, pixels=pixels), rows, train, components=20)
    assert before.shape == (len(digits), 20)
    assert torch.equal(before[train], after[train])
    assert not torch.equal(before, after)


def test_large_frames_are_averaged_down() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 65535, (40, 64, 48, 3)).astype(np.uint16)
    images = ImageSet("big", pixels, np.arange(40).astype(str), np.full(40, "train"))
    assert raw_pixels(images, np.arange(40), np.arange(40)).shape == (40, 39)


def test_scale_is_of_the_train_rows_and_damage_is_counted() -> None:
    values = torch.randn(10, 4) * torch.tensor([1.0, 2.0, 0.0, 4.0]) + 5
    values[9, 2] = torch.nan
    found = Representations.of(values, np.arange(10), np.arange(8))
    torch.testing.assert_close(found.mean, values[:8].mean(0))
    standard = found.standardised(np.arange(8))
    torch.testing.assert_close(standard.var(0, correction=0).mean(), torch.tensor(1.0))
    assert found.damaged == 1
    assert bool((found.at(np.array([9])) == 0).all())
