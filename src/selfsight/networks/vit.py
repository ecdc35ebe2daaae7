"""Vision transformers (arXiv:2010.11929) for any number of channels and any size."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.networks.stages import EARLY, LAST_BLOCKS

Positions = Literal["learned", "fixed"]


class ViTPlan(NamedTuple):
    """The data of one vision transformer.

    Attributes:
        width: F of the tokens.
        depth: number of blocks.
        heads: of the attention; None: of 64 features each.
        layer_scale: a learned factor on each branch (arXiv:2103.17239), as in DINOv2.
        registers: tokens that belong to no patch (arXiv:2309.16588).
        class_token: whether there is one; without it the mean of the patch tokens represents the
            image, as in I-JEPA.
    """

    width: int
    depth: int
    heads: int | None = None
    layer_scale: bool = False
    registers: int = 0
    class_token: bool = True


PLANS: dict[str, ViTPlan] = {
    "vit_tiny": ViTPlan(192, 12),
    "vit_small": ViTPlan(384, 12),
    "vit_base": ViTPlan(768, 12),
    "vit_large": ViTPlan(1024, 24),
    "vit_huge": ViTPlan(1280, 32, heads=16),
}


UNFUSED = 257
"""Tokens of 16 x 16 patches: a layer then keeps 130 kB more for each image and head."""


def patch_size_for(image_size: int) -> int:
    """The patch side, pixels: 2 up to 12 px, 4 up to 40 px, 8 up to 128 px, 16 above."""
    for largest, patch in ((12, 2), (40, 4), (128, 8)):
        if image_size <= largest:
            return patch
    return 16


def heads_for(width: int) -> int:
    """Heads of 64, or of 32 where 64 does not divide the width.

    Raises:
        ValueError: 32 does not divide the width.
    """
    for size in (64, 32):
        if width % size == 0:
            return width // size
    raise ValueError(f"network.widths ({width},): the width of a ViT must be a multiple of 32.")


class PatchEmbedding(nn.Module):
    """``(B, C, H, W)`` to ``(B, rows * columns, F)``."""

    def __init__(self, channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k' / sqrt(D)) v`` (arXiv:1706.03762, eq. 1) for ``(B, heads, T, D)``.

    torch's fused form keeps no ``(T, T)`` matrix. In bf16 on a CPU its backward takes six times as
    long as that of two products and a softmax, one after the other; a training takes those there,
    up to `UNFUSED` tokens. Logits and weights are then rounded to bf16, as in any attention in
    parts.
    """
    trained = torch.is_grad_enabled() and q.requires_grad
    slow = trained and q.device.type == "cpu" and q.dtype == torch.bfloat16
    if not slow or q.shape[-2] > UNFUSED:
        return F.scaled_dot_product_attention(q, k, v)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    mixed: Tensor = logits.softmax(-1) @ v
    return mixed


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))  # type: ignore[no-any-return]


