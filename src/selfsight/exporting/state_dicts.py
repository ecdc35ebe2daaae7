"""State dicts with the keys of torchvision, timm and transformers, and how to load them there.

None of the three is imported: the names are those of torchvision 0.29, timm 1.0 and transformers
5, checked against lists made from the libraries themselves (``tests/exporting/names``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from selfsight.exporting.graph import Source
from selfsight.networks import resnet, vit

Library = Literal["torchvision", "timm", "transformers"]
State = dict[str, Tensor]
_STANDARD = (64, 128, 256, 512)
_STEM = "torch.nn.Conv2d({channels}, 64, 3, 1, 1, bias=False)"


def state_dict_for(source: Source, library: Library) -> tuple[State, str]:
    """The weights under the names of a library, and code that makes the network ``model``.

    The head becomes the library's classifier; it gives logits (numbers in their unit). Without a
    head the code makes the library's network without a classifier.

    Args:
        source: a ResNet of the standard widths or a ViT.
        library: whose names.

    Raises:
        ValueError: the library has no such network, or no such head.
    """
    network = source.backbone.network
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    head = _head(source)
    if isinstance(network, resnet.ResNet):
        _check_resnet(source, library)
        return _RESNETS[library](source, state, head)
    if isinstance(network, vit.ViT):
        _check_vit(source, network, library)
        return _VITS[library](source, network, state, head)
    raise ValueError(
        f"{source.name}: its backbone {source.backbone.spec.name!r} is code of your own, which "
        f"{library} does not know; export it with --format onnx."
    )


def _head(source: Source) -> tuple[Tensor, Tensor] | None:
    if source.predictor is None:
        return None
    linear = source.predictor.head.as_linear()
    if linear is None:
        raise ValueError(
            f"{source.name}: its head is an MLP, and the classifiers of these libraries are "
            "linear; export it with --format onnx, or fit a linear head."
        )
    return linear


def _check_resnet(source: Source, library: Library) -> None:
    plan = source.backbone.spec.network
    if plan.shortcut == "pad" or plan.widths != _STANDARD:
        raise ValueError(
            f"{source.name}: {library} has no network like {source.backbone.spec.name!r} (widths "
            f"{plan.widths}, shortcut {plan.shortcut}), only resnet18, 34, 50 and their like; "
            "export it with --format onnx."
        )


def _check_vit(source: Source, network: vit.ViT, library: Library) -> None:
    frame, side = source.frame, source.backbone.spec.image_size
    if frame.height != frame.width or side % network.patch_size or frame.height != side:
        raise ValueError(
            f"{source.name}: {library}'s ViT takes square images of whole patches, and this one is "
            f"for {frame.height}x{frame.width} px in patches of {network.patch_size}; export it "
            "with --format onnx."
        )


def _classes(head: tuple[Tensor, Tensor] | None) -> int:
    return 0 if head is None else len(head[1])


def _joined(state: State, head: tuple[Tensor, Tensor] | None, name: str) -> State:
    """The state, contiguous, with the head's weights under a name."""
    whole = dict(state)
    if head is not None:
        whole |= {f"{name}.weight": head[0], f"{name}.bias": head[1]}
    return {key: value.contiguous().clone() for key, value in whole.items()}


