"""Files as the authors' code writes them: key lists written down from that code, not from ours.

Braces expand as in a shell: ``{a,b}``, ``{0..2}``. The networks are narrow, so that files are
small; their keys are those of the published ones.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network, choose_backbone

State = dict[str, Tensor]


def expanded(text: str) -> list[str]:
    """Every word of a text with its braces expanded, the last brace fastest."""
    return [key for word in text.split() for key in _expanded_word(word)]


def _expanded_word(word: str) -> list[str]:
    parts = re.split(r"\{([^}]*)\}", word)
    choices = []
    for i, part in enumerate(parts):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", part) if i % 2 else None
        if span:
            choices.append([str(n) for n in range(int(span[1]), int(span[2]) + 1)])
        else:
            choices.append(part.split(",") if i % 2 else [part])
    return ["".join(each) for each in itertools.product(*choices)]


NORM = "{weight,bias,running_mean,running_var,num_batches_tracked}"

# torchvision.models.resnet: BasicBlock and Bottleneck, without fc.
RESNET18 = f"""
conv1.weight bn1.{NORM}
layer{{1..4}}.{{0,1}}.conv{{1,2}}.weight layer{{1..4}}.{{0,1}}.bn{{1,2}}.{NORM}
layer{{2..4}}.0.downsample.0.weight layer{{2..4}}.0.downsample.1.{NORM}
"""
RESNET50 = f"""
conv1.weight bn1.{NORM}
layer1.{{0..2}}.conv{{1..3}}.weight layer1.{{0..2}}.bn{{1..3}}.{NORM}
layer2.{{0..3}}.conv{{1..3}}.weight layer2.{{0..3}}.bn{{1..3}}.{NORM}
layer3.{{0..5}}.conv{{1..3}}.weight layer3.{{0..5}}.bn{{1..3}}.{NORM}
layer4.{{0..2}}.conv{{1..3}}.weight layer4.{{0..2}}.bn{{1..3}}.{NORM}
layer{{1..4}}.0.downsample.0.weight layer{{1..4}}.0.downsample.1.{NORM}
"""
# timm's and DINO's VisionTransformer, MAE's and MSN's encoder, without head.
VIT = """
cls_token pos_embed patch_embed.proj.{weight,bias}
blocks.{0,1}.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}.{weight,bias} norm.{weight,bias}
"""
# dinov2/models/vision_transformer.py, block_chunks=0, num_register_tokens=4.
DINOV2 = """
cls_token pos_embed register_tokens mask_token patch_embed.proj.{weight,bias}
blocks.{0,1}.{norm1,attn.qkv,attn.proj}.{weight,bias} blocks.{0,1}.ls1.gamma
blocks.{0,1}.{norm2,mlp.fc1,mlp.fc2}.{weight,bias} blocks.{0,1}.ls2.gamma norm.{weight,bias}
"""
# ijepa/src/models/vision_transformer.py: VisionTransformer has no class token.
IJEPA = """
pos_embed patch_embed.proj.{weight,bias}
blocks.{0,1}.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}.{weight,bias} norm.{weight,bias}
"""
# mmpretrain/models/backbones/vision_transformer.py.
MMPRETRAIN = """
cls_token pos_embed patch_embed.projection.{weight,bias}
layers.{0,1}.{ln1,attn.qkv,attn.proj,ln2,ffn.layers.0.0,ffn.layers.1}.{weight,bias}
ln1.{weight,bias}
"""
# torchvision.models.vision_transformer, as its published files have it.
TORCHVISION_VIT = """
class_token encoder.pos_embedding conv_proj.{weight,bias}
encoder.layers.encoder_layer_{0,1}.ln_1.{weight,bias}
encoder.layers.encoder_layer_{0,1}.self_attention.in_proj_{weight,bias}
encoder.layers.encoder_layer_{0,1}.self_attention.out_proj.{weight,bias}
encoder.layers.encoder_layer_{0,1}.ln_2.{weight,bias}
encoder.layers.encoder_layer_{0,1}.mlp.linear_1.{weight,bias}
encoder.layers.encoder_layer_{0,1}.mlp.linear_2.{weight,bias} encoder.ln.{weight,bias}
"""
# The same in the order of that list.
VIT_BY_LAYER = """
cls_token pos_embed patch_embed.proj.{weight,bias}
blocks.{0,1}.norm1.{weight,bias} blocks.{0,1}.attn.qkv.{weight,bias}
blocks.{0,1}.attn.proj.{weight,bias} blocks.{0,1}.norm2.{weight,bias}
blocks.{0,1}.mlp.fc1.{weight,bias} blocks.{0,1}.mlp.fc2.{weight,bias} norm.{weight,bias}
"""
# transformers 4, modeling_vit.py; queries, keys and values are thirds of timm's qkv.
TRANSFORMERS_VIT = """
embeddings.cls_token embeddings.position_embeddings
embeddings.patch_embeddings.projection.{weight,bias}
encoder.layer.{0,1}.layernorm_before.{weight,bias}
encoder.layer.{0,1}.attention.output.dense.{weight,bias}
encoder.layer.{0,1}.layernorm_after.{weight,bias}
encoder.layer.{0,1}.intermediate.dense.{weight,bias} encoder.layer.{0,1}.output.dense.{weight,bias}
layernorm.{weight,bias}
"""
VIT_WITHOUT_QKV = """
cls_token pos_embed patch_embed.proj.{weight,bias}
blocks.{0,1}.norm1.{weight,bias} blocks.{0,1}.attn.proj.{weight,bias}
blocks.{0,1}.norm2.{weight,bias} blocks.{0,1}.mlp.fc1.{weight,bias}
blocks.{0,1}.mlp.fc2.{weight,bias} norm.{weight,bias}
"""
# transformers, modeling_dinov2_with_registers.py.
TRANSFORMERS_DINOV2 = """
embeddings.cls_token embeddings.position_embeddings embeddings.register_tokens
embeddings.patch_embeddings.projection.{weight,bias}
encoder.layer.{0,1}.norm1.{weight,bias} encoder.layer.{0,1}.attention.output.dense.{weight,bias}
encoder.layer.{0,1}.layer_scale1.lambda1 encoder.layer.{0,1}.norm2.{weight,bias}
encoder.layer.{0,1}.mlp.fc1.{weight,bias} encoder.layer.{0,1}.mlp.fc2.{weight,bias}
encoder.layer.{0,1}.layer_scale2.lambda1 layernorm.{weight,bias}
"""
DINOV2_WITHOUT_QKV = """
cls_token pos_embed register_tokens patch_embed.proj.{weight,bias}
blocks.{0,1}.norm1.{weight,bias} blocks.{0,1}.attn.proj.{weight,bias} blocks.{0,1}.ls1.gamma
blocks.{0,1}.norm2.{weight,bias} blocks.{0,1}.mlp.fc1.{weight,bias}
blocks.{0,1}.mlp.fc2.{weight,bias} blocks.{0,1}.ls2.gamma norm.{weight,bias}
"""
# timm, vision_transformer.py: reg_tokens=4, no_embed_class=True.
TIMM_REGISTERS = """
cls_token reg_token pos_embed patch_embed.proj.{weight,bias}
blocks.{0,1}.{norm1,attn.qkv,attn.proj}.{weight,bias} blocks.{0,1}.ls1.gamma
blocks.{0,1}.{norm2,mlp.fc1,mlp.fc2}.{weight,bias} blocks.{0,1}.ls2.gamma norm.{weight,bias}
"""
TIMM_REGISTERS_OURS = TIMM_REGISTERS.replace("reg_token", "register_tokens")
# transformers, modeling_resnet.py: ResNetModel with basic layers.
TRANSFORMERS_RESNET = f"""
embedder.embedder.convolution.weight embedder.embedder.normalization.{NORM}
encoder.stages.{{0..3}}.layers.{{0,1}}.layer.{{0,1}}.convolution.weight
encoder.stages.{{0..3}}.layers.{{0,1}}.layer.{{0,1}}.normalization.{NORM}
encoder.stages.{{1..3}}.layers.0.shortcut.convolution.weight
encoder.stages.{{1..3}}.layers.0.shortcut.normalization.{NORM}
"""

NARROW = (8, 8, 12, 16)


def resnet18(stem: str = "imagenet", padding: int | None = None) -> Backbone:
    network = Network(widths=NARROW, stem=stem, stem_padding=padding)  # type: ignore[arg-type]
    return _seeded("resnet18", network, 64)


def resnet50() -> Backbone:
    return _seeded("resnet50", Network(widths=(4, 4, 6, 8), stem="imagenet"), 64)


def vit(size: int = 16, **changes: Any) -> Backbone:
    network = Network(widths=(64,), depths=(2,), patch_size=4, **changes)
    return _seeded("vit_small", network, size)


def _seeded(name: str, network: Network, size: int) -> Backbone:
    backbone = build_backbone(choose_backbone(name, network, 3, size), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for key, value in backbone.network.state_dict().items():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator) * 0.1)
            assert not key.endswith("running_var") or bool((value > 0).all())
    return backbone.eval()


def named(keys: str, backbone: Backbone, ours: str | None = None) -> State:
    """The backbone's tensors under official keys; ``ours`` are its own keys in the same order."""
    state = backbone.network.state_dict()
    official, own = expanded(keys), expanded(ours or keys)
    assert len(official) == len(own)
    found = {o: state[k].clone() for o, k in zip(official, own, strict=True) if k in state}
    return found


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def others(state: State) -> State:
    """Other values under the same keys."""
    return {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}


