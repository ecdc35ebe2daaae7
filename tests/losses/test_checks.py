"""Every loss refuses what it cannot compute, in one sentence with its name and the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from selfsight.losses import (
    barlow_twins_loss,
    dino_loss,
    fairness_loss,
    fixmatch_loss,
    freematch_loss,
    freematch_thresholds,
    mean_over_known,
    nt_xent_loss,
    same_class_correlation_loss,
    same_class_weights,
    supcon_loss,
    target_losses,
    vicreg_loss,
)

PAIRS: dict[str, Callable[..., Any]] = {
    "nt_xent_loss": nt_xent_loss,
    "barlow_twins_loss": barlow_twins_loss,
    "vicreg_loss": vicreg_loss,
}
NAN, INF = float("nan"), float("inf")


def z(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape).sin().to(dtype)


def refused(loss: Callable[..., Any], *args: Any, name: str, match: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=match) as error:
        loss(*args, **options)
    said = str(error.value)
    assert said.startswith(f"{name}: ")
    assert "\n" not in said and said.endswith(".")


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (z(5, 8), z(3, 8), r"\(5, 8\) and second \(3, 8\) must have one shape"),
        (z(5, 8), z(5, 7), "must have one shape"),
        (z(1, 8), z(1, 8), r"at least two \(got 1\)"),
        (z(0, 8), z(0, 8), r"at least two \(got 0\)"),
        (z(5, 0), z(5, 0), "not empty"),
        (z(8), z(8), r"first must be \(N, D\)"),
        (z(2, 3, 4), z(2, 3, 4), r"first must be \(N, D\)"),
        ([[1.0, 2.0]], z(1, 2), "first must be a tensor"),
        (z(5, 8), None, "second must be a tensor"),
        (z(5, 8), torch.ones(5, 8, dtype=torch.int64), "floating-point"),
        (z(5, 8), torch.ones(5, 8, dtype=torch.complex64), "floating-point"),
        (z(5, 8), z(5, 8, dtype=torch.float64), "one dtype"),
    ],
)
def test_pairs(name: str, first: Any, second: Any, match: str) -> None:
    refused(PAIRS[name], first, second, name=name, match=match)


@pytest.mark.parametrize("value", [0, 0.0, -0.1, NAN, INF])
def test_temperatures(value: float) -> None:
    pair, views = (z(4, 3), z(4, 3)), [z(4, 3), z(4, 3)]
    match = "must be a finite number above 0"
    refused(nt_xent_loss, *pair, value, name="nt_xent_loss", match=f"temperature {match}")
    weights = torch.ones(4, 4)
    known = torch.ones(4, dtype=torch.bool)
    refused(supcon_loss, z(4, 3), weights, known, value, name="supcon_loss", match=match)
    for setting in ("student_temperature", "teacher_temperature"):
        refused(
            dino_loss,
            views,
            views,
            torch.zeros(3),
            name="dino_loss",
            match=f"{setting} {match}",
            **{setting: value},
        )
    refused(vicreg_loss, *pair, eps=value, name="vicreg_loss", match=f"eps {match}")


@pytest.mark.parametrize("value", [-0.1, NAN, INF, torch.ones(2)])
def test_weights(value: Any) -> None:
    pair = (z(4, 3), z(4, 3))
    match = "must be (a finite number, 0 or more|one number)"
    for setting in ("redundancy_weight", "eps"):
        refused(barlow_twins_loss, *pair, name="barlow_twins_loss", match=match, **{setting: value})
        refused(
            same_class_correlation_loss,
            z(4, 3),
            torch.ones(4, 4),
            name="same_class_correlation_loss",
            match=match,
            **{setting: value},
        )
    for setting in ("invariance_weight", "variance_weight", "covariance_weight"):
        refused(vicreg_loss, *pair, name="vicreg_loss", match=match, **{setting: value})


@pytest.mark.parametrize(
    ("student", "teacher", "centre", "match"),
    [
        ([z(4, 6)] * 2, [z(4, 5)] * 2, z(6), "they must have one shape"),
        ([z(8, 6)] * 2, [z(4, 6)] * 2, z(6), "they must have one shape"),
        ([z(4, 6), z(8, 6)], [z(4, 6)] * 2, z(6), r"student\[1\] is \(8, 6\)"),
        ([z(4, 6)] * 2, [z(4, 6), z(3, 6)], z(6), r"teacher\[1\] is \(3, 6\)"),
        ([z(4, 6)] * 2, [z(4, 6)] * 3, z(6), "3 teacher views and 2 student views"),
        ([z(4, 6)], [z(4, 6)], z(6), "no pair of different views"),
        ([], [z(4, 6)], z(6), "student needs one view or more"),
        ([z(4, 6)] * 2, [], z(6), "teacher needs one view or more"),
        (z(2, 4, 6), [z(4, 6)] * 2, z(6), r"student must be a list .* give list\(views\)"),
        ([z(4, 6)] * 2, z(2, 4, 6), z(6), "teacher must be a list"),
        ([z(0, 6)] * 2, [z(0, 6)] * 2, z(6), "one image or more"),
        ([z(4, 0)] * 2, [z(4, 0)] * 2, z(0), "not empty"),
        ([z(4, 6)] * 2, [z(4, 6)] * 2, z(5), r"centre must be \(6,\) or \(1, 6\) \(got \(5,\)\)"),
        ([z(4, 6)] * 2, [z(4, 6)] * 2, z(4, 6), "centre must be"),
        ([z(4, 6)] * 2, [z(4, 6)] * 2, 0.0, "centre must be"),
        ([z(4, 6), z(4, 6, dtype=torch.float64)], [z(4, 6)] * 2, z(6), "one dtype"),
        ([z(4, 6)] * 2, [z(4, 6, dtype=torch.float64)] * 2, z(6), "one dtype"),
    ],
)
def test_dino(student: Any, teacher: Any, centre: Any, match: str) -> None:
    refused(dino_loss, student, teacher, centre, name="dino_loss", match=match)


def test_one_teacher_view_and_several_student_views_are_pairs() -> None:
    student, teacher, centre = [z(4, 6), z(4, 6).cos()], [z(4, 6)], torch.zeros(6)
    target = (teacher[0] / 0.04).softmax(1)
    wanted = -(target * (student[1] / 0.1).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(dino_loss(student, teacher, centre), wanted)


@pytest.mark.parametrize("loss", [fixmatch_loss, freematch_loss])
@pytest.mark.parametrize(
    ("weak", "strong", "match"),
    [
        (z(4, 1, 3), z(5, 1, 3), "must have one shape"),
        (z(4, 3), z(4, 3), r"weak must be \(B, G, C\)"),
        (z(0, 1, 3), z(0, 1, 3), "one image or more"),
        (z(4, 1, 0), z(4, 1, 0), "not empty"),
    ],
)
def test_pseudo_labels(loss: Callable[..., Any], weak: Tensor, strong: Tensor, match: str) -> None:
    last: Any = 0.95 if loss is fixmatch_loss else torch.full((1, 3), 0.5)
    refused(loss, weak, strong, last, name=loss.__name__, match=match)


def test_thresholds() -> None:
    logits = z(4, 1, 3)
    for value in (-0.1, 1.1, NAN):
        refused(fixmatch_loss, logits, logits, value, name="fixmatch_loss", match="from 0 to 1")
    refused(
        freematch_loss, logits, logits, z(1, 2), name="freematch_loss", match=r"\(1, 2\) must be"
    )
    refused(freematch_thresholds, z(2), z(3, 4), name="freematch_thresholds", match="must hold")
    taken, even = torch.ones(4, 1, dtype=torch.bool), torch.ones(1, 3)
    refused(fairness_loss, logits, taken[:3], even, even, name="fairness_loss", match="taken")
    refused(fairness_loss, logits, taken, z(1, 2), even, name="fairness_loss", match="marginal")
    refused(fairness_loss, logits, taken, even, z(1, 2), name="fairness_loss", match="histogram")


def test_losses_with_labels() -> None:
    known = torch.ones(4, dtype=torch.bool)
    for loss, last, name in (
        (supcon_loss, (known,), "supcon_loss"),
        (same_class_correlation_loss, (), "same_class_correlation_loss"),
    ):
        refused(loss, z(4, 3), torch.ones(3, 3), *last, name=name, match=r"weights \(3, 3\)")
        refused(loss, z(4), torch.ones(4, 4), *last, name=name, match=r"z must be \(N, D\)")
        refused(loss, z(0, 3), torch.ones(0, 0), *last, name=name, match="one row or more")
    refused(supcon_loss, z(4, 3), torch.ones(4, 4), known[:3], name="supcon_loss", match="known")
    classes = torch.tensor([0, 1])
    refused(same_class_weights, classes, "labels", name="same_class_weights", match=r"\(M, K\)")
    refused(same_class_weights, z(2, 3), "class", name="same_class_weights", match=r"\(M,\)")
    refused(target_losses, z(4, 3), classes, "class", name="target_losses", match=r"\(2,\)")
    refused(target_losses, z(4, 3), z(4, 2), "number", name="target_losses", match=r"\(4, 2\)")
    refused(mean_over_known, z(4), known[:3], name="mean_over_known", match="one shape")
