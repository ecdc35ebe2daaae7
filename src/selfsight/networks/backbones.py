"""Backbones: the adapter that every method meets, how it is built, and its weights on disk."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from selfsight.networks import resnet, vit
from selfsight.networks.specs import (
    NAMES,
    BackboneSpec,
    Network,
    choose_backbone,
    known_backbone,
    resolved,
)
from selfsight.networks.weights import put_weights, read_weights, write_weights
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
    "save_backbone",
]


class Backbone(nn.Module):
    """The network that is kept: ``(B, C, H, W)`` images to ``(B, F)`` representations.

    Attributes:
        features: F.
        spec: what it was built from.
        bf16: the network alone runs under autocast to bfloat16; what comes out is float32.
        channels_last: images are brought into that memory format first.
        network: the module inside; its state has the keys of torchvision or timm.
    """

    def __init__(self, network: nn.Module, features: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.network = network
        self.features = features
        self.spec = spec
        self.bf16 = False
        self.channels_last = False

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

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, F)``, float32 (float64 for weights and images in float64)."""
        return self._run(self.network, images)

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
        return self._run(tokens, images, keep)

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

    @property
    def has_tokens(self) -> bool:
        """Whether `tokens` works."""
        return hasattr(self.network, "tokens")

    def _run(self, network: Callable[..., Tensor], images: Tensor, *rest: Tensor | None) -> Tensor:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.bf16:
            return network(images, *rest)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            out = network(images, *rest)
        return out if out.dtype == torch.float64 else out.float()


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


def each_view(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """``network`` on each view, views of one shape as one batch, in the order of ``views``.

    Batch statistics are then over all views of one shape, as in SimCLR's and DINO's own code.

    Args:
        network: ``(B, ...)`` to ``(B, ...)``.
        views: each ``(B, ...)`` with the same B.
    """
    out: dict[int, Tensor] = {}
    for shape in dict.fromkeys(view.shape for view in views):
        group = [i for i, view in enumerate(views) if view.shape == shape]
        batch = torch.cat([views[i] for i in group]) if len(group) > 1 else views[group[0]]
        together = network(batch)
        out.update(zip(group, together.chunk(len(group)), strict=True))
    return [out[i] for i in range(len(views))]


def save_backbone(path: str | Path, backbone: Backbone, extra: dict[str, Any]) -> None:
    """Writes weights and spec as one safetensors file, whole or not at all.

    Args:
        path: the file; its keys are those of ``backbone.network``.
        backbone: on any device.
        extra: whatever else belongs to it, in values that JSON holds.
    """
    header = {"spec": backbone.spec.plain(), "features": backbone.features, "extra": extra}
    write_weights(path, backbone.network, header)


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
    network = _empty(path, spec, allow_code) if module is None else module
    put_weights(path, network, tensors)
    if _features(network, spec) != features:
        raise ValueError(f"{path}: its header says {features} features; its network differs.")
    return Backbone(network, features, spec), extra


def _network(spec: BackboneSpec) -> nn.Module:
    if spec.name.startswith("module:"):
        raise ValueError(
            f"backbone {spec.name!r} wraps a module that selfsight cannot make; wrap it again "
            "with Backbone.of, or give it to load_backbone(path, module=...)."
        )
    if spec.name not in NAMES:
        return _from_file(spec)
    settings, _ = resolved(spec.name, spec.network, spec.image_size)
    assert settings.widths and settings.depths
    if spec.name in resnet.PLANS:
        assert settings.stem != "auto" and settings.block != "auto" and settings.shortcut != "auto"
        plan = resnet.Plan(settings.widths, settings.depths, settings.block, settings.shortcut)
        return resnet.ResNet(spec.channels, plan, settings.stem)
    assert settings.patch_size and settings.positions != "auto"
    shape = vit.ViTPlan(settings.widths[0], settings.depths[0])
    return vit.ViT(spec.channels, shape, settings.patch_size, spec.image_size, settings.positions)


def _empty(path: str | Path, spec: BackboneSpec, allow_code: bool) -> nn.Module:
    """The network of a file, without memory for its weights where it is one of ours."""
    if spec.name in NAMES:
        with torch.device("meta"):
            return _network(spec)
    if not spec.name.startswith("module:") and not allow_code:
        raise ValueError(
            f"{path}: its network is made by code, {spec.name}, which is run only on "
            "load_backbone(path, allow_code=True); read that code first."
        )
    return _network(spec)


def _from_file(spec: BackboneSpec) -> nn.Module:
    """Runs ``file.py:build``."""
    path_text, _, function = known_backbone(spec.name).rpartition(":")
    path = Path(path_text).resolve()
    if not path.is_file():
        raise ValueError(f"backbone {spec.name!r}: there is no file {path}.")
    # A name of its own in sys.modules: dataclasses and pickling look a class's module up there.
    name = f"selfsight_backbone_{path.stem}"
    located = importlib.util.spec_from_file_location(name, path)
    assert located is not None and located.loader is not None
    code = importlib.util.module_from_spec(located)
    sys.modules[name] = code
    try:
        located.loader.exec_module(code)
        build = getattr(code, function)
        module = build(spec.channels)
    except Exception as error:
        raise ValueError(
            f"backbone {spec.name!r} cannot be made: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"backbone {spec.name!r}: {function}({spec.channels}) must give a torch.nn.Module, "
            f"not {type(module).__name__}."
        )
    return module


def _features(network: nn.Module, spec: BackboneSpec) -> int:
    """F: known of our own networks, else read off a forward pass of two black images."""
    if isinstance(network, resnet.ResNet | vit.ViT):
        return network.features
    weight = next(network.parameters(), torch.zeros(()))
    images = weight.new_zeros(2, spec.channels, spec.image_size, spec.image_size)
    was = {part: part.training for part in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            out = network(images)
    except Exception as error:
        raise ValueError(
            f"backbone {spec.name!r} does not take images {tuple(images.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        for part, training in was.items():
            part.training = training
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 2:
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"backbone {spec.name!r} must give a tensor (B, F) for images (B, C, H, W); for two "
            f"images it gave {given}."
        )
    return int(out.shape[1])