def mlp(prefix: str, *layers: int) -> State:
    return {f"{prefix}{i}.{kind}": torch.ones(4) for i in layers for kind in ("weight", "bias")}


@dataclass(frozen=True)
class Case:
    """A file of an official layout.

    Attributes:
        title: whose it is.
        made: the network that is in it, and what the file holds.
        part: that is to be taken.
        layout: that is to be recognised.
        normalisation: first mean of it.
        file: its name.
        backbone: that the user names.
    """

    title: str
    made: Callable[[], tuple[Backbone, Any]]
    part: str
    layout: str
    normalisation: float = 0.485
    file: str = "weights.pth"
    backbone: str = "auto"


def tv50() -> tuple[Backbone, State]:
    backbone = resnet50()
    return backbone, named(RESNET50, backbone)


def tv18() -> tuple[Backbone, State]:
    backbone = resnet18()
    return backbone, named(RESNET18, backbone)


def plain_vit() -> tuple[Backbone, State]:
    backbone = vit()
    return backbone, named(VIT, backbone)


def torchvision_file() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    return backbone, OrderedDict(
        {**state, "fc.weight": torch.ones(2, 32), "fc.bias": torch.ones(2)}
    )


def torchvision_vit() -> tuple[Backbone, Any]:
    backbone = vit()
    state = named(TORCHVISION_VIT, backbone, VIT_BY_LAYER)
    return backbone, {**state, "heads.head.weight": torch.ones(2, 64)}


