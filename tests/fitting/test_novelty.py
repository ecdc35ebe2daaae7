"""Distances to training images, and the threshold that a stated share of them exceeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from selfsight.fitting.novelty import (
    distances_to,
    distances_within,
    drawn,
    is_novel,
    lengths_of,
    novelty_of,
    unit,
)


def representations(count: int, seed: int, centre: float = 0.0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(count, 12)) + centre
    return torch.from_numpy(values.astype(np.float32))


def vectors(count: int, seed: int) -> torch.Tensor:
    return unit(representations(count, seed))


def plain(queries: torch.Tensor, reference: torch.Tensor) -> NDArray[np.float32]:
    cosines = (queries.double() @ reference.double().T).numpy()
    return np.asarray(1 - cosines.max(1), np.float32)


def test_the_distance_is_that_to_the_nearest_one() -> None:
    reference, queries = vectors(9000, 0), vectors(50, 1)  # more than are compared at once
    np.testing.assert_allclose(distances_to(queries, reference), plain(queries, reference), 1e-4)
    queries[3] = torch.nan
    distances = distances_to(queries, reference)
    assert np.isnan(distances[3]) and np.isfinite(np.delete(distances, 3)).all()


def test_an_image_is_not_compared_with_itself_nor_with_its_group() -> None:
    reference = vectors(300, 0)
    asked = np.arange(0, 300, 7)
    without = distances_within(reference, asked)
    groups = np.repeat(np.arange(100), 3)
    groups[:30] = -1  # of no group: compared with all but themselves
    grouped = distances_within(reference, asked, groups)
    for place, one, other in zip(asked, without, grouped, strict=True):
        alone = np.arange(300) != place
        strangers = alone & ((groups != groups[place]) | (groups[place] < 0))
        for distance, kept in ((one, alone), (other, strangers)):
            assert distance == pytest.approx(
                plain(reference[[place]], reference[torch.from_numpy(kept)])[0], abs=1e-5
            )
    assert np.isinf(distances_within(reference[:4], np.arange(4), np.zeros(4, np.int64))).all()


@pytest.mark.parametrize("count", [30, 99, 400])
def test_at_most_the_stated_share_of_further_images_is_novel(count: int) -> None:
    rates, shares = [], []
    for seed in range(120):
        values, others = representations(count, 2 * seed), representations(200, 2 * seed + 1)
        reference = unit(values)
        distances = distances_within(reference, np.arange(count))
        novelty = novelty_of(distances, lengths_of(values))
        assert novelty is not None
        further = distances_to(unit(others), reference)
        rates.append(is_novel(further, lengths_of(others), novelty).mean())
        shares.append(novelty.share)
    assert shares[0] == pytest.approx(max(0.01, 3 / (count + 1)))
    error = np.std(rates) / np.sqrt(len(rates))
    # One vector less was compared with: a little is allowed for beside three standard errors.
    assert np.mean(rates) <= 1.1 * shares[0] + 3 * error
    assert np.mean(rates) >= 0.3 * shares[0]


def test_images_from_elsewhere_are_novel() -> None:
    values = representations(500, 0, centre=1.5)
    reference, lengths = unit(values), lengths_of(values)
    novelty = novelty_of(distances_within(reference, np.arange(500)), lengths)
    elsewhere = representations(100, 1, centre=-1.5)  # as long, in another direction
    distances = distances_to(unit(elsewhere), reference)
    assert is_novel(distances, lengths_of(elsewhere), novelty).mean() > 0.95


@pytest.mark.parametrize("factor", [5.0, 0.1])
def test_the_same_direction_at_another_length_is_novel(factor: float) -> None:
    values = representations(500, 0)
    reference, lengths = unit(values), lengths_of(values)
    novelty = novelty_of(distances_within(reference, np.arange(500)), lengths)
    near = values[:100] + 0.1 * representations(100, 1)
    distances = distances_to(unit(near), reference)
    assert is_novel(distances, lengths_of(near), novelty).mean() < 0.03
    assert is_novel(distances, factor * lengths_of(near), novelty).all()


def test_too_few_images_give_no_threshold() -> None:
    few, ones = np.full(19, 0.1, np.float32), np.ones(19, np.float32)
    assert novelty_of(few, ones) is None
    distances = np.r_[few, np.inf, np.nan, 0.1].astype(np.float32)
    lengths = np.r_[ones, 1, 1, np.nan].astype(np.float32)
    assert novelty_of(distances, lengths) is None
    assert not is_novel(np.array([0.5, np.nan], np.float32), np.ones(2, np.float32), None).any()
    values = np.linspace(0, 1, 20, dtype=np.float32)
    whole = novelty_of(values, 2 * values + 1)
    assert whole is not None and whole.threshold == 1.0 and whole.share == pytest.approx(3 / 21)
    assert (whole.shortest, whole.longest) == (1.0, 3.0)
    damaged = np.array([np.nan], np.float32)
    assert not is_novel(damaged, damaged, whole).any()


def test_a_draw_is_sorted_and_of_the_seed() -> None:
    assert (drawn(5, 9, 0) == np.arange(5)).all()
    some = drawn(1000, 10, 3)
    assert len(np.unique(some)) == 10 and (np.diff(some) > 0).all()
    assert (some == drawn(1000, 10, 3)).all() and (some != drawn(1000, 10, 4)).any()
