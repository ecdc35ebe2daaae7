"""Choosing rows: typical, covering, uncertain; never near-duplicates, never too many of a group."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from selfsight.labelling import strategies
from selfsight.labelling.strategies import (
    Picker,
    at_random,
    k_centre,
    margin,
    representative,
    typical,
    typicality,
    uncertain,
    unit_vectors,
)


def blobs(counts: list[int], seed: int = 0, features: int = 16) -> tuple[torch.Tensor, np.ndarray]:
    """Clusters around random directions, tight in the middle, and where each row belongs."""
    generator = torch.Generator().manual_seed(seed)
    centres = 4.0 * torch.randn(len(counts), features, generator=generator)
    which = np.repeat(np.arange(len(counts)), counts)
    spread = torch.rand(len(which), 1, generator=generator) * 1.5
    x = centres[which] + spread * torch.randn(len(which), features, generator=generator)
    return unit_vectors(x), which


def picker_of(unit: torch.Tensor, labelled: list[int] = [], **options: object) -> Picker:  # noqa: B006
    mask = np.zeros(len(unit), np.bool_)
    mask[labelled] = True
    groups = options.pop("groups", np.arange(len(unit)))
    return Picker(unit, mask, groups, **options)  # type: ignore[arg-type]


def test_typical_takes_one_of_each_cluster() -> None:
    unit, which = blobs([200, 100, 50, 400, 30])
    picker = picker_of(unit, near=1.0)
    reasons = typical(picker, 5, seed=0)
    assert sorted(which[picker.chosen]) == [0, 1, 2, 3, 4]
    assert which[picker.chosen[0]] == 3  # the largest first
    assert "400 images" in reasons[0]
    for row in picker.chosen:  # of the densest tenth of its cluster
        here = np.flatnonzero(which == which[row])
        rank = int((typicality(unit[here]) > typicality(unit[here])[here == row]).sum())
        assert rank <= len(here) // 10


def test_typical_leaves_covered_clusters_for_last() -> None:
    unit, which = blobs([200, 100, 50, 400, 30])
    labelled = [int(np.flatnonzero(which == c)[0]) for c in (3, 0)]
    picker = picker_of(unit, labelled, near=1.0)
    typical(picker, 3, seed=0)
    assert sorted(which[picker.chosen]) == [1, 2, 4]


def test_typicality_is_the_written_out_one() -> None:
    unit, _ = blobs([30])
    found = typicality(unit, 4)
    distances = torch.cdist(unit.double(), unit.double()).fill_diagonal_(torch.inf)
    expected = 1.0 / distances.sort(1).values[:, :4].mean(1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_representative_is_the_greedy_choice() -> None:
    """Each pick raises the sum of the cosines to the nearest pick most, as written out."""
    unit, which = blobs([200, 100, 50, 400, 30])
    labelled = int(np.flatnonzero(which == 3)[0])
    picker = picker_of(unit, [labelled], near=1.0)
    reasons = representative(picker, 8, seed=0)
    assert set(which[picker.chosen[:4]]) == {0, 1, 2, 4}  # 3 has a labelled one
    assert picker.chosen[0] in np.flatnonzero(which == 0)  # the largest that has none
    share = (unit @ unit[picker.chosen[0]] > unit @ unit[labelled]).float().mean()
    assert reasons[0] == f"stands for {share:.1%} of the images"
    cosines = unit.double() @ unit.double().T
    for step, row in enumerate(picker.chosen):
        before = cosines[:, [labelled, *picker.chosen[:step]]].amax(1)
        gains = (cosines - before[:, None]).clamp_min(0.0).sum(0)
        assert float(gains[row]) == pytest.approx(float(gains.max()), rel=1e-5)


def test_representative_draws_more_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a full group takes all candidates away, others are drawn."""
    monkeypatch.setattr(strategies, "CANDIDATES", 5)
    monkeypatch.setattr(strategies, "SHORTLIST", 1)
    unit, _ = blobs([60, 60])
    groups = np.minimum(np.arange(120), 20)  # a hundred rows are of one group
    picker = picker_of(unit, near=1.0, groups=groups, per_group=1)
    assert len(representative(picker, 21, seed=0)) == 21
    assert sorted(groups[picker.chosen]) == list(range(21))


def test_k_centre_covers() -> None:
    """Greedy k-centre is within twice the best radius: here, one row of each far cluster."""
    unit, which = blobs([200, 100, 50, 400, 30])
    picker = picker_of(unit, near=1.0)
    k_centre(picker, 12)
    assert set(which[picker.chosen]) == {0, 1, 2, 3, 4}
    for step in range(2, 12):  # each pick is the row farthest from those before
        closest = (unit @ unit[picker.chosen[:step]].T).amax(1)
        assert closest[picker.chosen[step]] == pytest.approx(float(closest.min()), abs=1e-6)


def test_uncertain_rows_that_cover() -> None:
    unit, which = blobs([100, 100, 100])
    doubt = torch.from_numpy(np.where(which == 1, 0.9, 0.1)).float()
    picker = picker_of(unit, [0], near=1.0)
    uncertain(picker, 5, doubt)
    assert set(which[picker.chosen]) == {1}


def test_margin() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.9, 0.05, 0.05]])
    assert margin(p, several=False).tolist() == pytest.approx([1.0, 0.15])
    assert margin(p, several=True).tolist() == pytest.approx([2 / 3, 0.4 / 3])


@pytest.mark.parametrize("how", ["representative", "typical", "k_centre", "uncertain", "random"])
def test_no_duplicates_and_not_too_many_of_a_group(how: str) -> None:
    unit, _ = blobs([40, 40, 40])
    unit = torch.cat([unit, unit, unit])  # everything three times
    groups = np.arange(360) % 6
    picker = picker_of(unit, [0, 41], near=0.999, groups=groups, per_group=3)
    if how == "representative":
        reasons = representative(picker, 30, seed=0)
    elif how == "typical":
        reasons = typical(picker, 30, seed=0)
    elif how == "k_centre":
        reasons = k_centre(picker, 30)
    elif how == "uncertain":
        reasons = uncertain(picker, 30, torch.rand(360))
    else:
        reasons = at_random(picker, 30, seed=0)
    assert len(reasons) == len(picker.chosen) == 18  # six groups, three of each
    assert np.bincount(groups[picker.chosen]).tolist() == [3] * 6
    everything = unit[[0, 41, *picker.chosen]]
    cosines = everything @ everything.T
    assert float(cosines.fill_diagonal_(-1.0).max()) <= 0.999


@pytest.mark.slow
def test_fifty_thousand_images_in_half_a_minute() -> None:
    generator = torch.Generator().manual_seed(0)
    unit = unit_vectors(torch.randn(50_000, 512, generator=generator).relu())
    for pick in (typical, representative):
        began = time.thread_time()
        pick(picker_of(unit), 50, seed=0)
        assert time.thread_time() - began < 30
