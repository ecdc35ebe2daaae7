"""FixMatch and FreeMatch on classes and on several labels."""

from __future__ import annotations

import pytest
import torch

from selfsight.data.imageset import TargetSpec
from selfsight.draws import keys_of
from selfsight.method import Batch, Method
from selfsight.methods import METHODS
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import BackboneSpec, Network


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
