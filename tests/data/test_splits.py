"""Splits keep groups whole and labels balanced; few-label subsets are stratified and nested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from selfsight.data.balance import balanced_cut
from selfsight.data.imageset import ImageSet, Target, class_target
from selfsight.data.splits import assign_splits, complete_splits, few_labels


def image_set(
    target: Target | None, groups: np.ndarray | None = None, count: int | None = None
) -> ImageSet:
    number = count or (len(target.values) if target else 0)
    return ImageSet(
        name="made",
        pixels=np.zeros((number, 4, 4, 1), np.uint8),
        row_ids=np.array([f"made#{i}" for i in range(number)]),
        splits=np.full(number, "train"),
        targets={target.name: target} if target else {},
        groups=groups,
    )


def classes(seed: int, count: int, kinds: int) -> Target:
    random = np.random.default_rng(seed)
    return Target("kind", "class", random.integers(0, kinds, count), tuple("abcdefghij"[:kinds]))


def test_shares_are_exact_and_every_class_is_balanced() -> None:
    target = classes(0, 1000, 5)
    images = complete_splits(image_set(target), "kind", validation=0.1, test=0.2, seed=0)
    assert len(images.rows("test")) == 200
    assert len(images.rows("validation")) == 80
    for split, share in (("test", 0.2), ("validation", 0.08)):
        found = np.bincount(target.values[images.rows(split)], minlength=5)
        assert np.abs(found - share * np.bincount(target.values)).max() <= 1.0


def test_test_split_is_the_same_for_every_seed_and_validation_is_not() -> None:
    images = image_set(classes(0, 500, 3))
    first, second = (complete_splits(images, "kind", seed=seed) for seed in (0, 1))
    assert (first.rows("test") == second.rows("test")).all()
    assert set(first.rows("validation")) != set(second.rows("validation"))


def test_given_splits_are_kept() -> None:
    target = classes(0, 100, 2)
    splits = np.array(["train"] * 60 + ["validation"] * 20 + ["test"] * 20)
    new, notes = assign_splits(
        splits, {"kind": target}, None, "kind", validation=0.1, test=0.2, seed=0
    )
    assert (new == splits).all()
    assert notes == []


def test_test_is_cut_over_all_rows_and_validation_over_labelled_ones() -> None:
    values = np.array([0, 1] * 50 + [-1] * 100)
    target = Target("kind", "class", values, ("a", "b"))
    images = complete_splits(image_set(target), "kind")
    assert len(images.rows("test")) == 40
    assert (images.splits[100:] == "test").sum() == 20
    for kind in (0, 1):
        assert ((images.splits == "test") & (values == kind)).sum() == 10
    assert not (images.splits[100:] == "validation").any()
    groups = np.concatenate([np.arange(100), np.arange(100)])
    images = complete_splits(image_set(target, groups), "kind")
    for split in ("train", "validation", "test"):
        others = np.flatnonzero(images.splits != split)
        assert not np.intersect1d(groups[images.rows(split)], groups[others]).size


def test_without_labels_all_is_unlabelled_but_bounded_test_and_validation_splits() -> None:
    images = complete_splits(image_set(None, count=1000), None, validation=0.1)
    assert len(images.rows("test")) == 200
    assert len(images.rows("validation")) == 80
    assert len(images.rows("unlabelled")) == 720
    none = complete_splits(image_set(None, count=1000), None, test=0.0)
    assert not len(none.rows("test"))
    assert any("No labels" in note for note in images.notes)
    large = np.full(90_000, "train")
    new, _ = assign_splits(large, {}, None, None, validation=0.1, test=0.2, seed=0)
    assert (new == "test").sum() == 10_000
    assert (new == "validation").sum() == 2000
    groups = np.arange(90_000) // 30
    new, _ = assign_splits(large, {}, groups, None, validation=0.1, test=0.2, seed=0)
    for name in ("test", "validation"):
        inside = np.unique(groups[new == name])
        assert (new[np.isin(groups, inside)] == name).all()


def test_identity_is_cut_by_identity() -> None:
    values = np.repeat(np.arange(50), 4)
    target = Target("person", "identity", values, tuple(map(str, range(50))))
    images = complete_splits(image_set(target), "person", test=0.2, validation=0.1)
    assert 30 <= len(images.rows("test")) <= 50
    sides = [set(values[images.rows(split)]) for split in ("train", "validation", "test")]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_share_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"validation: must be a share .* \(got 1.5\)"):
        complete_splits(image_set(classes(0, 10, 2)), "kind", validation=1.5)


def test_one_group_cannot_be_cut_and_it_is_said() -> None:
    images = complete_splits(image_set(classes(0, 20, 2), np.zeros(20, np.int64)), "kind")
    assert (images.splits == "train").all() or "no test split" in " ".join(images.notes)


def random_set(
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, groups of very different sizes (labels depend on them), and a number of folds."""
    kinds, count = int(random.integers(2, 6)), int(random.integers(60, 400))
    many = int(random.integers(8, 60))
    sizes = random.dirichlet(np.full(many, random.uniform(0.3, 3.0)))
    groups = random.choice(many, count, p=sizes)
    leaning = random.dirichlet(np.full(kinds, random.uniform(0.3, 3.0)), many)
    labels = np.array([random.choice(kinds, p=leaning[group]) for group in groups])
    return labels, groups, min(int(random.integers(3, 8)), len(np.unique(groups)))


