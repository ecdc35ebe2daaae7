"""LARS against its algorithm written out; groups and schedules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from selfsight.method import Optimizer
from selfsight.methods import METHODS
from selfsight.training.optimizers import (
    LARS,
    build_optimizer,
    clip_each,
    lr_factor,
    peak_lr,
    set_schedule,
)


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
    assert lr_factor(settings, 2.0, 0.125) == pytest.approx(0.5)
    assert lr_factor(settings, 2.0, 0.25) == pytest.approx(1.0)
    assert lr_factor(settings, 2.0, 0.625) == pytest.approx(0.55)
    assert lr_factor(settings, 2.0, 1.0) == pytest.approx(0.1)
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


def test_the_last_rate_is_the_larger_of_a_share_and_a_number() -> None:
    settings = Optimizer(lr=0.4, base_batch_size=256, warmup=0.0, min_lr=1e-3)
    module = nn.Linear(2, 2)
    for batch_size in (64, 256, 1024):
        optimizer = build_optimizer(settings, module, batch_size)
        assert set_schedule(optimizer, settings, batch_size, 1.0) == pytest.approx(1e-3)
    shared = settings.updated({"final_lr": 0.1})
    assert set_schedule(optimizer, shared, 256, 1.0) == pytest.approx(0.04)


@pytest.mark.parametrize("largest", [0.5, 3.0])
def test_each_gradient_is_clipped_by_its_own_norm(largest: float) -> None:
    """As `clip_gradients` of DINO's authors, written out."""
    torch.manual_seed(0)
    weights = [torch.zeros(3, 4), torch.zeros(5), torch.zeros(2, 2), torch.zeros(3)]
    for weight, size in zip(weights, (0.1, 1.0, 10.0, 0.0), strict=True):
        weight.grad = size * torch.randn(weight.shape)
    weights.append(torch.zeros(2))  # no gradient
    wanted = []
    for weight in weights[:-1]:
        factor = largest / (weight.grad.norm() + 1e-6)
        wanted.append(weight.grad * factor if factor < 1 else weight.grad.clone())
    clip_each(weights, largest)
    torch.testing.assert_close([weight.grad for weight in weights[:-1]], wanted)


def authors_rates(step: int, steps: int, epochs: int, batch_size: int) -> tuple[float, float]:
    """Barlow Twins' `adjust_learning_rate`: rates of weights and of biases."""
    warmup = 10 * steps // epochs
    base = batch_size / 256
    if step < warmup:
        lr = base * step / warmup
    else:
        share = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        lr = base * share + base * 0.001 * (1 - share)
    return lr * 0.2, lr * 0.0048


def test_the_paper_preset_of_barlow_twins_has_the_authors_rates() -> None:
    """Step for step over the whole training; theirs wastes the first step on a rate of 0."""
    preset = METHODS["barlow_twins"].presets["paper"]
    epochs, steps, size = 40, 400, 512
    share = preset.epochs["optimizer.warmup"] / epochs
    settings = preset.optimizer.updated({"warmup": share})
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = build_optimizer(settings, module, size)
    for step in range(1, steps + 1):
        set_schedule(optimizer, settings, size, step / steps)
        rates = {p.ndim: g["lr"] for g in optimizer.param_groups for p in g["params"]}
        assert (rates[2], rates[1]) == pytest.approx(authors_rates(step, steps, epochs, size))
        adapts = {p.ndim: g["adapt"] for g in optimizer.param_groups for p in g["params"]}
        assert adapts == {1: False, 2: True}


@pytest.mark.parametrize("method", ["simclr", "vicreg", "dino"])
def test_lengths_in_epochs_and_last_rates(method: str) -> None:
    preset = METHODS[method].presets["paper"]
    assert preset.epochs["optimizer.warmup"] == 10
    settings = preset.optimizer.updated({"warmup": 0.1})
    optimizer = build_optimizer(settings, nn.Linear(2, 2), 512)
    last = {"simclr": 0.0, "vicreg": 0.2 * 2 * 1e-3, "dino": 1e-6}[method]
    assert set_schedule(optimizer, settings, 512, 1.0) == pytest.approx(last, abs=1e-12)
