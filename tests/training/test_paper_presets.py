"""`--preset paper` against the authors' code: its page, its mechanics, and what it never adapts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import selfsight
from selfsight.arguments import parsed
from selfsight.data.imageset import ImageSet, class_target
from selfsight.methods import METHODS
from selfsight.networks.backbones import each_view
from selfsight.networks.specs import Network, choose_backbone
from selfsight.networks.vit import TransformerBlock
from selfsight.training.plan import prepare
from selfsight.training.pretrain import build
from selfsight.training.settings import Pretrain
from selfsight.verbs import VERBS

ROOT = Path(__file__).resolve().parents[2]
WITH_PAPER = [name for name in METHODS if "paper" in METHODS[name].presets]


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("presets_table", ROOT / "benchmarks/presets.py")
    assert spec is not None and spec.loader is not None
    import sys

    module = importlib.util.module_from_spec(spec)
    sys.modules["presets_table"] = module
    spec.loader.exec_module(module)
    return module


def images(side: int = 8, channels: int = 3, count: int = 48) -> ImageSet:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    labels = np.arange(count) % 3
    pixels[labels == 1, : side // 2] //= 4
    pixels[labels == 2, :, : side // 2] //= 4
    splits = np.array((["train"] * 4 + ["validation", "test"]) * (count // 6))
    ids = np.array([f"{i}" for i in range(count)])
    return ImageSet("made", pixels, ids, splits, {"kind": class_target("kind", labels, "abc")})


def settings(method: str, **changes: Any) -> Pretrain:
    base = Pretrain.model_validate({"method": method, "data": "made", "device": "cpu"})
    return base.updated({"batch_size": 16, "preset": "paper", **changes})


def test_the_page_is_up_to_date(table: ModuleType) -> None:
    assert table.PAGE.read_text() == table.page()
    assert set(table.AUTHORS) == set(WITH_PAPER)


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [("barlow_twins", "optimizer.bias_lr_factor", 1.0), ("dino", "optimizer.clip_by", "global")],
)
def test_a_value_that_differs_needs_a_reason(
    table: ModuleType, method: str, path: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = METHODS[method].presets["paper"].updated({path: value})
    monkeypatch.setitem(METHODS[method].presets, "paper", paper)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different, without a reason"):
        table.table(method)


@pytest.mark.parametrize("method", WITH_PAPER)
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3), (100, 5)])
def test_paper_is_the_same_at_any_size(method: str, side: int, channels: int) -> None:
    plan = prepare(settings(method, epochs=100), images(side, channels))
    paper = METHODS[method].presets["paper"]
    assert plan.settings.optimizer == paper.optimizer.updated(
        {"warmup": paper.epochs["optimizer.warmup"] / 100}
    )
    for view, wanted in zip(
        plan.settings.views or (), paper.views or METHODS[method].views, strict=True
    ):
        assert view.updated({"size": 1.0}) == wanted.updated({"size": 1.0})
    own = paper.method.plain()
    for path, epochs in paper.epochs.items():
        if path.startswith("method."):
            own[path.removeprefix("method.")] = epochs / 100
    assert plan.settings.method.plain() == own


@pytest.mark.parametrize("method", ["barlow_twins", "vicreg"])
def test_views_one_by_one_have_statistics_of_their_own(method: str) -> None:
    kind = METHODS[method]
    spec = choose_backbone("resnet20", Network(widths=(4, 8), depths=(1, 1)), 3, 8, "cpu")
    small = kind.example().updated({"one_by_one": True})
    torch.manual_seed(0)
    from selfsight.method import Batch
    from selfsight.networks.architectures import build_backbone

    apart = kind(small, build_backbone(spec, 0)).double()
    torch.manual_seed(0)
    together = kind(small.updated({"one_by_one": False}), build_backbone(spec, 0)).double()
    together.load_state_dict(apart.state_dict())
    views = [torch.randn(8, 3, 8, 8).double(), 3 * torch.randn(8, 3, 8, 8).double() + 1]
    batch = Batch(views, torch.zeros(8), torch.arange(8), torch.zeros(()))
    wanted = [apart.backbone(view) for view in views]
    found = apart(batch).representations
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert not torch.allclose(together(batch).representations[0], wanted[0])
    projected = each_view(apart.projector, found, one_by_one=True)
    torch.testing.assert_close(projected[0], apart.projector(found[0]))


@pytest.mark.parametrize("method", ["dino"])
def test_the_student_drops_paths_and_the_teacher_does_not(method: str) -> None:
    plan = prepare(
        settings(method, backbone="vit_tiny", epochs=100, **{"network.depths": (3,)}), images()
    )
    small = plan.settings.method.updated({"prototypes": 16, "hidden": 16, "bottleneck": 8})
    from dataclasses import replace

    made = build(replace(plan, settings=plan.settings.updated({"method": small})))

    def rates(module: nn.Module) -> list[float]:
        return [part.drop_path for part in module.modules() if isinstance(part, TransformerBlock)]

    assert rates(made.backbone) == pytest.approx([0.0, 0.05, 0.1])
    assert rates(made.teacher) == [0.0] * 3  # type: ignore[arg-type]


def test_dropped_paths_keep_the_mean_and_rest_in_evaluation() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(32, 1)
    x = torch.randn(1, 3, 32).expand(4000, -1, -1)
    with torch.no_grad():
        whole = block(x)[0]
        block.drop_path = 0.3
        assert torch.equal(block.eval()(x)[0], whole)
        branch = block.norm1(x)
        kept = block.train()._kept(block.attn(branch))
    share = float((kept.flatten(1).abs().sum(1) > 0).double().mean())
    assert share == pytest.approx(0.7, abs=0.03)
    torch.testing.assert_close(kept.mean(0), block.attn(branch)[0], atol=0.02, rtol=0.05)


@pytest.mark.parametrize("clip_by", ["parameter", "global"])
def test_frozen_prototypes_do_not_decay(tmp_path: Path, clip_by: str) -> None:
    """Four epochs of which the prototypes rest in the first half; the rest of the head moves."""
    small = {"method.prototypes": 16, "method.hidden": 16, "method.bottleneck": 8}
    ends = {}
    for frozen in (0.99, 0.5, 0.0):
        run = selfsight.pretrain(
            "dino",
            images(),
            out=str(tmp_path / f"{clip_by}-{frozen}"),
            epochs=2,
            batch_size=16,
            device="cpu",
            monitor_images=0,
            settings={
                **small,
                "backbone": "resnet20",
                "network.widths": (4, 8),
                "network.depths": (1, 1),
                "method.freeze_prototypes": frozen,
                "optimizer.weight_decay": 0.5,
                "optimizer.clip_by": clip_by,
                "optimizer.warmup": 0.0,
            },
        )
        state = torch.load(run.folder.checkpoints / "last.ckpt", weights_only=True)["state_dict"]
        ends[frozen] = state["method.head.prototypes.weight"], state["method.head.mlp.0.weight"]
    plan = prepare(
        settings("dino", preset="small", backbone="resnet20", epochs=2).updated(
            {**small, "network.widths": (4, 8), "network.depths": (1, 1)}
        ),
        images(),
    )
    start = build(plan).head.prototypes.weight  # type: ignore[union-attr]
    assert torch.equal(ends[0.99][0], start)
    assert not torch.equal(ends[0.5][0], start)
    assert not torch.equal(ends[0.5][0], ends[0.0][0])
    assert not torch.equal(ends[0.99][1], ends[0.0][1])


def test_the_recipe_of_a_first_training(tmp_path: Path) -> None:
    """recipes/simclr_cifar10.yaml, on images of 32 px: Adam, clipped, each epoch's weights."""
    words = ["simclr", "made", "--settings", str(ROOT / "recipes/simclr_cifar10.yaml")]
    given = parsed(VERBS["pretrain"], words)
    assert isinstance(given, Pretrain)
    optimizer = given.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adam", 3e-4, 1e-4)
    assert optimizer.max_grad_norm == 1.0 and given.keep_every == 1
    assert given.backbone == "resnet18"
    tiny = given.updated(
        {
            "epochs": 2,
            "batch_size": 16,
            "device": "cpu",
            "out": str(tmp_path / "run"),
            "network": {"widths": (4, 8, 8, 8), "depths": (1, 1, 1, 1)},
        }
    )
    from selfsight.training.pretrain import pretrain

    run = pretrain(tiny, images(32))
    kept = sorted(path.name for path in run.folder.checkpoints.glob("epoch-*"))
    assert kept == ["epoch-1.safetensors", "epoch-2.safetensors"]
    last, own = (
        load_file(path)
        for path in (run.folder.checkpoints / "epoch-2.safetensors", run.folder.backbone)
    )
    assert all(torch.equal(last[name], own[name]) for name in own)
    first = load_file(run.folder.checkpoints / "epoch-1.safetensors")
    assert any(not torch.equal(first[name], own[name]) for name in own)


def test_keep_every_other_epoch(tmp_path: Path) -> None:
    run = selfsight.pretrain(
        "vicreg",
        images(),
        out=str(tmp_path / "run"),
        epochs=5,
        batch_size=16,
        device="cpu",
        monitor_images=0,
        keep_every=2,
        settings={
            "method.projector": (8, 8),
            "backbone": "resnet20",
            "network.widths": (4, 8),
            "network.depths": (1, 1),
        },
    )
    names = sorted(path.name for path in run.folder.checkpoints.glob("epoch-*"))
    assert names == ["epoch-2.safetensors", "epoch-4.safetensors"]
