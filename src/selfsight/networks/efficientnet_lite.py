"""EfficientNet-Lite (arXiv:1905.11946 without squeeze-excite and swish), for any channels and size.

The published weights were trained in TensorFlow: strided convolutions pad the right and the bottom
first ("SAME"), and batch normalisation adds 1e-3 to the variance. Both are part of the function.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.networks.stages import mean_of

EPS = 1e-3
STEM, HEAD = 32, 1280


class LitePlan(NamedTuple):
    """Channels and blocks of the seven stages, and the side of the images it was trained on."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    size: int


PLANS: dict[str, LitePlan] = {
    "efficientnet_lite0": LitePlan((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 224),
    "efficientnet_lite1": LitePlan((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1), 240),
    "efficientnet_lite2": LitePlan((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1), 260),
}

_KERNELS = (3, 3, 5, 3, 5, 5, 3)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_EXPANSION = 6  # of every stage but the first
_ENDS = (2, 4, 6)  # last stages at 1/8, 1/16 and 1/32 of the side


class SameConv2d(nn.Conv2d):
    """A strided convolution that pads as TensorFlow's "SAME": what is odd goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        down, across = (
            _same_padding(side, kernel, stride)
            for side, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        if self._looks_only(x):
            # The same sums: where the padding is odd, a kernel whose first row or column is zero.
            weight = F.pad(self.weight, (across % 2, 0, down % 2, 0))
            padding = (down - down // 2, across - across // 2)
            return F.conv2d(x, weight, self.bias, self.stride, padding, 1, self.groups)
        x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)

    def _looks_only(self, x: Tensor) -> bool:
        """Whether padding the kernel is faster: depthwise, without gradients, by eager code."""
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return self.groups > 1 and not learns and not torch.compiler.is_compiling()


def _same_padding(side: int, kernel: int, stride: int) -> int:
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def _conv(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    kind = SameConv2d if stride > 1 else nn.Conv2d
    padding = 0 if stride > 1 else kernel // 2
    return kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=EPS)


def _relu6(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)


class SeparableBlock(nn.Module):
    """Depthwise convolution and a linear 1x1: the block of the first stage."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.conv_pw = _conv(inputs, outputs, 1, 1)
        self.bn2 = _norm(outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv_pw(_relu6(self.bn1(self.conv_dw(x)))))
        return out.add_(x) if self.shortcut else out


class InvertedBlock(nn.Module):
    """Expanding 1x1, depthwise, linear 1x1 convolution (MBConv, arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = _EXPANSION * inputs
        self.conv_pw = _conv(inputs, hidden, 1, 1)
        self.bn1 = _norm(hidden)
        self.conv_dw = _conv(hidden, hidden, kernel, stride, groups=hidden)
        self.bn2 = _norm(hidden)
        self.conv_pwl = _conv(hidden, outputs, 1, 1)
        self.bn3 = _norm(outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = _relu6(self.bn1(self.conv_pw(x)))
        out = _relu6(self.bn2(self.conv_dw(out)))
        last: Tensor = self.bn3(self.conv_pwl(out))
        return last.add_(x) if self.shortcut else last


class EfficientNetLite(nn.Module):
    """``(B, C, H, W)`` to ``(B, 1280)``: the mean over positions of the last convolution.

    Keys of the state are those of timm's ``tf_efficientnet_lite*``, without ``classifier``.

    Args:
        channels: C of the images.
        widths: channels of the seven stages.
        depths: blocks of the seven stages.

    Attributes:
        features: 1280.
    """

    features = HEAD

    def __init__(self, channels: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_stem = _conv(channels, STEM, 3, 2)
        self.bn1 = _norm(STEM)
        stages, inputs = [], STEM
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            block = SeparableBlock if i == 0 else InvertedBlock
            blocks = []
            for j in range(depth):
                blocks.append(block(inputs, width, _KERNELS[i], _STRIDES[i] if j == 0 else 1))
                inputs = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(inputs, HEAD, 1, 1)
        self.bn2 = _norm(HEAD)
        self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        return mean_of(self.maps(images)[-1])

    def maps(self, images: Tensor) -> list[Tensor]:
        """``(B, C_i, H_i, W_i)`` at 1/8, 1/16 and 1/32 of the side; the last is what is pooled."""
        x = _relu6(self.bn1(self.conv_stem(images)))
        maps = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in _ENDS[:2]:
                maps.append(x)
        return [*maps, _relu6(self.bn2(self.conv_head(x)))]

    def early(self) -> list[nn.Module]:
        """The layers down to 1/8 of the side."""
        return [self.conv_stem, self.bn1, *list(self.blocks)[: _ENDS[0] + 1]]

    def _initialise(self) -> None:
        if self.conv_stem.weight.is_meta:  # nothing to draw
            return
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                fan_out = part.weight[0, 0].numel() * part.out_channels // part.groups
                nn.init.normal_(part.weight, std=(2.0 / fan_out) ** 0.5)