def distance(labels: np.ndarray, side: np.ndarray) -> float:
    """Total variation between the label distributions of a side and of the rest."""
    kinds = labels.max() + 1
    a = np.bincount(labels[side], minlength=kinds) / max(side.sum(), 1)
    b = np.bincount(labels[~side], minlength=kinds) / max((~side).sum(), 1)
    return float(np.abs(a - b).sum() / 2)


def compare_with_scikit_learn(sets: int) -> tuple[float, float, float, float]:
    ours, theirs, our_sizes, their_sizes = [], [], [], []
    for seed in range(sets):
        labels, groups, folds = random_set(np.random.default_rng(seed))
        columns = (labels[:, None] == np.arange(labels.max() + 1)).astype(float)
        mine = balanced_cut(columns, labels.astype(np.int64), groups, 1 / folds, seed)
        assert not np.intersect1d(groups[mine], groups[~mine]).size
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        their = np.zeros(len(labels), bool)
        their[next(splitter.split(labels, labels, groups))[1]] = True
        for side, distances, sizes in ((mine, ours, our_sizes), (their, theirs, their_sizes)):
            distances.append(distance(labels, side))
            sizes.append(abs(side.mean() - 1 / folds))
    return tuple(float(np.mean(x)) for x in (ours, theirs, our_sizes, their_sizes))  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.filterwarnings("ignore:The groups parameter")
@pytest.mark.parametrize(
    "sets", [pytest.param(100, id="100"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]
)
def test_closer_than_stratified_group_k_fold(sets: int) -> None:
    ours, theirs, our_size, their_size = compare_with_scikit_learn(sets)
    assert ours <= theirs
    assert our_size <= their_size


def check_groups(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 200))
    groups = random.integers(-1, int(random.integers(1, 40)), count)
    kind = random.integers(0, 4)
    if kind == 0:
        values = random.integers(-1, 4, count)
        target = Target("t", "class", values, tuple("abcd"))
    elif kind == 1:
        some = (random.random((count, 3)) < 0.3).astype(np.float32)
        some[random.random(count) < 0.2] = np.nan
        target = Target("t", "labels", some, tuple("abc"))
    elif kind == 2:
        numbers = random.normal(size=(count, 2)).astype(np.float32)
        numbers[random.random(numbers.shape) < 0.2] = np.nan
        target = Target("t", "number", numbers, tuple("ab"))
    else:
        target = Target("t", "identity", random.integers(-1, 9, count), tuple("abcdefghi"))
    splits, _ = assign_splits(
        np.full(count, "train"), {"t": target}, groups, "t",
        validation=float(random.uniform(0, 0.5)), test=float(random.uniform(0, 0.5)), seed=seed,
    )  # fmt: skip
    for group in np.unique(groups[groups >= 0]):
        assert len(set(splits[groups == group])) == 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_no_group_is_ever_cut(seed: int) -> None:
    check_groups(seed)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_group_is_ever_cut_in_1000_sets(seed: int) -> None:
    check_groups(seed)


