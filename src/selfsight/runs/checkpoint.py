"""Reading a checkpoint: whether it is whole, what it is of, and the weights in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from selfsight.files import digest_of
from selfsight.runs.folder import RunFolder

MAGIC = b"selfsight"
_TAIL = len(MAGIC) + 32

RECORD = "selfsight"
"""Key of a checkpoint: settings and inputs of its training, as JSON."""

SUFFIX = ".ckpt"


def in_run(path: str | Path) -> bool:
    """Whether a path names a checkpoint in the folder of a run.

    Other files with this suffix may hold anybody's weights.
    """
    path = Path(path)
    if path.suffix != SUFFIX or path.parent.name != RunFolder("").checkpoints.name:
        return False
    return RunFolder(path.resolve().parents[1]).settings.is_file()


def whole(path: Path) -> bool:
    """Whether a checkpoint is there and has the content that was written."""
    try:
        size = path.stat().st_size - _TAIL
        with open(path, "rb") as file:
            file.seek(max(size, 0))
            tail = file.read()
        return size > 0 and tail == MAGIC + digest_of(path, until=size).encode()
    except OSError:
        return False


def read_record(path: str | Path) -> dict[str, Any]:
    """What a checkpoint is of: settings, inputs, spec of the backbone, statistics.

    Raises:
        ValueError: selfsight did not write the file, or it is damaged.
    """
    record: dict[str, Any] = json.loads(_read(path)[RECORD])
    return record


def backbone_of(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of the backbone's network in a checkpoint, on the CPU.

    Raises:
        ValueError: as `read_record`.
    """
    state: dict[str, torch.Tensor] = _read(path)["state_dict"]
    place = ".backbone.network."
    prefix = min((k.partition(place)[0] + place for k in state if place in k), key=len)
    return {k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)}


def _read(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file.")
    if not whole(Path(path)):
        raise ValueError(f"{path} is damaged, or no checkpoint of selfsight.")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return checkpoint
