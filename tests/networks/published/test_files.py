"""Files that are no weights, or are meant to do harm: nothing is loaded, each gets a sentence."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from selfsight.networks.architectures import build_backbone
from selfsight.networks.published.files import read_file, sha256_of
from selfsight.networks.published.find import find_start
from selfsight.networks.specs import Network, choose_backbone

MARK = "selfsight-was-here"


def state() -> dict[str, Tensor]:
    network = Network(widths=(8, 8), depths=(1, 1))
    made = build_backbone(choose_backbone("resnet18", network, 3, 16), seed=0).network
    return {key: value.clone() for key, value in made.state_dict().items()}


def saved(content: Any, **options: Any) -> bytes:
    import io

    data = io.BytesIO()
    torch.save(content, data, **options)
    return data.getvalue()


class Calls:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class MyDict(dict):  # type: ignore[type-arg]
    """A subclass, as Lightning's AttributeDict is."""


class Learner:
    """Of a library that is not here."""


Learner.__module__, Learner.__qualname__ = "fastai.learner", "Learner"


def whole_learner() -> bytes:
    import sys
    from types import ModuleType

    sys.modules["fastai"], sys.modules["fastai.learner"] = ModuleType("fastai"), ModuleType("l")
    sys.modules["fastai.learner"].Learner = Learner  # type: ignore[attr-defined]
    try:
        return saved(Learner())
    finally:
        del sys.modules["fastai"], sys.modules["fastai.learner"]


def zipped(**files: bytes) -> bytes:
    import io

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return data.getvalue()


def changed(**changes: Any) -> dict[str, Any]:
    """The state of a network with some tensors replaced or, by None, left out."""
    whole: dict[str, Any] = {**state()}
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del whole[name]
        else:
            whole[name] = value
    return whole


def deep(levels: int) -> Any:
    content: Any = state()
    for _ in range(levels):
        content = {"inner": content}
    return content


def cyclic() -> Any:
    content: dict[str, Any] = {}
    content["self"] = content
    return content


FILES: dict[str, Callable[[], bytes]] = {
    # Not weights at all.
    "empty": lambda: b"",
    "one byte": lambda: b"\x80",
    "text": lambda: b"conv1.weight = 3\n",
    "json": lambda: b'{"conv1.weight": [1, 2, 3]}',
    "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(64),
    "jpeg": lambda: b"\xff\xd8\xff\xe0" + bytes(64),
    "hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(64),
    "parquet": lambda: b"PAR1" + bytes(64),
    "npy": lambda: b"\x93NUMPY\x01\x00" + bytes(64),
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(64),
    "web page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "git lfs pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "zip of other things": lambda: zipped(readme=b"hello"),
    "npz": lambda: zipped(**{"conv1.weight.npy": b"\x93NUMPY"}),
    # Damaged.
    "half a zip": lambda: saved(state())[:-2000],
    "half a pickle": lambda: saved(state(), _use_new_zipfile_serialization=False)[:-2000],
    "half a safetensors": lambda: save(state())[:-2000],
    "safetensors without a header": lambda: b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all",
    "a header beyond the file": lambda: (10**12).to_bytes(8, "little") + b"{}",
    "zip with an empty pickle": lambda: zipped(archive__data=b"", **{"archive__data.pkl": b""}),
    # Code.
    "os.system": lambda: saved({"w": Calls(os.system, f"touch {MARK}")}),
    "os.system in the old format": lambda: saved(
        {"w": Calls(os.system, f"touch {MARK}")}, _use_new_zipfile_serialization=False
    ),
    "eval": lambda: saved({"w": Calls(eval, f"open({MARK!r}, 'w')")}),
    "getattr": lambda: saved({"w": Calls(getattr, "text", "upper")}),
    "a file opened": lambda: saved({"w": Calls(open, MARK, "w")}),
    "plain pickle with code": lambda: pickle.dumps(Calls(os.system, f"touch {MARK}")),
    "code behind a harmless class": lambda: saved(
        {**state(), "args": argparse.Namespace(x=Calls(os.system, f"touch {MARK}"))}
    ),
    "a whole module": lambda: saved(nn.Linear(2, 2)),
    "a whole module inside": lambda: saved({"model": nn.Conv2d(3, 8, 3)}),
    "a fastai learner": whole_learner,
    "a subclass of dict": lambda: saved({"state_dict": MyDict(state())}),
    "a defaultdict": lambda: saved(collections.defaultdict(dict, {"a": {"b": torch.ones(2)}})),
    "a script": lambda: _scripted(),
    # Tensors, but no weights of a network.
    "one tensor": lambda: saved(torch.ones(3)),
    "a list of tensors": lambda: saved([torch.ones(3)]),
    "keys that are numbers": lambda: saved({0: torch.ones(3)}),
    "nothing": lambda: saved(None),
    "an empty state": lambda: saved({}),
    "a dictionary in itself": lambda: saved(cyclic()),
    "forty dictionaries deep": lambda: saved(deep(40)),
    "another network": lambda: saved({"features.0.0.weight": torch.ones(8, 3, 3, 3)}),
    # Nearly the network.
    "a parameter missing": lambda: saved(changed(bn1__weight=None)),
    "a buffer missing": lambda: saved(changed(bn1__running_var=None)),
    "one that is too long": lambda: saved(changed(bn1__bias=torch.ones(9))),
    "transposed": lambda: saved(changed(layer2__0__conv1__weight=torch.ones(8, 8, 3, 1))),
    "not a number": lambda: saved(changed(bn1__bias=torch.full((8,), torch.nan))),
    "infinite": lambda: saved(changed(conv1__weight=torch.full((8, 3, 3, 3), torch.inf))),
    "a variance below 0": lambda: saved(changed(bn1__running_var=torch.full((8,), -1.0))),
    "whole numbers": lambda: saved(changed(bn1__weight=torch.ones(8, dtype=torch.int32))),
    "complex": lambda: saved(changed(bn1__weight=torch.ones(8, dtype=torch.complex64))),
    "sparse": lambda: saved(changed(bn1__weight=torch.ones(8).to_sparse())),
    "huge by its strides": lambda: saved(changed(bn1__weight=torch.ones(1).expand(10**9))),
    "text for a tensor": lambda: saved(changed(bn1__weight="0.5")),
}