def transformers_resnet() -> tuple[Backbone, Any]:
    backbone = resnet18()
    state = named(TRANSFORMERS_RESNET, backbone, RESNET18)
    return backbone, {**under("resnet.", state), "classifier.1.weight": torch.ones(2, 16)}


def transformers_vit() -> tuple[Backbone, Any]:
    backbone = vit()
    state = named(TRANSFORMERS_VIT, backbone, VIT_WITHOUT_QKV)
    for i, kind in itertools.product((0, 1), ("weight", "bias")):
        whole = backbone.network.state_dict()[f"blocks.{i}.attn.qkv.{kind}"]
        for part, value in zip(("query", "key", "value"), whole.chunk(3), strict=True):
            state[f"encoder.layer.{i}.attention.attention.{part}.{kind}"] = value.clone()
    return backbone, {**under("vit.", state), "vit.pooler.dense.weight": torch.ones(64, 64)}


def transformers_dinov2() -> tuple[Backbone, Any]:
    backbone = vit(registers=4, layer_scale=True)
    state = named(TRANSFORMERS_DINOV2, backbone, DINOV2_WITHOUT_QKV)
    for i, kind in itertools.product((0, 1), ("weight", "bias")):
        whole = backbone.network.state_dict()[f"blocks.{i}.attn.qkv.{kind}"]
        for part, value in zip(("query", "key", "value"), whole.chunk(3), strict=True):
            state[f"encoder.layer.{i}.attention.attention.{part}.{kind}"] = value.clone()
    return backbone, {**state, "embeddings.mask_token": torch.ones(1, 64)}


