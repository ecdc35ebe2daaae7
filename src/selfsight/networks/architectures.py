"""From a spec to the backbone: of one of our networks, a library's, or a file of one's own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from selfsight.networks import efficientnet_lite, resnet, vit
from selfsight.networks.backbones import Backbone, features_of
from selfsight.networks.specs import NAMES, BackboneSpec, known_backbone, library_of, resolved
from selfsight.plugins import OWN, described, run_file


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
        return Backbone(network, features_of(network, spec), spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_backbone(spec)


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
