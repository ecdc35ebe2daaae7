"""State dicts with the keys of torchvision, timm and transformers, and how to load them there.

None of the three is imported: the names are those of torchvision 0.29, timm 1.0 and transformers
5, checked against lists made from the libraries themselves (``tests/exporting/names``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from selfsight.exporting.graph import Source
from selfsight.networks import efficientnet_lite, names, resnet, vit

Library = Literal["torchvision", "timm", "transformers"]
State = dict[str, Tensor]
_STANDARD = (64, 128, 256, 512)


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
    if isinstance(network, efficientnet_lite.EfficientNetLite):
        return _lite_timm(source, library, state, head)
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
    pooling = source.backbone.pooling
    if pooling is None:
        return linear
    if pooling.kind != "mean":
        raise ValueError(
            f"{source.name}: its head reads several stages of the network, and the classifiers of "
            "these libraries read its output alone; export it with --format onnx, or train with "
            "--representation mean."
        )
    # W ((x - centre) / scale) + b, with the standardisation inside W and b.
    weight = linear[0] / pooling.scale.cpu()
    return weight, linear[1] - weight @ pooling.centre.cpu()


def _check_resnet(source: Source, library: Library) -> None:
    plan = source.backbone.spec.network
    if plan.shortcut == "pad" or plan.widths != _STANDARD:
        raise ValueError(
            f"{source.name}: {library} has no network like {source.backbone.spec.name!r} (widths "
            f"{plan.widths}, shortcut {plan.shortcut}), only resnet18, 34, 50 and their like; "
            "export it with --format onnx."
        )


def _check_vit(source: Source, network: vit.ViT, library: Library) -> None:
    if network.registers or not network.class_token or source.backbone.spec.network.layer_scale:
        raise ValueError(
            f"{source.name}: its ViT has layer scales, registers or no class token, which the "
            f"networks written for {library} do not have; export it with --format onnx."
        )
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


def _stem(source: Source, conv: str, pool: str, channels: bool) -> list[str]:
    """Code that puts our first convolution in the place of the library's, where they differ."""
    plan = source.backbone.spec.network
    assert plan.stem != "auto"
    padding = resnet.STEM_PADDING[plan.stem] if plan.stem_padding is None else plan.stem_padding
    if plan.stem == "imagenet" and padding == 3 and not channels:
        return []
    sizes = f"3, 1, {padding}" if plan.stem == "cifar" else f"7, 2, {padding}"
    code = f"{conv} = torch.nn.Conv2d({source.backbone.spec.channels}, 64, {sizes}, bias=False)"
    return [code, *[f"{pool} = torch.nn.Identity()"] * (plan.stem == "cifar")]


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
    code += _stem(source, "model.conv1", "model.maxpool", channels != 3)
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
    code += _stem(source, "model.conv1", "model.maxpool", False)
    return _joined(state, head, "fc"), "\n".join(code)


def _resnet_transformers(
    source: Source, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    plan, channels = source.backbone.spec.network, source.backbone.spec.channels
    inner = "" if head is None else "resnet."

    widths = [w * (1 if plan.block == "basic" else 4) for w in plan.widths or ()]
    kind = "ResNetModel" if head is None else "ResNetForImageClassification"
    labels = "" if head is None else f", num_labels={_classes(head)}"
    code = [
        f"from transformers import ResNetConfig, {kind}",
        f"model = {kind}(ResNetConfig(num_channels={channels}, embedding_size=64, "
        f"hidden_sizes={widths}, depths={list(plan.depths or ())}, "
        f"layer_type={plan.block!r}{labels}))",
    ]
    stem = f"model.{inner}embedder"
    code += _stem(source, f"{stem}.embedder.convolution", f"{stem}.pooler", False)
    named = {
        inner + key: value
        for name, value in state.items()
        for key in names.transformers_resnet(name)
    }
    return _joined(named, head, "classifier.1"), "\n".join(code)


def _vit_sizes(source: Source, network: vit.ViT) -> dict[str, int]:
    return {
        "image_size": source.backbone.spec.image_size,
        "patch": network.patch_size,
        "depth": len(network.blocks),
        "heads": network.blocks[0].attn.heads,  # type: ignore[union-attr, dict-item]
        "width": network.features,
        "channels": source.backbone.spec.channels,
    }


def _vit_torchvision(
    source: Source, network: vit.ViT, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    size = _vit_sizes(source, network)

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
    named = {names.torchvision_vit(name)[0]: value for name, value in state.items()}
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
        keys = names.transformers_vit(name)
        for key, part in zip(keys, value.chunk(len(keys)), strict=True):
            named[inner + key] = part
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


def _lite_timm(
    source: Source, library: Library, state: State, head: tuple[Tensor, Tensor] | None
) -> tuple[State, str]:
    spec = source.backbone.spec
    plan = efficientnet_lite.PLANS[spec.name]
    if library != "timm" or (spec.network.widths, spec.network.depths) != plan[:2]:
        raise ValueError(
            f"{source.name}: {library} has no network like {spec.name!r} of these widths and "
            "depths; timm has EfficientNet-Lite 0 to 2. Export it with --format onnx."
        )
    code = (
        f"import timm\nmodel = timm.create_model('tf_{spec.name}', "
        f"num_classes={_classes(head)}, in_chans={spec.channels})"
    )
    return _joined(state, head, "classifier"), code


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
