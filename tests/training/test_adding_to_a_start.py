"""Rates by layer, the anchor, and training of scale and shift alone: what they change and keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from selfsight.data.imageset import ImageSet
from selfsight.method import Optimizer
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.networks.stages import levels, scales_and_shifts
from selfsight.runs.run import Run
from selfsight.training.optimizers import add_pull, build_optimizer, distance
from selfsight.training.plan import prepare
from selfsight.training.pretrain import build, pretrain
from selfsight.training.settings import Pretrain
from selfsight.training.start import kept_start

SHAPES = {
    "resnet18": Network(widths=(4, 6, 8, 10), depths=(1, 2, 1, 1), stem="imagenet"),
    "resnet50": Network(widths=(2, 3, 4, 5), depths=(1, 1, 1, 1), stem="imagenet"),
    "vit_small": Network(widths=(32,), depths=(6,), patch_size=16, heads=2),
    "efficientnet_lite0": Network(widths=(8,) * 7, depths=(1,) * 7),
}
FOREIGN = '''
import torch
from torch import nn

class RootMeanSquareNorm(nn.Module):
    """A normalisation that torch does not have."""
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
    def forward(self, x):
        return self.weight[:, None, None] * x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(1, width), nn.ReLU()
        )
    def forward(self, x):
        return x + self.body(x)

class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 4, 4)
        self.norm = RootMeanSquareNorm(8)
        self.trunk = nn.Sequential(*(Block(8) for _ in range(3)))
    def forward(self, x):
        return self.trunk(self.norm(self.stem(x))).mean((2, 3))

def build(channels):
    return Net(channels)
'''


def images(count: int = 24, side: int = 64) -> ImageSet:
    random = np.random.default_rng(0)
    return ImageSet(
        "images",
        random.integers(0, 255, (count, side, side, 3)).astype(np.uint8),
        np.array([f"{i}.png" for i in range(count)]),
        np.full(count, "unlabelled"),
    )


def wish(out: Path, **changes: Any) -> Pretrain:
    """Two steps of a small SimCLR, unless other settings are given."""
    given: dict[str, Any] = {
        "batch_size": 8,
        "steps": 3,
        "monitor_images": 0,
        "precision": "fp32",
        "device": "cpu",
        "compile": "off",
        "log_every": 1,
        **changes,
    }
    method = {"name": "simclr", "projector": (8, 4)}
    return Pretrain.model_validate({"data": "images", "method": method, "out": str(out), **given})


def network(name: str) -> Backbone:
    return build_backbone(choose_backbone(name, SHAPES[name], 3, 64), seed=5)


def weights_file(path: Path, name: str) -> Path:
    """An official-looking file of weights of a tiny network."""
    state = {f"module.{k}": v for k, v in network(name).network.state_dict().items()}
    torch.save({"state_dict": state}, path)
    return path


def started(tmp_path: Path, name: str, **changes: Any) -> Pretrain:
    """A training that starts from such a file."""
    weights = str(weights_file(tmp_path / f"{name}.pth", name))
    given = {"backbone": name, "network": SHAPES[name].plain(), "weights": weights, **changes}
    return wish(Path(given.pop("out", tmp_path / "run")), **given)


def tensors(backbone: Backbone | None) -> dict[str, torch.Tensor]:
    assert backbone is not None
    return dict(backbone.network.state_dict())


def moved(run: Run) -> set[str]:
    """Names of the tensors that are other bits than in the start."""
    before, after = tensors(kept_start(run.folder)), tensors(run.backbone())
    return {name for name in before if not torch.equal(before[name], after[name])}


# Rates by layer

LAYERS = {
    "resnet18": [
        ["conv1", "bn1"],
        ["layer1.0"],
        ["layer2.0"],
        ["layer2.1"],
        ["layer3.0"],
        ["layer4.0"],
    ],
    "vit_small": [
        ["cls_token", "pos_embed", "patch_embed"],
        ["blocks.0"],
        ["blocks.1"],
        ["blocks.2"],
        ["blocks.3"],
        ["blocks.4"],
        ["blocks.5", "norm"],
    ],
    "efficientnet_lite0": [
        ["conv_stem", "bn1"],
        *([f"blocks.{i}.0"] for i in range(7)),
        ["conv_head", "bn2"],
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_has_its_share_of_the_rate(name: str) -> None:
    method = nn.Module()
    method.backbone = network(name)
    method.head = nn.Linear(3, 3)
    settings = Optimizer(
        lr=0.1, base_batch_size=None, backbone_lr_factor=0.5, layer_decay=0.8, bias_lr_factor=2.0
    )
    optimizer = build_optimizer(settings, method, 64)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rates) == len(list(method.parameters()))
    layers = LAYERS[name]
    for depth, prefixes in enumerate(layers):
        expected = 0.1 * 0.5 * 0.8 ** (len(layers) - 1 - depth)
        here = [
            p
            for n, p in method.backbone.network.named_parameters()
            if any(n == prefix or n.startswith(f"{prefix}.") for prefix in prefixes)
        ]
        assert here
        for p in here:
            bias = 2.0 if p.ndim <= 1 else 1.0
            assert rates[id(p)] == pytest.approx(expected * bias, rel=1e-12)
    assert rates[id(method.head.weight)] == pytest.approx(0.1)


def test_layers_of_a_network_of_someone_else(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FOREIGN)
    spec = choose_backbone(f"{tmp_path}/net.py:build", Network(), 3, 64)
    module = build_backbone(spec, seed=0).network
    names = {id(p): n for n, p in module.named_parameters()}
    found = [sorted({names[id(p)].rpartition(".")[0] for p in level}) for level in levels(module)]
    assert found == [
        ["norm", "stem"],
        *([f"trunk.{i}.body.0", f"trunk.{i}.body.1"] for i in range(3)),
    ]


def test_without_decay_the_groups_are_those_of_before() -> None:
    method = nn.Module()
    method.backbone = network("resnet18")
    method.head = nn.Linear(3, 3)
    plain = build_optimizer(Optimizer(), method, 64).param_groups
    assert [len(g["params"]) for g in plain] == [
        sum(p.ndim > 1 for p in method.parameters()),
        sum(p.ndim <= 1 for p in method.parameters()),
    ]


def test_a_training_moves_its_first_layers_less(tmp_path: Path) -> None:
    """With SGD a step is rate times gradient: decay shows in the size of the first step."""
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    optimizer |= {"final_lr": 1.0}
    changes: dict[str, Any] = {"steps": 1, "freeze": "none", "batch_norm": "held"}
    steps = {}
    for decay in (1.0, 0.5):
        folder = tmp_path / str(decay)
        folder.mkdir()
        given = started(
            folder, "resnet18", optimizer={**optimizer, "layer_decay": decay}, **changes
        )
        run = pretrain(given, images())
        before, after = tensors(kept_start(run.folder)), tensors(run.backbone())
        steps[decay] = {n: after[n].double() - before[n].double() for n in before}
    for key, depth in (
        ("layer4.0.conv1.weight", 0),
        ("layer3.0.conv1.weight", 1),
        ("conv1.weight", 5),
    ):
        ratio = steps[0.5][key].norm() / steps[1.0][key].norm()
        assert float(ratio) == pytest.approx(0.5**depth, rel=0.02)


# The anchor


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3, 2, dtype=torch.float64)) for _ in range(2)]
    start = [torch.randn(3, 2, dtype=torch.float64) for _ in weights]
    penalty = sum((w - w0).square().sum() for w, w0 in zip(weights, start, strict=True)) * 0.7 / 2
    assert isinstance(penalty, torch.Tensor)
    penalty.backward()
    expected = [w.grad.clone() for w in weights if w.grad is not None]
    for w in weights:
        w.grad = torch.ones_like(w)
    add_pull(weights, start, 0.7)
    for w, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(w.grad, gradient + 1.0, rtol=1e-14, atol=1e-14)
    assert 0.7 / 2 * float(distance(weights, start)) == pytest.approx(
        float(penalty.detach()), rel=1e-12
    )


def test_a_stronger_anchor_stays_nearer(tmp_path: Path) -> None:
    moves, penalties = [], []
    for number, anchor in enumerate((0.0, 20.0, 60.0, 180.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        optimizer = {"name": "sgd", "lr": 5e-3, "momentum": 0.0, "warmup": 0.0}
        optimizer |= {"backbone_lr_factor": 1.0}
        given = started(
            folder, "resnet18", steps=12, anchor=anchor, freeze="none", optimizer=optimizer
        )
        run = pretrain(given, images())
        before, after = tensors(kept_start(run.folder)), tensors(run.backbone())
        learned = {n for n, _ in run.backbone().network.named_parameters()}
        moves.append(sum(float((after[n] - before[n]).square().sum()) for n in learned) ** 0.5)
        rows = run.folder.metrics.read_text().splitlines()
        columns = rows[0].split(",")
        assert ("anchor" in columns) == (anchor > 0)
        if anchor:
            penalties.append(float(rows[-1].split(",")[columns.index("anchor")]))
    assert moves == sorted(moves, reverse=True)
    assert moves[-1] < 0.5 * moves[0]
    # The last row is that of the last step's weights before it, at a rate of nearly 0.
    expected = [a / 2 * move**2 for a, move in zip((20.0, 60.0, 180.0), moves[1:], strict=True)]
    assert penalties == pytest.approx(expected, rel=0.1)


def test_an_anchor_needs_a_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^anchor: it holds the weights near those of a start"):
        prepare(wish(tmp_path / "run", anchor=0.1, weights="none"), images())


@pytest.mark.slow
def test_two_processes_pull_as_one() -> None:
    script = Path(__file__).with_name("pulled.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["anchor"] < 1e-12
    assert answer["control"] > 1e-4


class StoppedError(Exception):
    pass


class StopAfter(pl.Callback):
    """Ends the training after an epoch and its checkpoint."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise StoppedError


