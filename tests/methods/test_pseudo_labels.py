"""FixMatch and FreeMatch against written-out equations, and on several labels."""

from __future__ import annotations

import math

import pytest
import torch

from selfsight.data.imageset import TargetSpec
from selfsight.draws import keys_of
from selfsight.losses.targets import choices
from selfsight.method import Batch, Method
from selfsight.methods import METHODS
from selfsight.methods.fixmatch import fixmatch_loss
from selfsight.methods.freematch import fairness_loss, freematch_loss, thresholds
from selfsight.networks.backbones import BackboneSpec, Network, build_backbone


def logits(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_fixmatch_is_the_written_out_one() -> None:
    weak, strong = logits(0, 12, 1, 4), logits(1, 12, 1, 4)
    q, p = weak[:, 0].softmax(1), strong[:, 0].softmax(1)
    expected, count = 0.0, 0
    for b in range(12):
        if float(q[b].max()) >= 0.7:
            count += 1
            expected -= math.log(float(p[b, int(q[b].argmax())]))
    assert 0 < count < 12
    weak.requires_grad_()
    loss, confident = fixmatch_loss(weak, strong.requires_grad_(), 0.7)
    assert loss.item() == pytest.approx(expected / 12)
    assert confident.item() == pytest.approx(count / 12)
    loss.backward()
    assert weak.grad is None
    assert strong.grad is not None and strong.grad.any()


def test_labels_are_choices_between_no_and_yes() -> None:
    weak, strong = logits(0, 6, 3), logits(1, 6, 3)
    assert torch.allclose(choices(weak, "labels").softmax(2)[..., 1], weak.sigmoid())
    expected = 0.0
    for q, p in zip(weak.sigmoid().flatten(), strong.sigmoid().flatten(), strict=True):
        if max(q, 1 - q) >= 0.8:
            expected -= math.log(float(p if q > 0.5 else 1 - p))
    loss, _ = fixmatch_loss(choices(weak, "labels"), choices(strong, "labels"), 0.8)
    assert loss.item() == pytest.approx(expected / 18)


def test_freematch_is_the_written_out_one() -> None:
    weak, strong = logits(2, 20, 1, 3), logits(3, 20, 1, 3)
    q, p = weak[:, 0].softmax(1), strong[:, 0].softmax(1)
    tau = torch.tensor([0.8], dtype=torch.float64)
    marginal = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    limits = thresholds(tau, marginal)
    assert limits[0].tolist() == pytest.approx([0.8, 0.48, 0.32])
    expected, taken = 0.0, []
    for b in range(20):
        c = int(q[b].argmax())
        taken.append(float(q[b, c]) >= float(limits[0, c]))
        expected -= taken[-1] * math.log(float(p[b, c]))
    loss, mask = freematch_loss(weak, strong, limits)
    assert loss.item() == pytest.approx(expected / 20)
    assert mask[:, 0].tolist() == taken and 0 < sum(taken) < 20
    histogram = torch.tensor([[0.6, 0.4, 0.0]], dtype=torch.float64)
    rows = [b for b in range(20) if taken[b]]
    mean = p[rows].mean(0)
    counted = torch.bincount(p[rows].argmax(1), minlength=3) / len(rows)
    a = torch.tensor([0.5 / 0.6, 0.3 / 0.4, 0.0], dtype=torch.float64)
    b_bar = torch.where(counted > 0, mean / counted.clamp_min(1e-9), 0.0)
    a, b_bar = a / a.sum(), b_bar / b_bar.sum()
    found = fairness_loss(strong, mask, marginal, histogram)
    assert found.item() == pytest.approx(float((a * (b_bar + 1e-12).log()).sum()))
    nothing = fairness_loss(strong, torch.zeros_like(mask), marginal, histogram)
    assert nothing.item() == 0.0


def method_of(name: str, kind: str) -> Method:
    network = Network(widths=(8, 16), depths=(1, 1), block="basic", stem="cifar")
    spec = BackboneSpec(name="resnet18", network=network, channels=3, image_size=12)
    torch.manual_seed(0)
    target = TargetSpec("target", kind, tuple("abc"))  # type: ignore[arg-type]
    return METHODS[name](METHODS[name].Settings(), build_backbone(spec, seed=0), target)


def batch_of(targets: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(8, 3, 12, 12, generator=generator) for _ in range(2)]
    return Batch(views, targets, keys_of(0, 0, torch.arange(8)), torch.tensor(0.5))


@pytest.mark.parametrize("name", ["fixmatch", "freematch", "supervised"])
@pytest.mark.parametrize("kind", ["class", "labels"])
def test_unknown_rows_do_not_teach(name: str, kind: str) -> None:
    """A row's target is read where it is known, and only there."""
    known = torch.tensor([0, 2, 1, 0, -1, -1, -1, -1])
    if kind == "labels":
        known = torch.tensor([[1.0, 0.0, 1.0]] * 4 + [[torch.nan] * 3] * 4)
    method = method_of(name, kind)
    batch = batch_of(known)
    if name == "supervised":
        batch.views = batch.views[:1]
    losses = method(batch).losses
    assert losses["loss"].isfinite()
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    layer = method.layer
    assert isinstance(layer, torch.nn.Linear)
    assert layer.weight.grad is not None and layer.weight.grad.any()


@pytest.mark.parametrize("name", ["fixmatch", "freematch", "supervised"])
def test_no_number(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: it"):
        method_of(name, "number")


def test_freematch_follows_its_guesses() -> None:
    method = method_of("freematch", "class")
    before = method.marginal.clone()
    batch = batch_of(torch.full((8,), -1))
    method(batch)
    with torch.no_grad():
        q = method.layer(method.backbone(torch.cat(batch.views)))[:8].softmax(1)
    keep = METHODS["freematch"].Settings().momentum  # type: ignore[attr-defined]
    expected = keep * before + (1 - keep) * q.mean(0)
    torch.testing.assert_close(method.marginal, expected)
    tau = keep / 3 + (1 - keep) * q.max(1).values.mean()
    torch.testing.assert_close(method.confidence[0], tau)
