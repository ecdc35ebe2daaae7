"""What a backbone is, as settings: names, what may be changed in them, what "auto" chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from selfsight.console import counted
from selfsight.networks import efficientnet_lite, resnet, vit
from selfsight.settings import Settings, unknown

Width = Annotated[int, Field(ge=1, le=65536)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class Network(Settings):
    """What is changed in the named backbone; None and "auto" keep it as it is."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] | None = None
    """ResNet: channels of each stage (a bottleneck gives four times as many). ViT: one width.
    EfficientNet-Lite: of its seven stages."""
    depths: Annotated[tuple[Depth, ...], Field(min_length=1, max_length=8)] | None = None
    """ResNet and EfficientNet-Lite: blocks of each stage. ViT: one number of blocks."""
    stem: Literal["auto", "cifar", "imagenet"] = "auto"
    """ResNet: 3x3 without max-pool, or 7x7 of stride 2 with it; auto: cifar up to 64 px."""
    block: Literal["auto", "basic", "bottleneck"] = "auto"
    """ResNet: two 3x3 convolutions, or 1x1, 3x3, 1x1."""
    shortcut: Literal["auto", "projection", "pad"] = "auto"
    """ResNet: what joins stages of two widths: a 1x1 convolution, or zeros (no parameters)."""
    patch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """ViT: side of a patch, pixels; None: 2 up to 12 px, 4 up to 40, 8 up to 128, else 16."""
    positions: Literal["auto", "learned", "fixed"] = "auto"
    """ViT: positions are learned (auto), or fixed sines and cosines."""
    heads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """ViT: heads of the attention; None: of 64 features each. MoCo v3's ViT-S has 12."""
    layer_scale: bool = False
    """ViT: a learned factor on each branch, as in DINOv2."""
    registers: Annotated[int, Field(ge=0, le=1024)] = 0
    """ViT: tokens that belong to no patch, as in DINOv2 with registers."""
    class_token: bool = True
    """ViT: off: the mean of the patch tokens represents the image, as in I-JEPA."""
    stem_padding: Annotated[int, Field(ge=0, le=16)] | None = None
    """ResNet: zeros around the image; None: what keeps its size. solo-learn's CIFAR stem has 2."""


class BackboneSpec(Settings):
    """A backbone in full: `build_backbone` makes the same network from it at any time."""

    name: str
    """A name of the registry, ``LIBRARY:NAME`` (see `LIBRARIES`), ``file.py:build``, or
    ``module:Class`` for a module of one's own."""
    network: Network = Network()
    """Every setting of the network, resolved."""
    channels: Annotated[int, Field(ge=1, le=65536)]
    """Channels of the images."""
    image_size: Annotated[int, Field(ge=1, le=65536)]
    """Side of the images, pixels; other sizes work too."""
    config: dict[str, Any] = {}
    """transformers: the network's configuration, so that no hub is needed to build it again."""
    said: str = ""
    """One sentence: what was chosen, and why."""


NAMES = (*resnet.PLANS, *vit.PLANS, *efficientnet_lite.PLANS)
LIBRARIES = ("timm", "torchvision", "transformers")
"""Whose networks are named ``LIBRARY:NAME``."""


def known_backbone(name: str) -> str:
    """``name`` if it may name a backbone: "auto", one of `NAMES`, ``LIBRARY:NAME``, or a file.

    Raises:
        ValueError: it does not; the sentence gives the nearest name.
    """
    if library_of(name) is not None:
        return name
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py") and function.isidentifier():
        return name
    if name == "auto" or name in NAMES:
        return name
    if colon or name.endswith(".py"):
        raise ValueError(
            f"backbone {name!r}: a backbone of your own is written `file.py:build`, where "
            "build(channels) gives a module; one of a library timm:NAME, torchvision:NAME or "
            "transformers:OWNER/NAME."
        )
    raise unknown("backbone", name, ("auto", *NAMES))


def library_of(name: str) -> str | None:
    """The library of a ``LIBRARY:NAME``; None for any other name."""
    library, _, rest = name.partition(":")
    return library if rest and library in LIBRARIES else None


def code_file(name: str) -> Path | None:
    """The file of a ``file.py:build``; None for any other name of a backbone."""
    path, colon, _ = name.rpartition(":")
    return Path(path) if colon and path.endswith(".py") and library_of(name) is None else None


def choose_backbone(
    name: str,
    network: Network,
    channels: int,
    image_size: int,
    device: str = "auto",
    *,
    tokens: bool = False,
) -> BackboneSpec:
    """The backbone in full, with "auto" and everything left open decided.

    "auto" is resnet_tiny up to 12 px; up to 64 px resnet18 on a GPU, else resnet20; resnet18
    above; vit_tiny where patch tokens are needed. It depends on nothing but the arguments and, for
    device "auto", on whether there is a GPU.

    Args:
        name: "auto", one of `NAMES`, ``LIBRARY:NAME``, or ``file.py:build``.
        network: what is changed in it.
        channels: channels of the images.
        image_size: side of the images, pixels.
        device: kind of the device, "auto", "cpu", "cuda", ...
        tokens: whether the backbone must give patch tokens; a ``file.py:build`` is not opened here.

    Raises:
        ValueError: an unknown name, settings that make no network, or a network without tokens
            where they are needed.
    """
    name, why = known_backbone(name), ""
    inputs = counted(channels, "channel")
    if name == "auto" and tokens:
        name, why = "vit_tiny", " (chosen for a method that needs patch tokens)"
    elif name == "auto":
        name, why = _auto(image_size, device)
    if tokens and name in resnet.PLANS:
        raise ValueError(
            f"backbone {name!r} has no patch tokens, which the method needs; choose one of "
            f"{', '.join(vit.PLANS)}, or leave --backbone out."
        )
    if name in NAMES:
        network, what = resolved(name, network, image_size)
        said = f"Backbone: {name}{why}: {what}, from {inputs}."
    elif library_of(name) is not None:
        _only(name, network, ())
        said = f"Backbone: {name}, from {inputs}."
    else:
        _only(name, network, ())
        path, _, function = name.rpartition(":")
        said = f"Backbone: {function} of {path}, from {inputs}."
        name = f"{Path(path).resolve()}:{function}"
    return BackboneSpec(
        name=name, network=network, channels=channels, image_size=image_size, said=said
    )


