"""Weights on disk: one safetensors file with a JSON header, read without running code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.files import CHECKSUM, replacing

HEADER = "selfsight"


def write_weights(
    path: str | Path,
    network: nn.Module,
    header: dict[str, Any],
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the state of ``network`` and ``header``, whole or not at all.

    Args:
        path: the file.
        network: on any device.
        header: values that JSON holds.
        beside: further tensors, under names that are not the network's.
    """
    from safetensors.torch import save

    # Copies, since the format refuses tied weights and any memory format but the plain one.
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in {**network.state_dict(), **(beside or {})}.items()
    }
    text = json.dumps(header, allow_nan=False, sort_keys=True)
    metadata = metadata_of(tensors, text)
    content = _ordered(save(tensors, metadata))
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _ordered(content: bytes) -> bytes:
    """A safetensors file whose metadata are sorted: the library writes them in random order."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def metadata_of(tensors: dict[str, Tensor], text: str) -> dict[str, str]:
    """The metadata of a weights file: its header, and a checksum of that and the tensors."""
    return {HEADER: text, CHECKSUM: _digest(tensors, text)}


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """32 hexadecimal digits over names, shapes and values, and the header."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(repr((name, tuple(value.shape), str(value.dtype))).encode())
        if value.numel():
            digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file of `write_weights`, on the CPU, and its header.

    Raises:
        ValueError: no such file, a damaged one, or one that something else wrote.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}.") from None
    if HEADER not in metadata:
        raise ValueError(f"{path}: selfsight did not write this file; it has no such header.")
    if metadata.get(CHECKSUM) != _digest(tensors, metadata[HEADER]):
        raise ValueError(
            f"{path} is damaged: its content does not match its checksum. Restore it from a copy."
        )
    try:
        header = json.loads(metadata[HEADER])
    except ValueError as error:
        raise ValueError(f"{path}: its header is not valid JSON: {error}.") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header must be a JSON object.")
    return tensors, header


def put_weights(path: str | Path, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Makes the tensors of a file the state of ``network``.

    They become the parameters, in the file's precision, of a network on the meta device; into any
    other they are copied.

    Raises:
        ValueError: names, shapes or kinds of numbers differ; names the first that does.
    """
    state = network.state_dict()
    for names, what in ((state.keys() - tensors, "lacks"), (tensors.keys() - state, "has")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"{path} does not fit its network: it {what} {min(names)!r}{more}"
                + (", which the network does not know." if what == "has" else ".")
            )
    for name, value in state.items():
        given = tensors[name]
        if given.shape != value.shape:
            raise ValueError(
                f"{path} does not fit its network: {name!r} is {tuple(given.shape)} in the file "
                f"and {tuple(value.shape)} in the network."
            )
        if given.is_floating_point() != value.is_floating_point():
            raise ValueError(f"{path} does not fit its network: {name!r} is {given.dtype}.")
    network.load_state_dict(tensors, assign=any(value.is_meta for value in state.values()))