def timm_registers() -> tuple[Backbone, Any]:
    """Positions of the patches alone: the class token's is 0."""
    backbone = vit(registers=4, layer_scale=True)
    with torch.no_grad():
        backbone.network.state_dict()["pos_embed"][:, 0] = 0.0
    state = named(TIMM_REGISTERS, backbone, TIMM_REGISTERS_OURS)
    return backbone, {**state, "pos_embed": state["pos_embed"][:, 1:].clone()}


def vicreg() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = {**under("module.backbone.", state), **mlp("module.projector.", 0, 3)}
    return backbone, {
        "epoch": 1,
        "model": model,
        "optimizer": {"state": {0: {"mu": torch.ones(3)}}},
    }


def barlow_twins() -> tuple[Backbone, Any]:
    backbone, content = vicreg()
    content["model"] |= {f"module.bn.running_{kind}": torch.ones(4) for kind in ("mean", "var")}
    return backbone, content


def dino() -> tuple[Backbone, Any]:
    backbone, state = plain_vit()
    head = {**mlp("head.mlp.", 0, 2), "head.last_layer.weight_g": torch.ones(4, 1)}
    return backbone, {
        "student": {**under("module.backbone.", others(state)), **under("module.", head)},
        "teacher": {**under("backbone.", state), **head},
        "optimizer": {},
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def dinov2() -> tuple[Backbone, Any]:
    backbone = vit(registers=4, layer_scale=True)
    return backbone, {**named(DINOV2, backbone), "mask_token": torch.ones(1, 64)}


def dinov2_teacher() -> tuple[Backbone, Any]:
    backbone, state = dinov2()
    head = {**mlp("dino_head.mlp.", 0), **mlp("ibot_head.mlp.", 0)}
    return backbone, {"teacher": {**under("backbone.", state), **head}}


def swav() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    heads = {**mlp("projection_head.", 0, 3), "prototypes.weight": torch.ones(5, 4)}
    return backbone, under("module.", {**state, **heads})


def moco() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = {**under("module.encoder_q.", {**state, **mlp("fc.", 0, 2)})}
    model |= under("module.encoder_k.", {**others(state), **mlp("fc.", 0, 2)})
    model |= {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1).long()}
    return backbone, {"epoch": 200, "arch": "resnet50", "state_dict": model, "optimizer": {}}


def moco_v3() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = {**under("module.base_encoder.", {**state, **mlp("fc.", 0, 1, 3)})}
    model |= under("module.momentum_encoder.", {**others(state), **mlp("fc.", 0, 1, 3)})
    return backbone, {"state_dict": {**model, **mlp("module.predictor.", 0)}, "scaler": {}}


def moco_v3_vit() -> tuple[Backbone, Any]:
    # Of the published width, since its heads are known by it.
    network = Network(depths=(2,), patch_size=16, heads=12)
    backbone = _seeded("vit_small", network, 64)
    state = {**named(VIT, backbone), **mlp("head.", 0, 3, 6)}
    return backbone, {"arch": "vit_small", "state_dict": under("module.base_encoder.", state)}


