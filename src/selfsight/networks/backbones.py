"""Backbones: the adapter that every method meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from selfsight.networks import efficientnet_lite, resnet, stages, vit
from selfsight.networks.pooling import StagePooling
from selfsight.networks.specs import BackboneSpec
from selfsight.plugins import described


class Backbone(nn.Module):
    """The network that is kept: ``(B, C, H, W)`` images to ``(B, F)`` representations.

    Attributes:
        outputs: width of the network's own output.
        spec: what it was built from.
        bf16: the network alone runs under autocast to bfloat16; what comes out is float32.
        channels_last: images are brought into that memory format first.
        held: batch-norm statistics stay what they are: the network is in eval mode in training,
            too.
        trained_in: folder of the run whose weights these are, where it was loaded from one.
        pooling: how stages become the representation; None, as in training: the network's own
            output is the representation.
        network: the module inside; its state has the keys of torchvision or timm.
    """

    def __init__(self, network: nn.Module, features: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.network = network
        self.outputs = features
        self.spec = spec
        self.bf16 = False
        self.channels_last = False
        self.held = False
        self.trained_in: str | None = None
        self.pooling: StagePooling | None = None
        self._outline: stages.Outline | None = None

    @classmethod
    def of(cls, module: nn.Module, channels: int, image_size: int) -> Backbone:
        """A backbone around any module that gives ``(B, F)``; F is read off a forward pass.

        `load_backbone` needs the module again: ``load_backbone(path, module=...)``.

        Raises:
            ValueError: the module does not take such images, or does not give ``(B, F)``.
        """
        name = f"module:{type(module).__name__}"
        spec = BackboneSpec(name=name, channels=channels, image_size=image_size)
        return cls(module, features_of(module, spec), spec)

    @property
    def features(self) -> int:
        """F."""
        return self.outputs if self.pooling is None else self.pooling.features

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, F)``, float32 (float64 for weights and images in float64)."""
        if self.pooling is None:
            return self.output(images)
        if self.pooling.kind == "mean":
            return self.pooling(self.output(images))  # type: ignore[no-any-return]
        return self.pooling(torch.cat(self.poolings(images), 1))  # type: ignore[no-any-return]

    def output(self, images: Tensor) -> Tensor:
        """The network's own output, before any `pooling`."""
        return self._run(self.network, images)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.held:
            self.network.eval()
        return self

    def poolings(self, images: Tensor) -> list[Tensor]:
        """The output of the network, then what else the stages give: ``(B, F_i)`` float32 each.

        Maps at 1/8, 1/16 and 1/32 of the side give their mean and maximum over positions; a ViT
        the mean of its patch tokens and the class tokens of its last blocks. A network of one's
        own that shows neither maps nor tokens gives its output alone.
        """
        network: Any = self.network
        if hasattr(network, "maps"):
            return stages.pooled_maps(self._run(network.maps, images))
        if hasattr(network, "poolings"):
            return [_at_least_float32(pooled) for pooled in self._run(network.poolings, images)]
        where = self.outline(images)
        return stages.outlined_poolings(self.network, where, images, self.output)

    def outline(self, images: Tensor | None = None) -> stages.Outline:
        """Where the stages of a network are that is not one of ours."""
        if self._outline is None:
            if images is None:
                side = self.spec.image_size
                images = next(self.parameters()).new_zeros(1, self.spec.channels, side, side)
            with _in_eval(self.network):
                self._outline = stages.outline(self.network, images[:1])
        return self._outline

    def early(self) -> list[nn.Parameter]:
        """The parameters down to 1/8 of the side; of a ViT its first third."""
        network: Any = self.network
        if hasattr(network, "early"):
            parts = network.early()
        else:
            parts = [network.get_submodule(name) for name in self.outline().early]
            if self.outline().tokens:
                parts += network.parameters(recurse=False)
        return [
            parameter
            for part in parts
            for parameter in ([part] if isinstance(part, nn.Parameter) else part.parameters())
        ]

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Class token and patch tokens ``(B, 1 + K, F)``.

        Args:
            images: ``(B, C, H, W)``.
            keep: ``(B, K)`` int64, the patches that the network sees, counted along rows; None:
                all of them. The others are dropped before the first block.

        Raises:
            ValueError: the network has no tokens.
        """
        if not self.has_tokens:
            raise ValueError(
                f"backbone {self.spec.name!r} has no tokens; this method needs a ViT such as "
                "'vit_tiny'."
            )
        tokens: Callable[..., Tensor] = getattr(self.network, "tokens")  # noqa: B009
        return self._run(tokens, images, keep)  # type: ignore[no-any-return]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of what the network makes of an image of these sides, in pixels.

        For a ViT those of the patches, in the order of `tokens`; for a ResNet those of the last
        feature map. A module of one's own says it by a method ``grid`` of the same form.

        Raises:
            ValueError: the module has no such method.
        """
        grid = getattr(self.network, "grid", None)
        if grid is None:
            raise ValueError(
                f"backbone {self.spec.name!r} does not say its grid; give its module a method "
                "grid(height, width)."
            )
        rows, columns = grid(height, width)
        return int(rows), int(columns)

    @property
    def stride(self) -> int:
        """Pixels from one cell of `grid` to the next: the side of a patch, for a ViT.

        Raises:
            ValueError: the module of one's own has no attribute ``stride``.
        """
        stride = getattr(self.network, "stride", None)
        if stride is None:
            raise ValueError(
                f"backbone {self.spec.name!r} does not say its stride; give its module "
                "an attribute stride, in pixels."
            )
        return int(stride)

    def drop_paths(self, rate: float) -> None:
        """Drops residual branches of images at random in training (stochastic depth).

        For networks with a method ``drop_paths(rate)``: our ViTs. Others stay as they are.

        Args:
            rate: probability in the last block; it rises linearly from 0 in the first.
        """
        drop_paths = getattr(self.network, "drop_paths", None)
        if drop_paths is not None:
            drop_paths(rate)

    @property
    def has_tokens(self) -> bool:
        """Whether `tokens` works."""
        return hasattr(self.network, "tokens")

    def _run(self, network: Callable[..., Any], images: Tensor, *rest: Tensor | None) -> Any:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.bf16:
            return network(images, *rest)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            out = network(images, *rest)
        return _at_least_float32(out) if isinstance(out, Tensor) else out


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def each_view(
    network: Callable[[Tensor], Tensor], views: Sequence[Tensor], *, one_by_one: bool = False
) -> list[Tensor]:
    """``network`` on each view, views of one shape as one batch, in the order of ``views``.

    Batch statistics are then over all views of one shape, as in SimCLR's and DINO's own code.

    Args:
        network: ``(B, ...)`` to ``(B, ...)``.
        views: each ``(B, ...)`` with the same B.
        one_by_one: each view as a batch of its own, with its own batch statistics, as in the code
            of Barlow Twins' and VICReg's authors.
    """
    if one_by_one:
        return [network(view) for view in views]
    out: dict[int, Tensor] = {}
    for shape in dict.fromkeys(view.shape for view in views):
        group = [i for i, view in enumerate(views) if view.shape == shape]
        batch = torch.cat([views[i] for i in group]) if len(group) > 1 else views[group[0]]
        together = network(batch)
        out.update(zip(group, together.chunk(len(group)), strict=True))
    return [out[i] for i in range(len(views))]


