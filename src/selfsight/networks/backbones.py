"""Backbones: the adapter that every method meets, how it is built, and its weights on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from selfsight.networks import efficientnet_lite, resnet, stages, vit
from selfsight.networks.pooling import StagePooling
from selfsight.networks.specs import (
    NAMES,
    BackboneSpec,
    Network,
    choose_backbone,
    known_backbone,
    library_of,
    resolved,
)
from selfsight.networks.weights import put_weights, read_weights, write_weights
from selfsight.plugins import OWN, described, run_file
from selfsight.settings import sentence

__all__ = [
    "NAMES",
    "Backbone",
    "BackboneSpec",
    "Network",
    "build_backbone",
    "choose_backbone",
    "each_view",
    "known_backbone",
    "load_backbone",
    "measuring",
    "save_backbone",
]


POOLING = "selfsight:pooling."
"""How the keys of the pooling begin in a file, where no network has any."""


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
        return cls(module, _features(module, spec), spec)

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


def build_backbone(spec: BackboneSpec, seed: int | None = None) -> Backbone:
    """The network of a spec with fresh weights, on the CPU.

    Args:
        spec: from `choose_backbone`.
        seed: the weights are a function of it, and torch's global generator stays as it was;
            None: they are a function of the state of torch's global generator, which moves on.

    Raises:
        ValueError: the spec makes no network (a file of one's own that is gone or fails).
    """
    if seed is None:
        network = _network(spec)
        return Backbone(network, _features(network, spec), spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_backbone(spec)


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


def save_backbone(path: str | Path, backbone: Backbone, extra: dict[str, Any]) -> None:
    """Writes weights, spec and pooling as one safetensors file, whole or not at all.

    Args:
        path: the file; its keys are those of ``backbone.network``, and `POOLING` with those of
            ``backbone.pooling``.
        backbone: on any device.
        extra: whatever else belongs to it, in values that JSON holds.
    """
    header: dict[str, Any] = {"spec": backbone.spec.plain(), "features": backbone.outputs}
    header["extra"] = extra
    beside = {}
    if (pooling := backbone.pooling) is not None:
        header["pooling"] = {"kind": pooling.kind, "widths": list(pooling.widths)}
        beside = {POOLING + name: value for name, value in pooling.state_dict().items()}
    write_weights(path, backbone.network, header, beside)


def load_backbone(
    path: str | Path, *, allow_code: bool = False, module: nn.Module | None = None
) -> tuple[Backbone, dict[str, Any]]:
    """The backbone in a file of `save_backbone`, in train mode on the CPU, and its extra values.

    Reading a file runs no code that comes with it, unless ``allow_code``.

    Args:
        path: the file.
        allow_code: run the ``file.py:build`` that the file names.
        module: the network, for a backbone made by `Backbone.of`; its weights are replaced.

    Raises:
        ValueError: no such file, a damaged one, weights that do not fit the network, or a network
            that only code outside selfsight can make, and no leave to run it.
    """
    tensors, header = read_weights(path)
    try:
        spec = BackboneSpec(**header["spec"])
        features, extra = int(header["features"]), dict(header["extra"])
    except ValidationError as error:
        raise ValueError(f"{path}: its header is not valid: {sentence(error)}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its header is not valid ({error!r}).") from None
    network = _without_weights(path, spec, allow_code) if module is None else module
    put_weights(path, network, without_pooling(tensors))
    if _features(network, spec) != features:
        raise ValueError(f"{path}: its header says {features} features; its network differs.")
    backbone = Backbone(network, features, spec)
    if "pooling" in header:
        backbone.pooling = _read_pooling(path, header["pooling"], tensors)
    return backbone, extra


def without_pooling(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the network alone, of the tensors of a file of `save_backbone`."""
    return {name: value for name, value in tensors.items() if not name.startswith(POOLING)}


def _read_pooling(path: str | Path, about: Any, tensors: dict[str, Tensor]) -> StagePooling:
    try:
        pooling = StagePooling(about["kind"], [int(width) for width in about["widths"]])
        own = {n.removeprefix(POOLING): v for n, v in tensors.items() if n.startswith(POOLING)}
        pooling.load_state_dict(own)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its pooling is not valid ({error}).") from None
    return pooling


def _network(spec: BackboneSpec) -> nn.Module:
    if spec.name.startswith("module:"):
        raise ValueError(
            f"backbone {spec.name!r} wraps a module that selfsight cannot make; wrap it again "
            "with Backbone.of, or give it to load_backbone(path, module=...)."
        )
    if library_of(spec.name) is not None:
        from selfsight.networks.published.libraries import library_network

        return library_network(spec)
    if spec.name not in NAMES:
        return _from_file(spec)
    settings, _ = resolved(spec.name, spec.network, spec.image_size)
    assert settings.widths and settings.depths
    if spec.name in resnet.PLANS:
        assert settings.stem != "auto" and settings.block != "auto" and settings.shortcut != "auto"
        plan = resnet.ResNetPlan(
            settings.widths, settings.depths, settings.block, settings.shortcut
        )
        return resnet.ResNet(spec.channels, plan, settings.stem, settings.stem_padding)
    if spec.name in efficientnet_lite.PLANS:
        return efficientnet_lite.EfficientNetLite(spec.channels, settings.widths, settings.depths)
    assert settings.patch_size and settings.positions != "auto"
    shape = vit.ViTPlan(
        settings.widths[0],
        settings.depths[0],
        settings.heads,
        settings.layer_scale,
        settings.registers,
        settings.class_token,
    )
    return vit.ViT(spec.channels, shape, settings.patch_size, spec.image_size, settings.positions)


def empty_network(spec: BackboneSpec) -> nn.Module:
    """The network of a spec without memory for its weights, where it is one of ours."""
    if spec.name in NAMES:
        with torch.device("meta"):
            return _network(spec)
    return _network(spec)


def _without_weights(path: str | Path, spec: BackboneSpec, allow_code: bool) -> nn.Module:
    """The network of a file."""
    known = spec.name in NAMES or library_of(spec.name) is not None
    if not known and not spec.name.startswith("module:") and not allow_code:
        raise ValueError(
            f"{path}: its network is made by code, {spec.name}, which is run only on "
            "load_backbone(path, allow_code=True); read that code first."
        )
    return empty_network(spec)


def _from_file(spec: BackboneSpec) -> nn.Module:
    """Runs ``file.py:build``."""
    path_text, _, function = known_backbone(spec.name).rpartition(":")
    path = Path(path_text).resolve()
    if not path.is_file():
        raise ValueError(f"backbone {spec.name!r}: there is no file {path}.")
    try:
        code = run_file(path, f"{OWN}backbone_{path.stem}")
        build = getattr(code, function)
        module = build(spec.channels)
    except Exception as error:
        raise ValueError(f"backbone {spec.name!r} cannot be made: {described(error)}.") from error
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"backbone {spec.name!r}: {function}({spec.channels}) must give a torch.nn.Module, "
            f"not {type(module).__name__}."
        )
    return module


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


def _features(network: nn.Module, spec: BackboneSpec) -> int:
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