def resolved(name: str, network: Network, image_size: int) -> tuple[Network, str]:
    """Every setting of a network of `NAMES`, and what it is in words.

    Raises:
        ValueError: settings that make no network, or mean nothing for this one.
    """
    if name in resnet.PLANS:
        return _resolved_resnet(name, network, image_size)
    if name in efficientnet_lite.PLANS:
        return _resolved_lite(name, network)
    return _resolved_vit(name, network, image_size)


def _auto(image_size: int, device: str) -> tuple[str, str]:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = "on a GPU" if device.startswith("cuda") else "without a GPU"
    if image_size <= 12:
        return "resnet_tiny", f" (chosen for {image_size} px)"
    if image_size <= 64:
        name = "resnet18" if device.startswith("cuda") else "resnet20"
        return name, f" (chosen for {image_size} px {kind})"
    return "resnet18", f" (chosen for {image_size} px)"


def _only(name: str, network: Network, allowed: tuple[str, ...]) -> None:
    """Refuses settings that would silently do nothing."""
    for field, value in network:
        if field not in allowed and value != Network.model_fields[field].default:
            raise ValueError(f"network.{field} means nothing for the backbone {name!r}.")


def _resolved_resnet(name: str, network: Network, image_size: int) -> tuple[Network, str]:
    _only(name, network, ("widths", "depths", "stem", "block", "shortcut", "stem_padding"))
    plan, stem = resnet.PLANS[name], network.stem
    if stem == "auto":
        stem = "cifar" if image_size <= 64 else "imagenet"
    plan = resnet.ResNetPlan(
        network.widths or plan.widths,
        network.depths or plan.depths,
        plan.block if network.block == "auto" else network.block,
        plan.shortcut if network.shortcut == "auto" else network.shortcut,
    )
    resnet.check_plan(plan)
    padding = resnet.STEM_PADDING[stem] if network.stem_padding is None else network.stem_padding
    full = Network(stem=stem, stem_padding=padding, **plan._asdict())
    features = plan.widths[-1] * (1 if plan.block == "basic" else 4)
    first = "3x3 stem" if stem == "cifar" else "7x7 stem with max-pool"
    counts = f"widths {plan.widths}, depths {plan.depths}"
    return full, f"{first}, {counts}, {counted(features, 'feature')}"


def _resolved_lite(name: str, network: Network) -> tuple[Network, str]:
    _only(name, network, ("widths", "depths"))
    plan = efficientnet_lite.PLANS[name]
    full = Network(widths=network.widths or plan.widths, depths=network.depths or plan.depths)
    assert full.widths and full.depths
    if len(full.widths) != len(plan.widths) or len(full.depths) != len(plan.depths):
        raise ValueError(f"network.widths and network.depths of {name!r} take seven numbers each.")
    what = (
        f"{counted(sum(full.depths), 'block')}, "
        f"{counted(efficientnet_lite.EfficientNetLite.features, 'feature')}"
    )
    return full, what


_VIT_SETTINGS = (
    "widths",
    "depths",
    "patch_size",
    "positions",
    "heads",
    "layer_scale",
    "registers",
    "class_token",
)


def _resolved_vit(name: str, network: Network, image_size: int) -> tuple[Network, str]:
    _only(name, network, _VIT_SETTINGS)
    plan = vit.PLANS[name]
    widths, depths = network.widths or (plan.width,), network.depths or (plan.depth,)
    if len(widths) != 1 or len(depths) != 1:
        raise ValueError(f"network.widths and network.depths of {name!r} take one number each.")
    own = plan.heads if widths[0] == plan.width else None
    heads = network.heads or own or vit.heads_for(widths[0])
    if widths[0] % heads:
        raise ValueError(f"network.heads {heads} do not divide the width {widths[0]}.")
    patch = network.patch_size or vit.patch_size_for(image_size)
    if patch > image_size:
        raise ValueError(f"network.patch_size {patch} is larger than the images ({image_size} px).")
    positions = "learned" if network.positions == "auto" else network.positions
    full = network.updated(
        {
            "widths": widths,
            "depths": depths,
            "patch_size": patch,
            "positions": positions,
            "heads": heads,
        }
    )
    what = (
        f"patches of {patch} px, {counted(depths[0], 'block')}, {counted(heads, 'head')}, "
        f"{counted(widths[0], 'feature')}"
    )
    return full, what