def test_several_labels_are_balanced_by_group() -> None:
    random = np.random.default_rng(0)
    values = (random.random((2000, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]).astype(np.float32)
    target = Target("kinds", "labels", values, tuple("abcdef"))
    images = complete_splits(image_set(target, random.integers(0, 200, 2000)), "kinds")
    whole = values.mean(axis=0)
    for split in ("validation", "test"):
        assert np.abs(values[images.rows(split)].mean(axis=0) - whole).max() < 0.02


FEW: list[Callable[[], Target]] = [
    lambda: classes(1, 2000, 10),
    lambda: Target(
        "l",
        "labels",
        (np.random.default_rng(0).random((2000, 4)) < 0.2).astype(np.float32),
        tuple("abcd"),
    ),
    lambda: Target(
        "n", "number", np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32), ("n",)
    ),
]


@pytest.mark.parametrize("make", FEW)
def test_few_labels_count_nested_and_repeatable(make: Callable[[], Target]) -> None:
    target, rows = make(), np.arange(100, 2000)
    small, large = (few_labels(target, rows, fraction, 3) for fraction in (0.05, 0.2))
    assert len(small) == 95
    assert len(large) == 380
    assert set(small) < set(large) < set(rows.tolist())
    assert (np.diff(small) > 0).all()
    assert (few_labels(target, rows, 0.05, 3) == small).all()
    assert set(few_labels(target, rows, 0.05, 4)) != set(small)
    assert (few_labels(target, rows, 1.0, 0) == rows).all()


def test_few_labels_are_balanced() -> None:
    target = classes(1, 2000, 10)
    rows = few_labels(target, np.arange(2000), 0.1, 0)
    found, whole = np.bincount(target.values[rows]), np.bincount(target.values)
    assert np.abs(found - 0.1 * whole).max() <= 1.0
    numbers = FEW[2]()
    rows = few_labels(numbers, np.arange(2000), 0.05, 0)
    edges = np.quantile(numbers.values, np.linspace(0, 1, 6))
    per_bin = np.histogram(numbers.values[rows], edges)[0]
    assert per_bin.min() >= 17
    labels = FEW[1]()
    rows = few_labels(labels, np.arange(2000), 0.05, 0)
    assert np.abs(labels.values[rows].mean(0) - labels.values.mean(0)).max() < 0.04


def test_few_labels_has_one_of_each_class_and_label() -> None:
    values = np.array([0] * 990 + [1] * 9 + [2])
    target = Target("kind", "class", values, ("a", "b", "c"))
    rows = few_labels(target, np.arange(1000), 0.002, 0)
    assert sorted(values[rows]) == [0, 1, 2]
    labels = np.zeros((1000, 3), np.float32)
    labels[0, 0] = labels[1, 1] = labels[2:50, 2] = 1
    rows = few_labels(Target("l", "labels", labels, tuple("abc")), np.arange(1000), 0.002, 0)
    assert (labels[rows].sum(0) > 0).all()


def test_few_labels_takes_known_rows_only_and_spreads_over_groups() -> None:
    values = np.array([0, 1] * 100 + [-1] * 200)
    target = Target("kind", "class", values, ("a", "b"))
    groups = np.arange(400) // 40
    rows = few_labels(target, np.arange(400), 0.05, 0, groups)
    assert len(rows) == 10
    assert (values[rows] >= 0).all()
    for kind in (0, 1):
        assert len(set(groups[rows[values[rows] == kind]])) == 5


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_few_labels_fraction_is_checked(fraction: float) -> None:
    with pytest.raises(ValueError, match="label fraction"):
        few_labels(classes(0, 10, 2), np.arange(10), fraction, 0)


def test_few_labels_without_any_known_value() -> None:
    target = class_target("kind", [None, None], ["a"])
    with pytest.raises(ValueError, match="none of the images to label has a known value"):
        few_labels(target, np.arange(2), 0.5, 0)