@pytest.mark.parametrize(
    "changes",
    [
        {"anchor": 3.0, "optimizer": {"layer_decay": 0.7}},
        {"freeze": "all_but_norms", "anchor": 1.0},
    ],
)
@pytest.mark.parametrize("name", ["resnet18", "vit_small"])
def test_a_stopped_training_goes_on_bit_for_bit(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    changes = {"steps": None, "epochs": 4, **changes}
    whole = pretrain(started(tmp_path, name, **changes, out=str(tmp_path / "whole")), images())
    parted = started(tmp_path, name, **changes, out=str(tmp_path / "parted"))
    with pytest.raises(StoppedError):
        pretrain(parted, images(), [StopAfter()])
    assert not (tmp_path / "parted" / "backbone.safetensors").exists()
    again = pretrain(parted, images())
    first, second = tensors(whole.backbone()), tensors(again.backbone())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert moved(whole)
    assert whole.folder.metrics.read_text() == again.folder.metrics.read_text()


def test_compiled_and_eager_are_one_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one graph; the pull and the rates lie outside of it."""
    plain = nn.Module.compile
    calls: list[bool] = []

    def compile_(self: nn.Module, **options: Any) -> None:
        calls.append(bool(options.get("fullgraph")))
        plain(self, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile_)
    found = []
    optimizer = {"name": "sgd", "lr": 1e-2, "layer_decay": 0.7}
    for kind in ("off", "on"):
        folder = tmp_path / kind
        folder.mkdir()
        given = started(folder, "vit_small", anchor=2.0, optimizer=optimizer, compile=kind, steps=2)
        found.append(tensors(pretrain(given, images()).backbone()))
    assert calls == [True]
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key], rtol=1e-4, atol=1e-6)


# Scale and shift alone


@pytest.mark.parametrize("name", SHAPES)
def test_all_but_scale_and_shift_stay_bit_for_bit(name: str, tmp_path: Path) -> None:
    run = pretrain(started(tmp_path, name, freeze="all_but_norms"), images())
    backbone = run.backbone()
    ids = {id(p) for p in scales_and_shifts(backbone.network)}
    norms = {n for n, p in backbone.network.named_parameters() if id(p) in ids}
    assert 2 * sum(isinstance(m, nn.BatchNorm2d | nn.LayerNorm) for m in backbone.modules()) == len(
        norms
    )
    assert moved(run) == norms  # statistics are held, too
    assert run.plain["batch_norm"] == "held"


def test_norms_of_another_library(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FOREIGN)
    given = wish(
        tmp_path / "run",
        backbone=f"{tmp_path}/net.py:build",
        freeze="all_but_norms",
        weights="none",
    )
    method = build(prepare(given, images()))
    learning = {n for n, p in method.backbone.network.named_parameters() if p.requires_grad}
    assert learning == {
        "norm.weight",
        *(f"trunk.{i}.body.1.{part}" for i in range(3) for part in ("weight", "bias")),
    }


def test_a_network_without_norms_is_refused(tmp_path: Path) -> None:
    text = "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64 * 64, 4))"
    text = f"from torch import nn\ndef build(channels):\n{text}\n"
    (tmp_path / "net.py").write_text(text)
    given = wish(
        tmp_path / "run",
        backbone=f"{tmp_path}/net.py:build",
        freeze="all_but_norms",
        weights="none",
    )
    with pytest.raises(ValueError, match="has no normalisation with a scale and a shift"):
        prepare(given, images())


# The preset `continue` on other shapes


@pytest.mark.parametrize(
    ("name", "first"),
    [("resnet50", "layer3"), ("vit_small", "blocks.2"), ("efficientnet_lite0", "blocks.3")],
)
def test_continue_on_other_shapes(name: str, first: str, tmp_path: Path) -> None:
    """Down to 1/8 of the side, or the first third of the blocks, nothing moves; the rest does."""
    run = pretrain(started(tmp_path, name), images())
    assert (run.plain["preset"], run.plain["freeze"]) == ("continue", "early")
    network = run.backbone().network
    names = [n for n, _ in network.named_parameters()]
    late = [n for n in names if n in moved(run)]
    assert late
    begins = next(i for i, n in enumerate(names) if n.startswith(f"{first}."))
    assert all(names.index(n) >= begins for n in late)
    assert any(n.startswith(f"{first}.") for n in late)
    assert not any("running" in n or "num_batches" in n for n in moved(run))
    note = next(n for n in run.environment["notes"] if n.startswith("Preset continue"))
    assert "early stages frozen" in note
    assert ("batch-norm statistics held" in note) == (name != "vit_small")
