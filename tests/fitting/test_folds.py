from __future__ import annotations

import numpy as np
import pytest

from selfsight.fitting.folds import groups_of, held_out


def test_an_image_in_no_group_is_its_own() -> None:
    found = groups_of(np.array([5, 5, -1, -1, 9]), np.array([0, 1, 2, 3, 4]))
    assert found[0] == found[1]
    assert len(np.unique(found)) == 4
    assert groups_of(None, np.array([4, 7])).tolist() == [0, 1]


@pytest.mark.parametrize("classes", [True, False])
def test_groups_are_never_cut(classes: bool) -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 12, 80)
    values = random.integers(0, 3, 80) if classes else random.random((80, 2)).astype(np.float32)
    fold = held_out(values, groups, folds=5, seed=0)
    assert set(fold) == set(range(5))
    for group in range(12):
        assert len(set(fold[groups == group])) == 1


def test_classes_are_spread_over_folds() -> None:
    values = np.repeat([0, 1], [10, 90])
    fold = held_out(values, np.arange(100), folds=5, seed=0)
    assert np.bincount(fold[values == 0]).tolist() == [2] * 5


def test_rare_classes_make_no_warning_and_one_group_no_folds() -> None:
    values = np.array([0] * 10 + [1])
    assert len(set(held_out(values, np.arange(11), folds=5, seed=0))) == 5
    assert set(held_out(np.arange(4), np.arange(4), folds=5, seed=0)) == {0, 1}
    assert set(held_out(values, np.zeros(11, np.int64), folds=5, seed=0)) == {0}
