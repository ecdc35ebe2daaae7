"""What the shapes in a file say of the network that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfsight.networks import resnet, vit
from selfsight.networks.names import Naming
from selfsight.networks.published.search import Dictionary
from selfsight.networks.specs import Network

Shape = Callable[[str], torch.Size | None]

_MOCO_V3_HEADS = 12


def read_off(
    name: str, asked: bool, network: Network, dictionary: Dictionary, prefix: str, naming: Naming
) -> tuple[str, Network] | None:
    """Name and settings of the network whose tensors stand under a prefix.

    Args:
        name: of the network, or of one of its family.
        asked: the user named it: then only what its name leaves open is read.
        network: what the user changed; it goes before what is read.
        dictionary: of the file.
        prefix: of its keys.
        naming: our keys to the file's.

    Returns:
        None: it is no network of this family.
    """

    def shape(key: str) -> torch.Size | None:
        found = dictionary.tensors.get(prefix + naming(key)[0])
        return None if found is None else found.shape

    if name in resnet.PLANS:
        given = _resnet(name, asked, shape)
    elif name in vit.PLANS:
        given = _vit(name, asked, shape)
        if given is not None and "base_encoder." in prefix and given[1].get("heads") is None:
            # MoCo v3 gives 12 heads to its ViT-S; every other one has them of 64 features.
            width = (given[1].get("widths") or (vit.PLANS[given[0]].width,))[0]
            if width == vit.PLANS["vit_small"].width:
                given[1]["heads"] = _MOCO_V3_HEADS
    else:
        given = name, {}
    if given is None:
        return None
    defaults = {field: info.default for field, info in Network.model_fields.items()}
    own = {field: value for field, value in network if value != defaults[field]}
    return given[0], Network(**{**given[1], **own})


def _resnet(name: str, asked: bool, shape: Shape) -> tuple[str, dict[str, Any]] | None:
    conv = shape("conv1.weight")
    stems = {3: "cifar", 7: "imagenet"}
    stem: dict[str, Any] = {}
    if conv is not None and len(conv) == 4 and conv[2] in stems:
        stem = {"stem": stems[conv[2]]}
    if asked:
        return name, stem
    widths: list[int] = []
    depths: list[int] = []
    while (first := shape(f"layer{len(widths) + 1}.0.conv1.weight")) is not None and len(
        first
    ) == 4:
        stage, count = len(widths) + 1, 1
        while shape(f"layer{stage}.{count}.conv1.weight") is not None:
            count += 1
        widths.append(int(first[0]))
        depths.append(count)
    if not stem or not widths or len(widths) > 8:
        return None
    block = "basic" if shape("layer1.0.conv3.weight") is None else "bottleneck"
    stages = range(1, len(widths) + 1)
    projected = any(shape(f"layer{i}.0.downsample.0.weight") is not None for i in stages)
    shortcut = "projection" if projected else "pad"
    read: dict[str, Any] = {
        **stem,
        "widths": tuple(widths),
        "depths": tuple(depths),
        "block": block,
        "shortcut": shortcut,
    }
    plan = resnet.ResNetPlan(tuple(widths), tuple(depths), block, shortcut)  # type: ignore[arg-type]
    known = [title for title, each in resnet.PLANS.items() if each == plan]
    if known:
        return known[0], stem
    return ("resnet18" if block == "basic" else "resnet50"), read


def _vit(name: str, asked: bool, shape: Shape) -> tuple[str, dict[str, Any]] | None:
    patches = shape("patch_embed.proj.weight")
    if patches is None or len(patches) != 4:
        return (name, {}) if asked else None
    registers = shape("register_tokens")
    read: dict[str, Any] = {
        "patch_size": int(patches[2]),
        "class_token": shape("cls_token") is not None,
        "layer_scale": shape("blocks.0.ls1.gamma") is not None,
        "registers": 0 if registers is None else int(registers[1]),
    }
    if asked:
        return name, read
    width, depth = int(patches[0]), 0
    while shape(f"blocks.{depth}.norm1.weight") is not None:
        depth += 1
    if not depth:
        return None
    known = [t for t, each in vit.PLANS.items() if (each.width, each.depth) == (width, depth)]
    if known:
        return known[0], read
    return name, {**read, "widths": (width,), "depths": (depth,)}
