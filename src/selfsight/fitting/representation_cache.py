"""Representations that are kept in the run.

A cache file is named by a hash of everything that goes into it: the weights, the pixels and row
ids, the preprocessing. A changed weight or datum has another name and never reads a stale file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.console import say
from selfsight.files import CHECKSUM, digest_of, write_cache
from selfsight.fitting.representations import represent
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import code_file

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet
    from selfsight.data.statistics import Statistics

_FORM = "1"  # raised when the same inputs would give other representations


def weights_key(backbone: nn.Module) -> str:
    """16 hexadecimal digits over the names, shapes and values of weights and buffers.

    Of a `Backbone` that a file of one's own makes, the content of the file counts too: with the
    same weights, other code computes other representations.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(backbone.state_dict().items()):
        digest.update(repr((name, tuple(value.shape), str(value.dtype))).encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    code = code_file(backbone.spec.name) if isinstance(backbone, Backbone) else None
    if code is not None and code.is_file():
        digest.update(digest_of(code).encode())
    return digest.hexdigest()


def cache_key(*parts: object) -> str:
    """One name for everything that a cached file depends on."""
    text = repr((_FORM, *parts)).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def kept_representations(
    folder: Path,
    name: str,
    backbone: Backbone,
    images: ImageSet,
    rows: NDArray[np.int64],
    statistics: Statistics,
    *,
    device: torch.device | str,
    said: str | None = None,
) -> Tensor:
    """`represent`, kept in a folder under a hash of everything that goes into it.

    Args:
        folder: of the cache, a run's.
        name: how the file's name begins.
        backbone, images, rows, statistics, device: see `represent`.
        said: what is told while they are made.
    """
    key = cache_key(
        weights_key(backbone), images.fingerprint(rows), statistics, backbone.spec.plain()
    )

    def make() -> Tensor:
        if said is not None:
            say(said)
        return represent(backbone, images, rows, statistics, device=device)

    return cached_tensor(folder, name, key, make)


def cached_tensor(folder: Path, name: str, key: str, make: Callable[[], Tensor]) -> Tensor:
    """The tensor kept as ``folder/name-key.safetensors``, made and written when it is not there."""
    from safetensors.torch import save_file

    path = folder / f"{name}-{key}.safetensors"

    values = _whole(path, key) if path.is_file() else None
    if values is not None:
        return values
    if path.exists():
        say(f"{path} is damaged: making it again.")
    values = made = make().contiguous()

    def write(temporary: Path) -> None:
        metadata = {"name": name, CHECKSUM: _digest(key, made)}
        save_file({"representations": made}, temporary, metadata=metadata)

    write_cache(path, write)
    return values


def _digest(key: str, values: Tensor) -> str:
    digest = hashlib.blake2b(repr((key, tuple(values.shape))).encode(), digest_size=16)
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b"")
    return digest.hexdigest()


def _whole(path: Path, key: str) -> Tensor | None:
    """What a cache file holds; None where it is damaged or of something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            checksum = (file.metadata() or {}).get(CHECKSUM)
            values: Tensor = file.get_tensor("representations")
    except (SafetensorError, OSError):
        return None
    return values if checksum == _digest(key, values) else None
