"""The adapter: precision, compilation, one batch for views of one size, modules of one's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.resnet import Block
from selfsight.networks.specs import Network, choose_backbone

SMALL = {
    "resnet20": Network(widths=(8, 16), depths=(1, 1)),
    "vit_tiny": Network(widths=(32,), depths=(1,)),
}


def small(name: str = "resnet20", channels: int = 3, size: int = 16) -> Backbone:
    return build_backbone(choose_backbone(name, SMALL[name], channels, size), seed=0)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch.compiler.reset()


class Views(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, views: list[Tensor]) -> list[Tensor]:
        return each_view(self.backbone, views)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bf16", [False, True])
def test_compiled_in_one_graph_is_eager(name: str, bf16: bool) -> None:
    backbone = small(name)
    backbone.bf16 = backbone.channels_last = bf16
    other = copy.deepcopy(backbone)
    compiled = torch.compile(Views(other), fullgraph=True, backend="aot_eager")
    views = [torch.randn(4, 3, size, size) for size in (16, 8, 16)]  # as DINO's smaller crops
    eager, found = each_view(backbone, views), compiled(views)
    for a, b in zip(eager, found, strict=True):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)
    sum(a.square().sum() for a in eager).backward()
    sum(b.square().sum() for b in found).backward()
    for a, b in zip(backbone.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_bf16_is_inside_and_float32_outside(name: str) -> None:
    backbone, images = small(name).eval(), torch.randn(2, 3, 16, 16)
    exact = backbone(images)
    inside: list[torch.dtype] = []
    layer = next(part for part in backbone.modules() if isinstance(part, nn.Conv2d))
    layer.register_forward_hook(lambda *args: inside.append(args[2].dtype))
    backbone.bf16 = True
    rough = backbone(images)
    assert inside == [torch.bfloat16]
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, rough.bfloat16().float())
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)
    assert next(backbone.parameters()).dtype == torch.float32


def test_float64_stays_float64() -> None:
    backbone = small().double()
    assert backbone(torch.randn(2, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


def test_channels_last_changes_the_format_and_not_the_numbers() -> None:
    backbone, images = small().eval(), torch.randn(2, 3, 16, 16)
    exact = backbone(images)
    seen: list[bool] = []
    backbone.network.conv1.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    backbone.channels_last = True
    torch.testing.assert_close(backbone(images), exact, rtol=1e-5, atol=1e-5)
    assert seen == [True]


@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_gradients_keep_the_format(
    block: str, shortcut: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one does not, all that is before it takes several times as long.

    With SiLU in the place of ReLU: one activation in 50,000 that rounding carries over zero turns a
    gradient on or off, in one of twenty draws of the images.
    """
    monkeypatch.setattr(nn.functional, "relu", nn.functional.silu)
    network = Network(widths=(8, 16), depths=(1, 2), block=block, shortcut=shortcut)
    spec = choose_backbone("resnet20", network, 3, size)
    found: dict[bool, list[Tensor]] = {}
    images = torch.randn(4, 3, size, size)
    for last in (False, True):
        form = torch.channels_last if last else torch.contiguous_format
        backbone = build_backbone(spec, seed=0).to(memory_format=form)
        backbone.channels_last = last
        kept: list[bool] = []

        def watch(
            _: nn.Module, __: object, out: Tensor, kept: list[bool] = kept, form: object = form
        ) -> None:
            out.register_hook(lambda grad: kept.append(grad.is_contiguous(memory_format=form)))

        watched = [part for part in backbone.modules() if isinstance(part, Block)]
        for part in watched:
            part.register_forward_hook(watch)
        backbone(images).square().sum().backward()
        assert kept == [True] * len(watched)
        found[last] = [p.grad for p in backbone.parameters() if p.grad is not None]
    for a, b in zip(found[False], found[True], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)


def test_tokens_of_a_vit_and_of_no_other() -> None:
    backbone, images = small("vit_tiny"), torch.randn(2, 3, 16, 16)
    keep = torch.tensor([[3, 1], [0, 2]])
    assert torch.equal(backbone.tokens(images, keep), backbone.network.tokens(images, keep))
    backbone.bf16 = True
    assert backbone.tokens(images).dtype == torch.float32
    with pytest.raises(ValueError, match="no tokens; this method needs a ViT"):
        small().tokens(images)


