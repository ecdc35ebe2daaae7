"""What other libraries and authors call the parameters of our networks.

Each naming takes a key of our state and gives the key (or the three keys, for a projection that
others hold as queries, keys and values) under which a file of that library has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from selfsight.networks import efficientnet_lite, resnet
from selfsight.networks.specs import Network

Naming = Callable[[str], tuple[str, ...]]


def same(name: str) -> tuple[str, ...]:
    """Our own names: torchvision's for ResNets, timm's for the others."""
    return (name,)


def numbered_resnet(name: str) -> tuple[str, ...]:
    """``nn.Sequential(*resnet.children())`` of torchvision's: 0 conv1, 1 bn1, 4 to 7 the stages."""
    name = re.sub(r"^conv1\.", "0.", name)
    name = re.sub(r"^bn1\.", "1.", name)
    return (re.sub(r"^layer(\d)\.", lambda m: f"{int(m[1]) + 3}.", name),)


def shortcut_resnet(name: str) -> tuple[str, ...]:
    """The ResNets for CIFAR that call the projection of a block ``shortcut``."""
    return (name.replace(".downsample.", ".shortcut."),)


def transformers_resnet(name: str) -> tuple[str, ...]:
    """``ResNetModel``."""
    name = re.sub(r"^conv1\.", "embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "embedder.embedder.normalization.", name)
    parts = re.match(r"layer(\d+)\.(\d+)\.(.*)", name)
    if parts is None:
        return (name,)
    stage, block, rest = int(parts[1]) - 1, parts[2], parts[3]
    rest = rest.replace("downsample.0.", "shortcut.convolution.")
    rest = rest.replace("downsample.1.", "shortcut.normalization.")
    rest = re.sub(r"^conv(\d)\.", lambda m: f"layer.{int(m[1]) - 1}.convolution.", rest)
    rest = re.sub(r"^bn(\d)\.", lambda m: f"layer.{int(m[1]) - 1}.normalization.", rest)
    return (f"encoder.stages.{stage}.layers.{block}.{rest}",)


def torchvision_vit(name: str) -> tuple[str, ...]:
    """``VisionTransformer`` of torchvision."""
    name = name.replace("cls_token", "class_token").replace("patch_embed.proj", "conv_proj")
    name = re.sub(r"^pos_embed$", "encoder.pos_embedding", name)
    name = re.sub(r"^norm\.", "encoder.ln.", name)
    name = re.sub(r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1.", name)
    name = re.sub(r"\.norm(\d)\.", r".ln_\1.", name)
    name = re.sub(r"\.attn\.qkv\.(\w+)$", r".self_attention.in_proj_\1", name)
    name = name.replace(".attn.proj.", ".self_attention.out_proj.")
    return (name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3."),)


def torchvision_vit_before(name: str) -> tuple[str, ...]:
    """The same in torchvision's published files, whose perceptron has names instead of numbers."""
    (name,) = torchvision_vit(name)
    return (name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."),)


def transformers_vit(name: str) -> tuple[str, ...]:
    """``ViTModel`` of transformers 5."""
    name = _transformers_embeddings(name)
    name = re.sub(r"^blocks\.", "layers.", name)
    name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
    name = name.replace(".attn.proj.", ".attention.o_proj.")
    if ".attn.qkv." not in name:
        return (name,)
    return tuple(name.replace(".attn.qkv.", f".attention.{letter}_proj.") for letter in "qkv")


def transformers_vit_before(name: str) -> tuple[str, ...]:
    """``ViTModel`` of transformers up to 4, as the published files have it."""
    name = _transformers_embeddings(name)
    name = re.sub(r"^blocks\.", "encoder.layer.", name)
    name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
    name = name.replace(".attn.proj.", ".attention.output.dense.")
    name = name.replace(".mlp.fc1.", ".intermediate.dense.")
    name = name.replace(".mlp.fc2.", ".output.dense.")
    if ".attn.qkv." not in name:
        return (name,)
    return tuple(
        name.replace(".attn.qkv.", f".attention.attention.{part}.")
        for part in ("query", "key", "value")
    )


def transformers_dinov2(name: str) -> tuple[str, ...]:
    """``Dinov2Model`` of transformers, with registers or without, as its files have it."""
    name = _transformers_embeddings(name)
    name = name.replace("register_tokens", "embeddings.register_tokens")
    name = re.sub(r"^blocks\.", "encoder.layer.", name)
    name = re.sub(r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1", name)
    name = name.replace(".attn.proj.", ".attention.output.dense.")
    if ".attn.qkv." not in name:
        return (name,)
    return tuple(
        name.replace(".attn.qkv.", f".attention.attention.{part}.")
        for part in ("query", "key", "value")
    )


def timm_registers(name: str) -> tuple[str, ...]:
    """``VisionTransformer`` of timm with registers, which has another name for them."""
    return (name.replace("register_tokens", "reg_token"),)


def _transformers_embeddings(name: str) -> str:
    name = name.replace("cls_token", "embeddings.cls_token")
    name = re.sub(r"^pos_embed$", "embeddings.position_embeddings", name)
    name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
    return re.sub(r"^norm\.", "layernorm.", name)


def mmpretrain_vit(name: str) -> tuple[str, ...]:
    """``VisionTransformer`` of mmpretrain."""
    name = name.replace("patch_embed.proj.", "patch_embed.projection.")
    name = re.sub(r"^norm\.", "ln1.", name)
    name = re.sub(r"^blocks\.", "layers.", name)
    name = re.sub(r"\.norm(\d)\.", r".ln\1.", name)
    name = name.replace(".mlp.fc1.", ".ffn.layers.0.0.").replace(".mlp.fc2.", ".ffn.layers.1.")
    return (name.replace(".ls1.gamma", ".gamma1.weight").replace(".ls2.gamma", ".gamma2.weight"),)


def efficientnet_pytorch(depths: tuple[int, ...]) -> Naming:
    """EfficientNet-PyTorch, whose blocks are counted over all stages."""
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
    others |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}

    def named(name: str) -> tuple[str, ...]:
        parts = re.match(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(.*)", name)
        if parts is None:
            layer, _, rest = name.partition(".")
            return (f"{outside[layer]}.{rest}",)
        stage, block = int(parts[1]), int(parts[2])
        layer = (others if stage else first)[parts[3]]
        return (f"_blocks.{sum(depths[:stage]) + block}.{layer}.{parts[4]}",)

    return named


def namings(name: str, network: Network) -> Mapping[str, Naming]:
    """Under which names the parameters of a network may stand in a file.

    Args:
        name: of the network.
        network: its settings, resolved.
    """
    if name in resnet.PLANS:
        return {
            "torchvision": same,
            "torchvision's layers by number": numbered_resnet,
            "shortcut": shortcut_resnet,
            "transformers": transformers_resnet,
        }
    if name in efficientnet_lite.PLANS:
        assert network.depths is not None
        return {"timm": same, "EfficientNet-PyTorch": efficientnet_pytorch(network.depths)}
    return {
        "timm": same,
        "torchvision": torchvision_vit,
        "torchvision (published)": torchvision_vit_before,
        "transformers 5": transformers_vit,
        "transformers 4": transformers_vit_before,
        "transformers DINOv2": transformers_dinov2,
        "timm with registers": timm_registers,
        "mmpretrain": mmpretrain_vit,
    }