@contextmanager
def measuring(backbone: Backbone, device: torch.device | str) -> Iterator[None]:
    """The backbone on the device in evaluation mode and float32, without gradients."""
    training, bf16 = backbone.training, backbone.bf16
    backbone.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.bf16 = False
    try:
        with torch.no_grad():
            yield
    finally:
        backbone.bf16 = bf16
        backbone.train(training)


def features_of(network: nn.Module, spec: BackboneSpec) -> int:
    """F: known of our own networks, else read off a forward pass of two black images."""
    if isinstance(network, resnet.ResNet | vit.ViT | efficientnet_lite.EfficientNetLite):
        return network.features
    weight = next(network.parameters(), torch.zeros(()))
    images = weight.new_zeros(2, spec.channels, spec.image_size, spec.image_size)
    try:
        with torch.no_grad(), _in_eval(network):
            out = network(images)
    except Exception as error:
        raise ValueError(
            f"backbone {spec.name!r} does not take images {tuple(images.shape)}: "
            f"{described(error)}."
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 2:
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"backbone {spec.name!r} must give a tensor (B, F) for images (B, C, H, W); for two "
            f"images it gave {given}."
        )
    return int(out.shape[1])


@contextmanager
def _in_eval(network: nn.Module) -> Iterator[None]:
    """Every part in eval mode, and afterwards in the mode that it was in."""
    was = {part: part.training for part in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for part, training in was.items():
            part.training = training