def _resnet_torchvision(
    source: Source, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    plan, channels = source.backbone.spec.network, source.backbone.spec.channels
    block = "BasicBlock" if plan.block == "basic" else "Bottleneck"
    classes = f", num_classes={_classes(head)}" if head else ""
    code = [
        "from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet",
        f"model = ResNet({block}, {list(plan.depths or ())}{classes})",
    ]
    if plan.stem == "cifar":
        code += [f"model.conv1 = {_STEM.format(channels=channels)}"]
        code += ["model.maxpool = torch.nn.Identity()"]
    elif channels != 3:
        code += [f"model.conv1 = torch.nn.Conv2d({channels}, 64, 7, 2, 3, bias=False)"]
    if head is None:
        code += ["model.fc = torch.nn.Identity()"]
    return _joined(state, head, "fc"), "\n".join(code)


def _resnet_timm(
    source: Source, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    plan, channels = source.backbone.spec.network, source.backbone.spec.channels
    block = "BasicBlock" if plan.block == "basic" else "Bottleneck"
    code = [
        "from timm.models.resnet import BasicBlock, Bottleneck, ResNet",
        f"model = ResNet({block}, {plan.depths}, num_classes={_classes(head)}, "
        f"in_chans={channels})",
    ]
    if plan.stem == "cifar":
        code += [f"model.conv1 = {_STEM.format(channels=channels)}"]
        code += ["model.maxpool = torch.nn.Identity()"]
    return _joined(state, head, "fc"), "\n".join(code)


def _resnet_transformers(
    source: Source, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    plan, channels = source.backbone.spec.network, source.backbone.spec.channels
    inner = "" if head is None else "resnet."

    def renamed(name: str) -> str:
        name = re.sub(r"^conv1\.", "embedder.embedder.convolution.", name)
        name = re.sub(r"^bn1\.", "embedder.embedder.normalization.", name)
        parts = re.match(r"layer(\d+)\.(\d+)\.(.*)", name)
        if parts is None:
            return inner + name
        stage, block, rest = int(parts[1]) - 1, parts[2], parts[3]
        rest = rest.replace("downsample.0.", "shortcut.convolution.")
        rest = rest.replace("downsample.1.", "shortcut.normalization.")
        rest = re.sub(r"^conv(\d)\.", lambda m: f"layer.{int(m[1]) - 1}.convolution.", rest)
        rest = re.sub(r"^bn(\d)\.", lambda m: f"layer.{int(m[1]) - 1}.normalization.", rest)
        return f"{inner}encoder.stages.{stage}.layers.{block}.{rest}"

    widths = [w * (1 if plan.block == "basic" else 4) for w in plan.widths or ()]
    kind = "ResNetModel" if head is None else "ResNetForImageClassification"
    labels = "" if head is None else f", num_labels={_classes(head)}"
    code = [
        f"from transformers import ResNetConfig, {kind}",
        f"model = {kind}(ResNetConfig(num_channels={channels}, embedding_size=64, "
        f"hidden_sizes={widths}, depths={list(plan.depths or ())}, "
        f"layer_type={plan.block!r}{labels}))",
    ]
    if plan.stem == "cifar":
        code += [f"stem = model.{inner}embedder"]
        code += [f"stem.embedder.convolution = {_STEM.format(channels=channels)}"]
        code += ["stem.pooler = torch.nn.Identity()"]
    named = {renamed(name): value for name, value in state.items()}
    return _joined(named, head, "classifier.1"), "\n".join(code)


def _vit_sizes(source: Source, network: vit.ViT) -> dict[str, int]:
    return {
        "image_size": source.backbone.spec.image_size,
        "patch": network.patch_size,
        "depth": len(network.blocks),
        "heads": vit.heads_for(network.features),
        "width": network.features,
        "channels": source.backbone.spec.channels,
    }


def _vit_torchvision(
    source: Source, network: vit.ViT, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    size = _vit_sizes(source, network)

    def renamed(name: str) -> str:
        name = name.replace("cls_token", "class_token").replace("patch_embed.proj", "conv_proj")
        name = re.sub(r"^pos_embed$", "encoder.pos_embedding", name)
        name = re.sub(r"^norm\.", "encoder.ln.", name)
        name = re.sub(r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1.", name)
        name = re.sub(r"\.norm(\d)\.", r".ln_\1.", name)
        name = re.sub(r"\.attn\.qkv\.(\w+)$", r".self_attention.in_proj_\1", name)
        name = name.replace(".attn.proj.", ".self_attention.out_proj.")
        return name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")

    code = [
        "from torchvision.models import VisionTransformer",
        f"model = VisionTransformer({size['image_size']}, {size['patch']}, {size['depth']}, "
        f"{size['heads']}, {size['width']}, {4 * size['width']}"
        + (f", num_classes={_classes(head)})" if head else ")"),
    ]
    if size["channels"] != 3:
        code += [
            f"model.conv_proj = torch.nn.Conv2d({size['channels']}, {size['width']}, "
            f"{size['patch']}, {size['patch']})"
        ]
    if head is None:
        code += ["model.heads = torch.nn.Identity()"]
    named = {renamed(name): value for name, value in state.items()}
    return _joined(named, head, "heads.head"), "\n".join(code)


def _vit_timm(
    source: Source, network: vit.ViT, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    size = _vit_sizes(source, network)
    code = [
        "from timm.models import VisionTransformer",
        f"model = VisionTransformer(img_size={size['image_size']}, patch_size={size['patch']}, "
        f"in_chans={size['channels']}, embed_dim={size['width']}, depth={size['depth']}, "
        f"num_heads={size['heads']}, num_classes={_classes(head)})",
    ]
    return _joined(state, head, "head"), "\n".join(code)


def _vit_transformers(
    source: Source, network: vit.ViT, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    size, inner = _vit_sizes(source, network), "" if head is None else "vit."
    named: State = {}
    for name, value in state.items():
        name = name.replace("cls_token", "embeddings.cls_token")
        name = re.sub(r"^pos_embed$", "embeddings.position_embeddings", name)
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = re.sub(r"^norm\.", "layernorm.", name)
        name = re.sub(r"^blocks\.", "layers.", name)
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace(".attn.proj.", ".attention.o_proj.")
        if ".attn.qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                named[inner + name.replace(".attn.qkv.", f".attention.{letter}_proj.")] = part
        else:
            named[inner + name] = value
    kind = "ViTModel" if head is None else "ViTForImageClassification"
    labels = "" if head is None else f", num_labels={_classes(head)}"
    code = [
        f"from transformers import ViTConfig, {kind}",
        f"config = ViTConfig(image_size={size['image_size']}, patch_size={size['patch']}, "
        f"num_channels={size['channels']}, hidden_size={size['width']}, "
        f"num_hidden_layers={size['depth']}, num_attention_heads={size['heads']}, "
        f"intermediate_size={4 * size['width']}, layer_norm_eps=1e-6{labels})",
        f"model = {kind}(config" + (", add_pooling_layer=False)" if head is None else ")"),
    ]
    return _joined(named, head, "classifier"), "\n".join(code)


_RESNETS: dict[Library, Callable[..., tuple[State, str]]] = {
    "torchvision": _resnet_torchvision,
    "timm": _resnet_timm,
    "transformers": _resnet_transformers,
}
_VITS: dict[Library, Callable[..., tuple[State, str]]] = {
    "torchvision": _vit_torchvision,
    "timm": _vit_timm,
    "transformers": _vit_transformers,
}


def code_to_load(code: str, path: str, source: Source) -> str:
    """A whole script: makes the network, loads the file strictly, says what goes in."""
    safe = path.lower().endswith(".safetensors")
    read = f"load_file({path!r})" if safe else f"torch.load({path!r}, weights_only=True)"
    mean, std = (
        [round(v, 6) for v in values] for values in (source.statistics.mean, source.statistics.std)
    )
    lines = ["import torch", *["from safetensors.torch import load_file"] * safe, code]
    lines += [f"model.load_state_dict({read}, strict=True)", "model.eval()"]
    lines += [
        f"# images (B, {source.frame.channels}, {source.frame.height}, {source.frame.width}): "
        f"raw values / {source.frame.top:g}, minus {mean}, over {std}"
    ]
    return "\n".join(lines)
