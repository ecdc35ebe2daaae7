"""Files of weights that others wrote, read without running code that comes with them."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfsight.console import counted
from selfsight.networks.weights import HEADER

CLOSED = "Nothing was loaded."
_DEPTH = 16  # dictionaries inside each other; deeper ones are not looked into

_REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+) was not")
_BLOCKED = re.compile(r"unsupported GLOBAL (\S+) whose module")
_NAMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt|bin|ckpt|safetensors|pth\.tar)$")

HARMLESS = frozenset(
    {
        "argparse.Namespace",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "numpy.dtype",
        "numpy.ndarray",
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("scalar", "_reconstruct")
        ),
        *(
            f"numpy.dtypes.{kind}DType"
            for kind in ("Bool", "Float32", "Float64", "Int32", "Int64", "UInt8")
        ),
        *(
            f"{module}.{kind}Path"
            for module in ("pathlib", "pathlib._local")
            for kind in ("Posix", "PurePosix", "Windows", "PureWindows")
        ),
        "typing.Any",
        *(f"builtins.{kind}" for kind in ("dict", "list", "tuple", "int", "str", "float", "bool")),
    }
)
"""Classes that checkpoints hold beside their tensors. None is made: `Stub` stands in for each."""

_OMEGACONF = re.compile(r"omegaconf\.(?:\w+\.)*\w+")

_BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUMPY": "a NumPy array",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"version https://git-lfs": "the pointer of Git LFS and not the file; run `git lfs pull`",
    b"<!DOCTYPE": "a web page and not the file; download the file itself",
    b"<html": "a web page and not the file; download the file itself",
    b"GGUF": "a GGUF file",
    b"%PDF": "a PDF",
}


class Stub:
    """Stands in for a class of `HARMLESS`: takes anything, keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Stub:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def read_file(path: str | Path) -> dict[str, Any]:
    """The tensors of a file in the dictionaries that they are in; nothing else of it.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote, whatever its name ends in.

    Raises:
        ValueError: no such file, one of another kind, a damaged one, one that needs code to be
            read, or one whose name promises another hash.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"weights {path}: a folder without settings.yaml is no run; name a file.")
    if not path.is_file():
        raise ValueError(f"weights {path}: there is no such file.")
    _check_beginning(path)
    content = _safetensors(path) if _is_safetensors(path) else _torch_file(path)
    kept = _tensors_in(content, 0)
    if not kept:
        raise ValueError(
            f"weights {path}: there is no tensor with a name in it (it holds {_kind(content)}). "
            + CLOSED
        )
    return kept


def sha256_of(path: str | Path) -> str:
    """The hash of a file, 64 hexadecimal digits.

    Raises:
        ValueError: the file's name ends in the first digits of another one, as those of
            torchvision, timm and OpenMMLab do.
    """
    path = Path(path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = _NAMED_HASH.search(path.name)
    if named and not digest.startswith(named[1]) and not _is_date(named[1]):
        raise ValueError(
            f"weights {path}: its name says that its sha256 begins with {named[1]}, and it begins "
            f"with {digest[: len(named[1])]}: the file is damaged or another one. Download it "
            f"again, or rename it if you trust it. {CLOSED}"
        )
    return digest


def header_of(path: str | Path) -> dict[str, Any]:
    """What selfsight wrote into a file of its own; empty for any other, and for a damaged one."""
    from safetensors import SafetensorError, safe_open

    if not _is_safetensors(Path(path)):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def architecture_beside(path: Path) -> str:
    """What timm's card in the same folder calls the network, as in a copy of a hub repository.

    Empty where there is no such card.
    """
    try:
        card = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = card.get("architecture") if isinstance(card, dict) else None
    return name if isinstance(name, str) else ""


def _is_date(digits: str) -> bool:
    try:
        return 1990 < datetime.strptime(digits, "%Y%m%d").year < 2100
    except ValueError:
        return False


def _check_beginning(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(64)
    for beginning, what in _BEGINNINGS.items():
        if start.lstrip().startswith(beginning):
            raise ValueError(f"weights {path}: it is {what}. {CLOSED}")
    if not start:
        raise ValueError(f"weights {path}: the file is empty. {CLOSED}")


def _is_safetensors(path: Path) -> bool:
    """By its content: eight bytes of a length, then that many of JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:9] == b"{" or path.suffix == ".safetensors"


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"weights {path}: it is not a whole safetensors file: {error}. {CLOSED}"
        ) from None


def _torch_file(path: Path) -> Any:
    """What ``torch.save`` wrote, with `Stub` for the classes that are known to be harmless."""
    allowed: list[Any] = []
    while True:
        try:
            with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            if blocked := _BLOCKED.search(str(error)):
                raise ValueError(
                    f"weights {path}: reading it would run {blocked[1]}, a command of the system; "
                    f"do not use this file. {CLOSED}"
                ) from None
            refused = _REFUSED.search(str(error))
            name = None if refused is None else refused[1]
            if name is None or name in {known for _, known in allowed} or not _harmless(name):
                raise ValueError(f"weights {path}: {_why(error, name)} {CLOSED}") from None
            allowed.append((Stub, name))


def _harmless(name: str) -> bool:
    return name in HARMLESS or _OMEGACONF.fullmatch(name) is not None


def _why(error: Exception, name: str | None) -> str:
    way_out = (
        "If you trust it, write its tensors into a file of their own where that library is "
        "installed: torch.save(model.state_dict(), 'state.pth')."
    )
    if "TorchScript" in str(error):
        return f"it is a program (TorchScript) and not a state dict. {way_out}"
    if name is None:
        return "it is not a file of PyTorch weights, or it is not whole."
    if name.startswith(("fastai.", "fastcore.")):
        return f"it is a whole fastai Learner (export.pkl), which only code can read. {way_out}"
    if name.startswith("torch.nn.") or ".models." in name or ".backbones." in name:
        return f"it holds a whole module ({name}) and not a state dict. {way_out}"
    return f"reading it would run {name}, which is refused. {way_out}"


def _tensors_in(content: Any, depth: int) -> dict[str, Any]:
    """Nested dictionaries of tensors by name; what holds none is left out."""
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return {}
    kept: dict[str, Any] = {}
    for key, value in content.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, Tensor):
            kept[key] = value.detach()
        elif inner := _tensors_in(value, depth + 1):
            kept[key] = inner
    return kept


def _kind(content: Any) -> str:
    if isinstance(content, Tensor):
        return f"one tensor {tuple(content.shape)}"
    if isinstance(content, Mapping):
        return f"a dictionary of {counted(len(content), 'entry', 'entries')}"
    return f"a {type(content).__name__}"