def mae() -> tuple[Backbone, Any]:
    backbone, state = plain_vit()
    decoder = {
        "mask_token": torch.ones(1, 1, 8),
        "decoder_pos_embed": torch.ones(1, 17, 8),
        "decoder_embed.weight": torch.ones(8, 64),
        "decoder_blocks.0.norm1.weight": torch.ones(8),
        "decoder_norm.weight": torch.ones(8),
        "decoder_pred.weight": torch.ones(48, 8),
    }
    return backbone, {"model": {**state, **decoder}, "epoch": 1, "args": argparse.Namespace()}


def msn() -> tuple[Backbone, Any]:
    backbone, state = plain_vit()
    head = {f"fc.fc{i}.weight": torch.ones(4, 4) for i in (1, 2, 3)}
    return backbone, {
        "encoder": under("module.", {**others(state), **head}),
        "opt": {},
        "prototypes": torch.ones(8, 4),
        "target_encoder": under("module.", {**state, **head}),
        "temperature": 0.1,
    }


def ijepa() -> tuple[Backbone, Any]:
    backbone = vit(class_token=False)
    state = named(IJEPA, backbone)
    return backbone, {
        "encoder": under("module.", others(state)),
        "predictor": {"module.predictor_embed.weight": torch.ones(4, 64)},
        "target_encoder": under("module.", state),
        "opt": {},
        "scaler": None,
    }


def simsiam() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = under("module.encoder.", {**state, **mlp("fc.", 0, 1, 3, 4, 6)})
    return backbone, {"arch": "resnet50", "state_dict": {**model, **mlp("module.predictor.", 0, 3)}}


def tonylins() -> tuple[Backbone, Any]:
    backbone, content = torchvision_file()
    return backbone, {"state_dict": content}


def lightly() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    model = {**under("backbone.", state), **mlp("projection_head.layers.", 0, 3)}
    return backbone, {"epoch": 1, "pytorch-lightning_version": "2.0", "state_dict": model}


def lightly_example() -> tuple[Backbone, Any]:
    # nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
    backbone, state = tv18()
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    numbered = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        numbered[f"backbone.{places[first]}.{rest}"] = value
    return backbone, {"state_dict": {**numbered, **mlp("projection_head.layers.", 0, 1)}}


def solo_learn() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    model = {**under("backbone.", state), **under("momentum_backbone.", others(state))}
    model |= {**mlp("projector.", 0, 2), **mlp("momentum_projector.", 0), **mlp("classifier.", 0)}
    return backbone, {"state_dict": model, "hyper_parameters": argparse.Namespace(method="byol")}


def solo_learn_before() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    return backbone, {"state_dict": {**under("encoder.", state), **mlp("classifier.", 0)}}


def stable_pretraining() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    return backbone, {"state_dict": {**under("backbone.", state), **mlp("projector.", 0)}}


def vissl() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = {"trunk": under("_feature_blocks.", state), "heads": mlp("0.clf.0.", 0)}
    return backbone, {"classy_state_dict": {"base_model": {"model": model}, "loss": {}}}


def mmpretrain_resnet() -> tuple[Backbone, Any]:
    backbone, state = tv50()
    model = {**under("backbone.", state), **mlp("neck.", 0), "head.fc.weight": torch.ones(4, 4)}
    model |= under("encoder_k.module.0.", others(state))
    return backbone, {"meta": {"epoch": 1}, "state_dict": {**model, "queue": torch.ones(4, 8)}}


def mmpretrain_vit() -> tuple[Backbone, Any]:
    backbone = vit()
    state = named(MMPRETRAIN, backbone, VIT)
    return backbone, {"state_dict": {**under("backbone.", state), **mlp("head.layers.head.", 0)}}


def sthalles() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    return backbone, {
        "arch": "resnet18",
        "state_dict": under("backbone.", state | mlp("fc.", 0, 2)),
    }


def spijkervet() -> tuple[Backbone, Any]:
    backbone, state = tv18()
    return backbone, {**under("encoder.", state), **mlp("projector.", 0, 2)}


