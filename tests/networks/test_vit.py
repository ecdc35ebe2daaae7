"""Vision transformers: sizes, tokens, positions and keys."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from selfsight.networks.vit import (
    PLANS,
    UNFUSED,
    ViT,
    ViTPlan,
    attention,
    heads_for,
    patch_size_for,
    sines_and_cosines,
)


def small(
    channels: int = 3, patch_size: int = 4, size: int = 16, positions: str = "learned"
) -> ViT:
    torch.manual_seed(0)
    return ViT(channels, ViTPlan(32, 2), patch_size, size, positions)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("positions", ["learned", "fixed"])
@pytest.mark.parametrize("size", [(16, 16), (8, 8), (24, 12), (14, 19)])
def test_any_channels_and_any_size(channels: int, positions: str, size: tuple[int, int]) -> None:
    network = small(channels, positions=positions)
    images = torch.randn(2, channels, *size)
    rows, columns = network.grid(*size)
    assert network(images).shape == (2, 32)
    assert network.tokens(images).shape == (2, 1 + rows * columns, 32)


def test_the_representation_is_the_class_token() -> None:
    network, images = small(), torch.randn(2, 3, 16, 16)
    assert torch.equal(network(images), network.tokens(images)[:, 0])


def test_dropped_patches_never_reach_the_blocks() -> None:
    network = small()
    images = torch.randn(2, 3, 16, 16)
    keep = torch.tensor([[5, 0, 9], [15, 2, 3]])
    seen = []
    hook = network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    tokens = network.tokens(images, keep)
    network.tokens(images)
    hook.remove()
    part, whole = seen
    assert tokens.shape == (2, 4, 32)
    for i in range(2):
        assert torch.equal(part[i, 1:], whole[i, 1 + keep[i]])
        assert torch.equal(part[i, 0], whole[i, 0])
    # What lies in the other patches changes nothing.
    changed = images.clone()
    changed[0, :, 0:4, 4:8] += 1.0  # patch 1
    torch.testing.assert_close(network.tokens(changed, keep), tokens, rtol=0, atol=0)
    assert not torch.allclose(network.tokens(changed)[0], network.tokens(images)[0])


def test_keeping_all_patches_is_keeping_none_back() -> None:
    network, images = small(), torch.randn(2, 3, 16, 16)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(network.tokens(images, everything), network.tokens(images))


def test_patches_count_along_rows() -> None:
    network = small()
    images = torch.zeros(1, 3, 8, 16)
    images[:, :, 4:, 8:12] = 1.0  # row 1, column 2 of a 2 x 4 grid
    difference = network.patch_embed(images) - network.patch_embed(torch.zeros(1, 3, 8, 16))
    assert difference.abs().sum(2)[0].nonzero().tolist() == [[6]]


def test_interpolated_positions_are_those_of_interpolate() -> None:
    network = small(size=16)
    torch.nn.init.normal_(network.pos_embed)
    table = network.pos_embed[:, 1:].view(1, 4, 4, 32).permute(0, 3, 1, 2)
    for rows, columns in ((2, 3), (7, 5)):
        expected = torch.nn.functional.interpolate(
            table, (rows, columns), mode="bicubic", antialias=True
        )
        found = network._positions(rows, columns).view(rows, columns, 32).permute(2, 0, 1)
        torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(network._positions(4, 4), network.pos_embed[:, 1:])


def test_positions_stay_in_float32_under_autocast() -> None:
    network = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network._positions(2, 2)
    assert torch.equal(found, network._positions(2, 2))


def test_fixed_positions_do_not_learn_and_learned_ones_do() -> None:
    assert "pos_embed" not in dict(small(positions="fixed").named_parameters())
    network = small()
    # The last normalisation makes the plain sum a constant.
    output = network(torch.randn(2, 3, 8, 8))
    (output * torch.randn_like(output)).sum().backward()
    assert network.pos_embed.grad is not None
    assert network.pos_embed.grad.abs().sum() > 0


def test_sines_and_cosines() -> None:
    table = sines_and_cosines(3, 8)
    assert table.shape == (1, 10, 8)
    assert not table[0, 0].any()
    # Row 1, column 2: the column in the first half, the row in the second; frequencies 1, 1/100.
    expected = torch.tensor([2.0, 0.02, 2.0, 0.02, 1.0, 0.01, 1.0, 0.01])
    wave = torch.tensor([True, True, False, False] * 2)
    torch.testing.assert_close(table[0, 1 + 5], torch.where(wave, expected.sin(), expected.cos()))


def test_keys_are_timms() -> None:
    block = [
        f"{layer}.{part}"
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for part in ("weight", "bias")
    ]
    expected = {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    expected |= {f"blocks.{i}.{name}" for i in range(2) for name in block}
    expected |= {"norm.weight", "norm.bias"}
    assert set(small().state_dict()) == expected
    assert set(small(positions="fixed").state_dict()) == expected


def test_sizes_of_tiny_and_small_are_timms() -> None:
    for name, expected in (("vit_tiny", 5_717_416 - 193_000), ("vit_small", 22_050_664 - 385_000)):
        with torch.device("meta"):
            network = ViT(3, PLANS[name], 16, 224, "learned")
        assert sum(p.numel() for p in network.parameters()) == expected


def test_patches_and_heads_follow_from_sizes() -> None:
    assert [patch_size_for(size) for size in (8, 12, 28, 40, 41, 128, 129, 224)] == [
        *(2, 2, 4, 4),
        *(8, 8, 16, 16),
    ]
    assert [heads_for(width) for width in (192, 384, 96, 32)] == [3, 6, 3, 1]
    with pytest.raises(ValueError, match="multiple of 32"):
        heads_for(100)


@pytest.mark.parametrize("tokens", [1, 17, UNFUSED])
def test_attention_in_bf16_is_the_fused_one(tokens: int) -> None:
    """Both as near to float64 as eight bits are; here the logits have no more, either."""
    torch.manual_seed(0)
    start = torch.randn(3, 2, 2, tokens, 16).bfloat16()
    found = []
    for run, dtype in (
        (F.scaled_dot_product_attention, torch.float64),
        (F.scaled_dot_product_attention, torch.bfloat16),
        (attention, torch.bfloat16),
    ):
        inputs = start.to(dtype).requires_grad_()
        out = run(*inputs.unbind(0))
        assert out.dtype == dtype
        (grad,) = torch.autograd.grad(out.double().square().sum(), inputs)
        found.append((out.double(), grad.double()))
    exact, fused, ours = found
    for truth, theirs, mine in zip(exact, fused, ours, strict=True):
        assert (theirs - truth).norm() <= 2**-8 * truth.norm()
        assert (mine - truth).norm() <= 2**-7 * truth.norm()


@pytest.mark.parametrize(
    ("dtype", "tokens", "trained", "fused"),
    [
        (torch.bfloat16, UNFUSED, True, False),
        (torch.bfloat16, UNFUSED + 1, True, True),
        (torch.bfloat16, UNFUSED, False, True),
        (torch.float32, UNFUSED, True, True),
    ],
)
def test_which_attention_is_taken(
    dtype: torch.dtype, tokens: int, trained: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    whole = F.scaled_dot_product_attention

    def spy(*args: torch.Tensor) -> torch.Tensor:
        called.append(args)
        return whole(*args)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    inputs = torch.randn(3, 1, 1, tokens, 8, dtype=dtype, requires_grad=True)
    with torch.set_grad_enabled(trained):
        attention(*inputs.unbind(0))
    assert bool(called) == fused