def test_tokens_compile_in_one_graph() -> None:
    backbone, images = small("vit_tiny"), torch.randn(2, 3, 16, 16)
    keep = torch.tensor([[3, 1], [0, 2]])
    compiled = torch.compile(backbone.tokens, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images, keep), backbone.tokens(images, keep))


def test_each_view_sends_views_of_one_size_together_and_keeps_their_order() -> None:
    calls: list[tuple[int, ...]] = []

    def network(images: Tensor) -> Tensor:
        calls.append(tuple(images.shape))
        return images.mean((2, 3))

    sizes = (4, 2, 4, 6, 2)
    views = [torch.full((3, 1, size, size), float(i)) for i, size in enumerate(sizes)]
    out = each_view(network, views)
    assert calls == [(6, 1, 4, 4), (6, 1, 2, 2), (3, 1, 6, 6)]
    for i, found in enumerate(out):
        assert torch.equal(found, torch.full((3, 1), float(i)))
    assert each_view(network, []) == []


def test_each_view_shares_batch_statistics_between_views() -> None:
    norm = nn.BatchNorm1d(2)
    views = [torch.randn(8, 2), torch.randn(8, 2) + 3]
    out = each_view(norm, views)
    torch.testing.assert_close(torch.cat(out), nn.BatchNorm1d(2)(torch.cat(views)))
    assert not torch.allclose(out[0], nn.BatchNorm1d(2)(views[0]))


def test_a_module_of_ones_own() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 5, 7), nn.BatchNorm1d(7), nn.Dropout())
    module[3].eval()
    backbone = Backbone.of(module, channels=2, image_size=5)
    assert backbone.features == 7
    assert backbone.spec.name == "module:Sequential"
    assert [part.training for part in module] == [True, True, True, False]
    assert module[2].num_batches_tracked == 0
    assert backbone(torch.randn(3, 2, 5, 5)).shape == (3, 7)
    with pytest.raises(ValueError, match=r"wrap it again\s+with Backbone.of"):
        build_backbone(backbone.spec)


def test_modules_that_are_no_backbone_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must give a tensor \(B, F\).*\(2, 4, 5, 5\)"):
        Backbone.of(nn.Conv2d(2, 4, 3, padding=1), 2, 5)
    with pytest.raises(ValueError, match="does not take images"):
        Backbone.of(nn.Conv2d(3, 4, 3), 2, 5)


@pytest.mark.parametrize(
    ("name", "side", "stride"),
    [("resnet_tiny", 8, 2), ("resnet20", 33, 4), ("resnet18", 97, 32), ("vit_tiny", 30, 4)],
)
def test_the_grid_is_that_of_what_the_network_makes(name: str, side: int, stride: int) -> None:
    backbone = build_backbone(choose_backbone(name, Network(), 3, side), seed=0)
    assert backbone.stride == stride
    for height, width in ((side, side), (side + 1, side + 7)):
        rows, columns = backbone.grid(height, width)
        image = torch.zeros(1, 3, height, width)
        if backbone.has_tokens:
            assert backbone.tokens(image).shape[1] == 1 + rows * columns
        else:
            last: list[torch.Size] = []
            stage = getattr(backbone.network, backbone.network.stages[-1])  # type: ignore[index]
            hook = stage.register_forward_hook(lambda *given: last.append(given[2].shape))  # noqa: B023
            backbone.eval()(image)
            hook.remove()
            assert tuple(last[0][2:]) == (rows, columns)


def test_a_module_of_ones_own_says_its_grid_itself() -> None:
    backbone = Backbone.of(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), 3, 4)
    assert not backbone.has_tokens
    with pytest.raises(ValueError, match=r"grid\(height, width\)"):
        backbone.grid(4, 4)
    with pytest.raises(ValueError, match="an attribute stride"):
        _ = backbone.stride