def fastai() -> tuple[Backbone, Any]:
    # vision_learner: Sequential(body, head); the body is the children of torchvision's network.
    backbone, content = lightly_example()
    body = {k: v for k, v in content["state_dict"].items() if k.startswith("backbone.")}
    body = {key.replace("backbone.", "0."): value for key, value in body.items()}
    return backbone, {"model": {**body, **mlp("1.", 2, 4, 8)}, "opt": {}}


CASES = (
    Case("torchvision", torchvision_file, "", "torchvision", file="resnet50-{sha}.pth"),
    Case("torchvision ViT", torchvision_vit, "", "torchvision", file="vit_b_16-{sha}.pth"),
    Case("transformers ResNet", transformers_resnet, "resnet.", "a file of unknown origin"),
    Case("transformers ViT", transformers_vit, "vit.", "a file of unknown origin"),
    Case("transformers DINOv2", transformers_dinov2, "", "DINOv2", file="dinov2-small.bin"),
    Case("timm registers", timm_registers, "", "a file of unknown origin"),
    Case("VICReg", tv50, "", "a file of unknown origin", file="resnet50.pth"),
    Case("VICReg full", vicreg, "model: module.backbone.", "VICReg or Barlow Twins"),
    Case("Barlow Twins", barlow_twins, "model: module.backbone.", "Barlow Twins"),
    Case("DINO", plain_vit, "", "DINO", file="dino_deitsmall16_pretrain.pth"),
    Case("DINO full", dino, "teacher: backbone.", "DINO"),
    Case("DINOv2", dinov2, "", "DINOv2", file="dinov2_vits14_reg4_pretrain.pth"),
    Case("DINOv2 teacher", dinov2_teacher, "teacher: backbone.", "DINOv2"),
    Case("SwAV", swav, "module.", "SwAV or DeepCluster v2", file="swav_800ep_pretrain.pth.tar"),
    Case("MoCo v2", moco, "state_dict: module.encoder_q.", "MoCo", file="moco.pth.tar"),
    Case("MoCo v3", moco_v3, "state_dict: module.base_encoder.", "MoCo v3"),
    Case("MoCo v3 ViT", moco_v3_vit, "state_dict: module.base_encoder.", "MoCo v3"),
    Case("MAE", mae, "model", "MAE", file="mae_pretrain_vit_base_full.pth"),
    Case("MSN", msn, "target_encoder: module.", "MSN", file="vits16_800ep.pth.tar"),
    Case("I-JEPA", ijepa, "target_encoder: module.", "I-JEPA"),
    Case("SimSiam", simsiam, "state_dict: module.encoder.", "SimSiam"),
    Case(
        "SimCLR converted",
        tonylins,
        "state_dict",
        "SimCLR of TensorFlow, converted",
        0.0,
        file="resnet50-1x.pth",
    ),
    Case("lightly", lightly, "state_dict: backbone.", "lightly", file="last.ckpt"),
    Case("lightly example", lightly_example, "state_dict: backbone.", "lightly"),
    Case("lightly-train", tv18, "", "a file of unknown origin", file="exported_last.pt"),
    Case("solo-learn", solo_learn, "state_dict: backbone.", "solo-learn", file="byol.ckpt"),
    Case("solo-learn before", solo_learn_before, "state_dict: encoder.", "solo-learn"),
    Case(
        "stable-pretraining",
        stable_pretraining,
        "state_dict: backbone.",
        "a file of unknown origin",
    ),
    Case(
        "VISSL",
        vissl,
        "classy_state_dict/base_model/model/trunk: _feature_blocks.",
        "VISSL",
        file="model_final.torch",
    ),
    Case("OpenMMLab", mmpretrain_resnet, "state_dict: backbone.", "OpenMMLab"),
    Case("OpenMMLab ViT", mmpretrain_vit, "state_dict: backbone.", "OpenMMLab"),
    Case("sthalles", sthalles, "state_dict: backbone.", "sthalles/SimCLR", 0.0),
    Case("spijkervet", spijkervet, "encoder.", "spijkervet/SimCLR", 0.0, file="checkpoint_100.tar"),
    Case("fastai", fastai, "model: 0.", "fastai"),
)
