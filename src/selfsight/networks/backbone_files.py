"""Backbones on disk: weights, spec and pooling in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from selfsight.networks.architectures import empty_network
from selfsight.networks.backbones import Backbone, features_of
from selfsight.networks.pooling import StagePooling
from selfsight.networks.specs import NAMES, BackboneSpec, library_of
from selfsight.networks.weights import put_weights, read_weights, write_weights
from selfsight.settings import sentence

POOLING = "selfsight:pooling."
"""How the keys of the pooling begin in a file, where no network has any."""


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
    if features_of(network, spec) != features:
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


def _without_weights(path: str | Path, spec: BackboneSpec, allow_code: bool) -> nn.Module:
    """The network of a file."""
    known = spec.name in NAMES or library_of(spec.name) is not None
    if not known and not spec.name.startswith("module:") and not allow_code:
        raise ValueError(
            f"{path}: its network is made by code, {spec.name}; read it, then allow it to run with "
            "--allow-code (from Python: allow_code=True)."
        )
    return empty_network(spec)