def _scripted() -> bytes:
    import io

    data = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), data)
    return data.getvalue()


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("backbone", ["auto", "resnet18"])
def test_a_foreign_file_loads_nothing_in_silence(
    name: str, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    path.write_bytes(FILES[name]())
    network = Network(widths=(8, 8), depths=(1, 1)) if backbone != "auto" else Network()
    with pytest.raises(ValueError, match=r"^weights .*weights\.pth: .*Nothing was loaded\.$"):
        find_start(str(path), backbone, network, channels=3, image_size=16)
    assert not (tmp_path / MARK).exists()


def test_the_whole_network_would_have_been_loaded(tmp_path: Path) -> None:
    """The other half of the cases above: what they start from is taken."""
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(changed()))
    found = find_start(str(path), "auto", Network(), channels=3, image_size=16)
    assert set(found.tensors) == set(state())


def test_what_checkpoints_hold_beside_their_tensors_is_left_unread(tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("/x")),
        "when": datetime.datetime(2024, 1, 1),
        "best": np.float64(0.7),
        "curve": np.arange(3),
        "history": np.zeros(3, np.float32),
    }
    for before in (False, True):
        path = tmp_path / f"{before}.ckpt"
        data = saved({"state_dict": state(), **beside}, _use_new_zipfile_serialization=not before)
        path.write_bytes(data)
        content = read_file(path)
        assert set(content) == {"state_dict"}
        assert torch.equal(content["state_dict"]["conv1.weight"], state()["conv1.weight"])


def test_a_hash_in_the_name_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "resnet50-0676ba61.pth"
    path.write_bytes(saved(state()))
    with pytest.raises(ValueError, match=r"begins with 0676ba61, and it begins with [0-9a-f]{8}:"):
        sha256_of(path)
    for name in ("model-20240131.pth", "resnet50.pth", "run-12.ckpt"):
        sha256_of(path.rename(tmp_path / name))
        path = tmp_path / name
    digest = sha256_of(path)
    sha256_of(path.rename(tmp_path / f"r50_20210831-{digest[:8]}.pth"))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no such file"):
        read_file(tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"is no run; name a file"):
        read_file(tmp_path)


def test_a_safetensors_file_of_any_name(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "model.bin")
    assert set(read_file(tmp_path / "model.bin")) == set(state())
