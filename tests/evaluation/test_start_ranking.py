"""Held-out labels are held out: of probes, of groups, of tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation.start_ranking import (
    Represented,
    brought_to,
    comparable,
    predict_held_out,
    ranked,
    represent_start,
    resampling_of,
)
from selfsight.fitting.labelled import Subset
from selfsight.fitting.representations import Representations
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import Network, choose_backbone

COUNT = 120


def subset_of(
    values: NDArray[Any],
    kind: str = "class",
    groups: NDArray[np.int64] | None = None,
    tile_of: NDArray[np.str_] | None = None,
) -> Subset:
    names = tuple(f"n{i}" for i in range(2 if kind == "class" else 1))
    if kind == "identity":
        names = tuple(f"p{i}" for i in range(int(values.max()) + 1))
    target = Target("target", kind, values, names)  # type: ignore[arg-type]
    count = len(values)
    images = ImageSet(
        "made",
        np.zeros((count, 2, 2, 1), np.uint8),
        np.array([str(i) for i in range(count)]),
        np.full(count, "train"),
        targets={"target": target},
        groups=groups,
        tile_of=tile_of,
    )
    return Subset(images, target, np.arange(count))


def represented(values: NDArray[Any], stages: NDArray[Any] | None = None) -> Represented:
    rows = np.arange(len(values))

    def of(array: NDArray[Any]) -> Representations:
        return Representations.of(torch.from_numpy(array.astype(np.float32)), rows, rows)

    return Represented(of(values if stages is None else stages), of(values), 1.0)


def noise(seed: int, width: int = 300, count: int = COUNT) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, width))


def test_coins_are_not_predicted() -> None:
    """More features than images: a probe that had read the labels would be right on all."""
    coins = np.random.default_rng(7).integers(0, 2, COUNT)
    found = predict_held_out(represented(noise(0)), subset_of(coins))
    assert found.metric == "accuracy"
    assert 0.3 < float(found.values[0]) < 0.7


def test_groups_are_not_cut() -> None:
    """Images of a group look alike and share a coin; no other group tells it."""
    group = np.repeat(np.arange(12), 10)
    coins = np.random.default_rng(7).integers(0, 2, 12)[group]
    alike = noise(1, 40, 12)[group] + 0.01 * noise(2, 40)
    alone = predict_held_out(represented(alike), subset_of(coins))
    kept = predict_held_out(represented(alike), subset_of(coins, groups=group))
    assert float(alone.values[0]) > 0.95
    assert float(kept.values[0]) < 0.8


def test_the_informative_one_is_first_and_the_difference_is_paired() -> None:
    truth = np.arange(COUNT) // 2 % 2
    subset = subset_of(truth)
    good, weak = noise(3, 8), noise(4, 8)
    good[:, 0] += 4 * truth
    weak[:, 0] += 1.2 * truth
    resampling = resampling_of(subset)
    results = [predict_held_out(represented(x), subset, resampling) for x in (weak, good)]
    first, second = ranked(results, resampling)
    assert (first.index, second.index) == (1, 0)
    assert first.behind is None
    assert second.behind is not None
    assert second.behind.mean == pytest.approx(second.score.mean - first.score.mean)
    assert second.behind.high is not None
    assert second.behind.high < 0
    assert first.score.low is not None
    assert first.score.low < first.score.mean


def test_numbers_and_several_labels() -> None:
    random = np.random.default_rng(5)
    x = noise(5, 6)
    number = (x[:, :1] * 2 + 0.1 * random.normal(size=(COUNT, 1))).astype(np.float32)
    found = predict_held_out(represented(x), subset_of(number, "number"))
    assert found.metric == "r2"
    assert float(found.values[0]) > 0.9
    label = (x[:, :1] > 0).astype(np.float32)
    found = predict_held_out(represented(x), subset_of(label, "labels"))
    assert float(found.values[0]) > 0.9


def test_identities_are_retrieved() -> None:
    people = np.repeat(np.arange(30), 4)
    x = noise(6, 20, 30)[people] + 0.1 * noise(7, 20)
    found = predict_held_out(represented(x), subset_of(people, "identity"))
    assert found.metric == "recall_at_1"
    assert float(found.values[0]) > 0.95
    assert not comparable(subset_of(np.arange(COUNT), "identity"))


def test_tiles_of_an_image_stay_together_and_are_pooled() -> None:
    image = np.repeat(np.arange(40), 3)
    coins = np.random.default_rng(8).integers(0, 2, 40)
    alike = noise(8, 60, 40)[image] + 0.01 * noise(9, 60)
    every = subset_of(coins[image], groups=image, tile_of=np.array([f"i{i}" for i in image]))
    heads = every.take(np.arange(0, COUNT, 3))
    found = predict_held_out(represented(alike), heads)
    assert len(resampling_of(heads).weights[0]) == 40
    assert float(found.values[0]) < 0.8
    alike[:, 0] += 5 * coins[image]
    assert float(predict_held_out(represented(alike), heads).values[0]) > 0.95


def test_both_representations_come_from_one_pass() -> None:
    network = Network(widths=(4, 6, 8, 10), depths=(1,) * 4, stem="imagenet")
    backbone = build_backbone(choose_backbone("resnet18", network, 3, 64), seed=0).eval()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (30, 64, 64, 3)).astype(np.uint8)
    images = ImageSet("i", pixels, np.arange(30).astype(str), np.full(30, "train"))
    from selfsight.data.statistics import Statistics
    from selfsight.training.representation import fit_pooling

    statistics, rows = Statistics((0.5,) * 3, (0.5,) * 3), np.arange(30)
    calls: list[int] = []
    hook = backbone.network.register_forward_pre_hook(lambda *_: calls.append(1))
    start = represent_start(
        backbone, images, rows, statistics, size=None, device=torch.device("cpu")
    )
    hook.remove()
    assert start.images_per_second > 0
    for kind, made in (("stages", start.stages), ("mean", start.mean)):
        fit_pooling(backbone, kind, images, rows, statistics, device="cpu")  # type: ignore[arg-type]
        from selfsight.fitting.representations import represent

        expected = represent(backbone, images, rows, statistics, device="cpu")
        torch.testing.assert_close(made.values, expected, rtol=1e-3, atol=1e-4)
    small = represent_start(
        backbone, images, rows, statistics, size=(32, 32), device=torch.device("cpu")
    )
    assert not torch.allclose(small.mean.values, start.mean.values, atol=1e-2)
    assert brought_to(images, 32) == (32, 32)
    assert brought_to(images, 64) is None