class Perceptron(nn.Module):
    """The two-layer network of each block, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class LayerScale(nn.Module):
    """A learned factor for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class TransformerBlock(nn.Module):
    """Attention and perceptron, each after a layer normalisation and around a shortcut.

    Attributes:
        drop_path: the probability, in training, that an image takes the shortcut alone.
    """

    def __init__(self, width: int, heads: int, layer_scale: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1: nn.Module = LayerScale(width) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width)
        self.ls2: nn.Module = LayerScale(width) if layer_scale else nn.Identity()
        self.drop_path = 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._kept(self.ls1(self.attn(self.norm1(x))))
        return x + self._kept(self.ls2(self.mlp(self.norm2(x))))

    def _kept(self, branch: Tensor) -> Tensor:
        """Stochastic depth (arXiv:1603.09382): of the images that keep a branch it is scaled up."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1.0 - self.drop_path
        kept = torch.rand(len(branch), 1, 1, device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)


class ViT(nn.Module):
    """``(B, C, H, W)`` to the class token ``(B, F)`` after the last normalisation.

    Without a class token it gives the mean of the patch tokens.

    Works for any H and W: positions are interpolated (bicubic, antialiased), and images whose
    sides the patch does not divide are padded with zeros at the right and the bottom. Keys of the
    state are timm's, without ``head``.

    Args:
        channels: C of the images.
        plan: width, depth and tokens.
        patch_size: side of a patch, pixels.
        image_size: side of the images for which the positions are made, pixels.
        positions: "learned", or "fixed" sines and cosines (as in MoCo v3 and MAE).

    Attributes:
        features: F.
        patch_size: side of a patch, pixels.
        stride: the same, as `Backbone.stride` asks for it.
    """

    pos_embed: Tensor

    def __init__(
        self, channels: int, plan: ViTPlan, patch_size: int, image_size: int, positions: Positions
    ) -> None:
        super().__init__()
        self.features, self.patch_size, self.stride = plan.width, patch_size, patch_size
        self.side = -(-image_size // patch_size)
        heads = plan.heads or heads_for(plan.width)
        self.patch_embed = PatchEmbedding(channels, plan.width, patch_size)
        self.class_token, self.registers = plan.class_token, plan.registers
        if plan.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, plan.width))
        if positions == "learned":
            count = plan.class_token + self.side**2
            self.pos_embed = nn.Parameter(torch.zeros(1, count, plan.width))
        else:
            table = sines_and_cosines(self.side, plan.width)
            self.register_buffer("pos_embed", table[:, 1 - plan.class_token :])
        if plan.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, plan.registers, plan.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(plan.width, heads, plan.layer_scale) for _ in range(plan.depth)
        )
        self.norm = nn.LayerNorm(plan.width, eps=1e-6)
        self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images)[:, 0]

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Class token and patch tokens ``(B, 1 + K, F)`` after the last normalisation.

        Without a class token the mean of the patch tokens is in its place.

        Args:
            images: ``(B, C, H, W)``.
            keep: ``(B, K)`` int64, the patches that enter the blocks, counted along rows; None:
                all of them.
        """
        x = self._embedded(images, keep)
        for block in self.blocks:
            x = block(x)
        return self._finished(x)

    def poolings(self, images: Tensor) -> list[Tensor]:
        """The representation, the mean of the patch tokens, and the class tokens of earlier blocks.

        Those are of the last blocks, the last first; without a class token means of patch tokens.

        Args:
            images: ``(B, C, H, W)``.

        Returns:
            ``(B, F)`` float32 each.
        """
        x, last = self._embedded(images, None), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i >= len(self.blocks) - LAST_BLOCKS:
                last.append(self._finished(x).float())
        means = [last[-1][:, 1:].mean(1)] if self.class_token else []
        return [last[-1][:, 0], *means, *(tokens[:, 0] for tokens in last[-2::-1])]

    def early(self) -> list[nn.Module | nn.Parameter]:
        """The embeddings and the first third of the blocks."""
        loose = [parameter for _, parameter in self.named_parameters(recurse=False)]
        return [*loose, self.patch_embed, *self.blocks[: max(len(self.blocks) // EARLY, 1)]]

    def _embedded(self, images: Tensor, keep: Tensor | None) -> Tensor:
        """What enters the first block: class token, registers, patches."""
        rows, columns = self.grid(images.shape[2], images.shape[3])
        below = rows * self.patch_size - images.shape[2]
        right = columns * self.patch_size - images.shape[3]
        if below or right:
            images = F.pad(images, (0, right, 0, below))
        x = self.patch_embed(images) + self._positions(rows, columns)
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        first = []
        if self.class_token:
            first.append((self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1))
        if self.registers:
            first.append(self.register_tokens.expand(x.shape[0], -1, -1))
        return torch.cat([*(part.to(x.dtype) for part in first), x], 1)

    def _finished(self, x: Tensor) -> Tensor:
        """Class token (or mean) and patch tokens of what a block gave."""
        x = self.norm(x)
        patches = x[:, self.class_token + self.registers :]
        if not self.class_token:
            return torch.cat([patches.mean(1, keepdim=True), patches], 1)
        return torch.cat([x[:, :1], patches], 1) if self.registers else x

    def drop_paths(self, rate: float) -> None:
        """Stochastic depth from the next step on: 0 in the first block, ``rate`` in the last."""
        for place, block in enumerate(self.blocks):
            assert isinstance(block, TransformerBlock)
            block.drop_path = rate * place / max(len(self.blocks) - 1, 1)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image."""
        return -(-height // self.patch_size), -(-width // self.patch_size)

    def _positions(self, rows: int, columns: int) -> Tensor:
        table = self.pos_embed[:, self.class_token :]
        if rows == columns == self.side:
            return table
        # Two small products rather than F.interpolate on the table: its gradient on a GPU would
        # not be deterministic.
        with torch.autocast(table.device.type, enabled=False):
            return resized_positions(table, rows, columns)

    def _initialise(self) -> None:
        if (
            self.patch_embed.proj.weight.is_meta
        ):  # there is nothing to draw, and drawing it would be slow
            return
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
        # As the equivalent linear layer on C * p * p values.
        kernel = self.patch_embed.proj.weight
        nn.init.trunc_normal_(kernel, std=kernel[0].numel() ** -0.5)
        assert self.patch_embed.proj.bias is not None
        nn.init.zeros_(self.patch_embed.proj.bias)
        for token in ("cls_token", "register_tokens"):
            if hasattr(self, token):
                nn.init.trunc_normal_(getattr(self, token), std=0.02)
        if isinstance(self.pos_embed, nn.Parameter):
            nn.init.trunc_normal_(self.pos_embed, std=0.02)


def resized_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Positions ``(1, side * side, F)`` for another grid, bicubic and antialiased.

    Returns:
        ``(1, rows * columns, F)``.
    """
    side = round(table.shape[1] ** 0.5)
    table = table.view(side, side, -1)
    down, across = _resampling(table, rows), _resampling(table, columns)
    resized = torch.einsum("rs,stf,ct->rcf", down, table, across)
    return resized.reshape(1, rows * columns, -1)


def _resampling(table: Tensor, size: int) -> Tensor:
    """``(size, side)``: the matrix of the antialiased bicubic resampling from side to size."""
    side = table.shape[0]
    unit = torch.eye(side, dtype=table.dtype, device=table.device)[None, None]
    resized = F.interpolate(unit, (size, side), mode="bicubic", antialias=True)
    return resized[0, 0]


def sines_and_cosines(side: int, width: int) -> Tensor:
    """Fixed positions ``(1, 1 + side * side, width)``; zeros for the class token.

    A quarter of the width each for the sine and cosine of the column and of the row, with
    frequencies from 1 to 1/10000 (arXiv:1706.03762, section 3.5; in two dimensions as in MAE).
    """
    assert width % 4 == 0
    place = torch.arange(side, dtype=torch.float64)
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = place[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], 1)
    table = torch.cat([wave.repeat(side, 1), wave.repeat_interleave(side, 0)], 1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table])[None].float()
