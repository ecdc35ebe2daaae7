"""Residual networks (He et al., arXiv:1512.03385): one class, widths and depths as data."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.console import counted
from selfsight.networks.stages import mean_of

Stem = Literal["cifar", "imagenet"]
BlockName = Literal["basic", "bottleneck"]
Shortcut = Literal["projection", "pad"]


class ResNetPlan(NamedTuple):
    """The data of one residual network: width, depth of each stage, block and shortcut."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    block: BlockName
    shortcut: Shortcut


STEM_PADDING: dict[Stem, int] = {"cifar": 1, "imagenet": 3}

PLANS: dict[str, ResNetPlan] = {
    "resnet18": ResNetPlan((64, 128, 256, 512), (2, 2, 2, 2), "basic", "projection"),
    "resnet34": ResNetPlan((64, 128, 256, 512), (3, 4, 6, 3), "basic", "projection"),
    "resnet50": ResNetPlan((64, 128, 256, 512), (3, 4, 6, 3), "bottleneck", "projection"),
    # arXiv:1512.03385 section 4.2: 6n + 2 layers with n = 3, shortcuts of option A.
    "resnet20": ResNetPlan((16, 32, 64), (3, 3, 3), "basic", "pad"),
    # arXiv:1902.08276: 1 + 2 * 7 convolutions. Here with batch normalisation and an average pool
    # where the jet papers' network has neither normalisation nor an average (a maximum).
    "resnet15": ResNetPlan((16, 32), (3, 4), "basic", "projection"),
    # For images of a dozen pixels: 0.2 M parameters, one halving.
    "resnet_tiny": ResNetPlan((32, 64), (2, 2), "basic", "pad"),
}


class Projection(nn.Conv2d):
    """The 1x1 convolution of a shortcut, with a stride.

    Below eight input channels it takes every ``stride``-th pixel first: there oneDNN's gradient of
    the weight of a strided 1x1 convolution writes outside its memory (torch 2.13, channels_last, a
    CPU without AVX-512).
    """

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride[0]
        if step > 1 and self.in_channels < 8:
            last = x.is_contiguous(memory_format=torch.channels_last)
            form = torch.channels_last if last else torch.contiguous_format
            return F.conv2d(x[:, :, ::step, ::step].contiguous(memory_format=form), self.weight)
        return super().forward(x)


class Block(nn.Module):
    """Two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 with four times as many outputs (bottleneck).

    The stride is in the first 3x3 convolution (for a bottleneck: "ResNet v1.5").
    """

    def __init__(
        self, inputs: int, width: int, stride: int, block: BlockName, shortcut: Shortcut
    ) -> None:
        super().__init__()
        basic = block == "basic"
        outputs = width if basic else 4 * width
        if basic:
            self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv3 = None if basic else nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = None if basic else nn.BatchNorm2d(outputs)
        self.stride, self.padding = stride, outputs - inputs
        changes = stride != 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(
                Projection(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if changes and shortcut == "projection"
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        # In place where backward does not need what was there: fewer passes over memory.
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.conv3 is not None and self.bn3 is not None:
            out = self.bn3(self.conv3(F.relu(out, inplace=True)))
        return F.relu(out.add_(self._shortcut(x)), inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(x)  # type: ignore[no-any-return]
        step, before = self.stride, self.padding // 2
        after = self.padding - before  # option A: new channels are zeros, half on each side
        if step == 1 and not self.padding:
            return x
        # A slice's gradient is contiguous, whatever was sliced: so in the order of memory.
        if x.is_contiguous(memory_format=torch.channels_last):
            x = x.permute(0, 2, 3, 1)[:, ::step, ::step]
            return (F.pad(x, (before, after)) if self.padding else x).permute(0, 3, 1, 2)
        x = x[:, :, ::step, ::step]
        return F.pad(x, (0, 0, 0, 0, before, after)) if self.padding else x


class ResNet(nn.Module):
    """``(B, C, H, W)`` to ``(B, F)``: the mean over positions of the last stage.

    Each stage after the first halves the sides. Any number of channels, any size from 1 px. All
    normalisations start with a scale of 1: blocks that start as their shortcut (arXiv:1706.02677,
    section 5.1) cost about a point of accuracy in short trainings. ReLUs and sums are in place: a
    hook on a normalisation sees what came of its output. For resnet18, 34 and 50 the
    keys of the state are torchvision's, without ``fc``.

    Args:
        channels: C of the images.
        plan: widths, depths, block and shortcut of the stages.
        stem: "cifar" 3x3, stride 1, no max-pool; "imagenet" 7x7, stride 2, then a 3x3 max-pool of
            stride 2.
        stem_padding: zeros around the image; None: 1 and 3, which keep its size.

    Attributes:
        features: F.
        stride: pixels from one place of the last feature map to the next.
    """

    def __init__(
        self, channels: int, plan: ResNetPlan, stem: Stem, stem_padding: int | None = None
    ) -> None:
        super().__init__()
        width = plan.widths[0]
        padding = STEM_PADDING[stem] if stem_padding is None else stem_padding
        if stem == "cifar":
            self.conv1 = nn.Conv2d(channels, width, 3, 1, padding, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(channels, width, 7, 2, padding, bias=False)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = [f"layer{i}" for i in range(1, len(plan.widths) + 1)]
        inputs = width
        for i, name in enumerate(self.stages):
            stage, inputs = _stage(inputs, plan, i)
            self.add_module(name, stage)
        self.features = inputs
        self.stride = 2 ** (len(self.stages) - 1) * (1 if stem == "cifar" else 4)
        self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        return mean_of(self.maps(images)[-1])

    def maps(self, images: Tensor) -> list[Tensor]:
        """``(B, C_i, H_i, W_i)`` after the last three stages; the last is what is pooled.

        With the ImageNet stem those are 1/8, 1/16 and 1/32 of the side.
        """
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        maps = []
        for name in self.stages:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps[-3:]

    def early(self) -> list[nn.Module]:
        """The layers up to the first of `maps`."""
        kept = max(1, len(self.stages) - 2)
        return [self.conv1, self.bn1, *(getattr(self, name) for name in self.stages[:kept])]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last feature map: each halving rounds up."""
        return -(-height // self.stride), -(-width // self.stride)

    def _initialise(self) -> None:
        if self.conv1.weight.is_meta:  # nothing to draw
            return
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _stage(inputs: int, plan: ResNetPlan, index: int) -> tuple[nn.Sequential, int]:
    width = plan.widths[index]
    outputs = width if plan.block == "basic" else 4 * width
    blocks = []
    for i in range(plan.depths[index]):
        stride = 2 if i == 0 and index > 0 else 1
        blocks.append(Block(inputs, width, stride, plan.block, plan.shortcut))
        inputs = outputs
    return nn.Sequential(*blocks), outputs


def check_plan(plan: ResNetPlan) -> None:
    """Raises ``ValueError`` where widths, depths and shortcut do not make a network."""
    widths, depths = plan.widths, plan.depths
    if len(widths) != len(depths):
        raise ValueError(
            f"--network.widths has {counted(len(widths), 'number')} and --network.depths "
            f"{len(depths)}; give both as many, one for each stage."
        )
    if plan.shortcut == "pad" and any(after < before for before, after in pairwise(widths)):
        raise ValueError(
            f"network.widths {widths} fall, and the parameter-free shortcut can only "
            "add channels; set network.shortcut to 'projection'."
        )
