"""LARS against its algorithm written out; groups and schedules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsight.method import Optimizer
from selfsight.training.optimizers import LARS, build_optimizer, lr_factor, peak_lr, set_schedule


def test_lars_is_algorithm_1() -> None:
    torch.manual_seed(0)
    w = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    plain, plain_bias = w.detach().clone(), bias.detach().clone()
    groups = [{"params": [w]}, {"params": [bias], "adapt": False, "weight_decay": 0.0}]
    optimizer = LARS(groups, lr=0.3, momentum=0.8, weight_decay=0.02, trust_coefficient=0.01)
    velocity, bias_velocity = torch.zeros_like(plain), torch.zeros_like(plain_bias)
    for step in range(4):
        gradient = torch.randn(4, 3, dtype=torch.float64)
        w.grad, bias.grad = gradient.clone(), gradient[0].clone()
        optimizer.step()
        local = 0.01 * plain.norm() / (gradient + 0.02 * plain).norm()
        velocity = 0.8 * velocity + local * (gradient + 0.02 * plain)
        plain = plain - 0.3 * velocity
        bias_velocity = 0.8 * bias_velocity + gradient[0]
        plain_bias = plain_bias - 0.3 * bias_velocity
        torch.testing.assert_close(w.detach(), plain, rtol=1e-12, atol=1e-12, msg=str(step))
        torch.testing.assert_close(bias.detach(), plain_bias, rtol=1e-12, atol=1e-12)


def test_lars_leaves_zero_weights_and_gradients_alone() -> None:
    w = torch.zeros(2, 2, requires_grad=True)
    v = torch.ones(2, 2, requires_grad=True)
    w.grad, v.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([w, v], lr=0.1).step()
    assert torch.equal(w, torch.full((2, 2), -0.1))
    assert torch.equal(v, torch.ones(2, 2))


@pytest.mark.parametrize("name", ["lars", "sgd", "adam", "adamw"])
def test_biases_and_norms_never_decay(name: str) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    settings = Optimizer.model_validate({"name": name, "weight_decay": 0.1, "lr": 0.01})
    optimizer = build_optimizer(settings, module, 512)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decays[id(module[0].weight)] == 0.1
    assert all(decays[id(p)] == 0 for p in (module[0].bias, *module[1].parameters()))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)


def test_schedule() -> None:
    settings = Optimizer(lr=2.0, base_batch_size=None, warmup=0.25, final_lr=0.1, weight_decay=0.2)
    assert peak_lr(settings, 9999) == 2.0
    assert lr_factor(settings, 0.125) == pytest.approx(0.5)
    assert lr_factor(settings, 0.25) == pytest.approx(1.0)
    assert lr_factor(settings, 0.625) == pytest.approx(0.55)
    assert lr_factor(settings, 1.0) == pytest.approx(0.1)
    rising = settings.updated({"final_weight_decay": 0.6})
    module = nn.Sequential(nn.Linear(2, 2))
    optimizer = build_optimizer(rising, module, 1)
    set_schedule(optimizer, rising, 1, 0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([0.4, 0.0])
    set_schedule(optimizer, rising, 1, 1.0)
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.6)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_the_backbone_has_a_rate_of_its_own(name: str) -> None:
    module = nn.ModuleDict({"backbone": nn.Linear(3, 4), "layer": nn.Linear(4, 2)})
    settings = Optimizer.model_validate(
        {
            "name": name,
            "lr": 0.1,
            "base_batch_size": None,
            "backbone_lr_factor": 0.25,
            "warmup": 0.5,
        }
    )
    optimizer = build_optimizer(settings, module, 8)
    for progress, factor in ((None, 1.0), (0.25, 0.5)):
        if progress is not None:
            assert set_schedule(optimizer, settings, 8, progress) == pytest.approx(0.05)
        for part, rate in (("backbone", 0.025), ("layer", 0.1)):
            found = [
                group["lr"]
                for group in optimizer.param_groups
                for p in group["params"]
                if any(p is q for q in module[part].parameters())
            ]
            assert found == pytest.approx([rate * factor] * 2)
    everything = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(everything) == len(list(module.parameters()))
    matrices = {id(module["backbone"].weight), id(module["layer"].weight)}
    for group in optimizer.param_groups:
        weights = {id(p) in matrices for p in group["params"]}
        assert weights == {group["decays"]}
        assert name != "lars" or weights == {group["adapt"]}


def test_a_checkpoint_without_shares_goes_on() -> None:
    module, settings = nn.Linear(3, 4), Optimizer(lr=0.1, base_batch_size=None, warmup=0.0)
    optimizer = build_optimizer(settings, module, 8)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["share"]
    optimizer.load_state_dict(state)
    set_schedule(optimizer, settings, 8, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05] * 2)
