"""A training step never waits for the device: nothing is read from it between two batches.

On a CPU a dispatch mode refuses the operations that a GPU would have to be waited for; on a GPU
torch itself does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import selfsight
from selfsight.data.imageset import ImageSet, class_target
from selfsight.methods import METHODS
from selfsight.views import apply

WAITS = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "histc",
    "repeat_interleave",
    "_assert_async",
}
"""What needs a number, or a shape, from the device."""


class Refuse(TorchDispatchMode):
    """Raises where an operation of `WAITS` is called, or an index is a mask (its size is read)."""

    readers = ("tolist", "numpy", "__array__", "cpu")
    """What reads a tensor of the CPU without any operation."""

    def __enter__(self) -> Any:
        self.patch = pytest.MonkeyPatch()
        for reader in self.readers:
            self.patch.setattr(torch.Tensor, reader, self._refuse(reader))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.patch.undo()
        super().__exit__(*error)

    @staticmethod
    def _refuse(reader: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError(f"the step waits for the device: {reader}")

        return refuse

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in WAITS, f"the step waits for the device: {name}"
        if name in ("index", "index_put", "index_put_"):
            masks = [x for x in args[1] if x is not None and x.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"the step waits for the device: {name} by a mask"
        return func(*args, **(kwargs or {}))


class Watch(pl.Callback):
    """Inside a step, from before the views to after the teacher's update.

    Not in the first step, which makes constants that later ones find, nor in the last of an epoch,
    after which a row of metrics is read.
    """

    first = 1

    def __init__(self) -> None:
        self.watched = 0
        self.mode: Refuse | None = None

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if self.first <= batch_idx < trainer.num_training_batches - 1:
            self.watched += 1
            self.open()

    def open(self) -> None:
        self.mode = Refuse()
        self.mode.__enter__()

    def on_exception(self, *_: Any) -> None:
        self.close()  # Lightning tidies up, and reads what it likes

    def on_train_batch_end(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.mode is not None:
            self.mode.__exit__(None, None, None)
        self.mode = None


class WatchGpu(Watch):
    """torch raises where the host waits."""

    def open(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def close(self) -> None:
        torch.cuda.set_sync_debug_mode("default")


def images(count: int = 80) -> ImageSet:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (count, 16, 16, 3)).astype(np.uint8)
    splits = np.array(["train"] * (count - 8) + ["validation"] * 4 + ["test"] * 4)
    ids = np.array([f"{i}.png" for i in range(count)])
    labels = class_target("kind", np.arange(count) % 3, "abc")
    return ImageSet("made", pixels, ids, splits, {"kind": labels})


def train(method: str, out: Path, watch: Watch, device: str, **changes: Any) -> None:
    from selfsight.training.pretrain import pretrain
    from selfsight.training.settings import Pretrain

    given = {
        "out": str(out),
        "device": device,
        "batch_size": 16,
        "epochs": 1,
        "monitor_images": 0,
        "log_every": 1000,
        "backbone": "resnet18",
        "network.widths": (8, 8),
        "network.depths": (1, 1),
        **changes,
    }
    heads = {"projector": (32, 32), "prototypes": 64, "hidden": 32, "bottleneck": 16}
    fields = METHODS[method].Settings.model_fields
    given |= {f"method.{key}": value for key, value in heads.items() if key in fields}
    base = Pretrain.model_validate({"method": method, "data": "made"})
    try:
        pretrain(base.updated(given), images(), watching=[watch])
    finally:
        watch.close()


@pytest.mark.parametrize(
    ("method", "preset"),
    [
        (name, preset)
        for name in METHODS
        for preset in METHODS[name].presets
        if preset != "continue"
    ],
)
def test_on_a_cpu_nothing_is_read(
    method: str, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the views of a GPU; the paper's preset brings LARS, clipping and decaying weights."""
    monkeypatch.setattr(apply, "_may_wait", lambda images: False)
    watch = Watch()
    lengths = METHODS[method].presets[preset].epochs  # as shares: the training has one epoch
    given = {**dict.fromkeys(lengths, 0.2), "preset": preset}
    train(method, tmp_path / "run", watch, "cpu", **given)
    assert watch.watched == 2


def test_labels_joined_to_a_method_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_may_wait", lambda images: False)
    watch = Watch()
    train("simclr", tmp_path / "run", watch, "cpu", **{"supervision.weight": 1.0})
    assert watch.watched == 2


def test_the_guard_finds_what_waits(tmp_path: Path) -> None:
    """The views of a CPU look at what was drawn: the same training with them is refused."""
    with pytest.raises(AssertionError, match="waits for the device"):
        train("simclr", tmp_path / "run", Watch(), "cpu")
    for read in (lambda x: x.item(), bool, float, lambda x: x.tolist(), lambda x: x[x > 0]):
        with pytest.raises(AssertionError, match="waits"), Refuse():
            read(torch.ones(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
@pytest.mark.parametrize("compiled", ["off", "on"])
@pytest.mark.parametrize("method", METHODS)
def test_on_a_gpu_nothing_is_waited_for(method: str, compiled: str, tmp_path: Path) -> None:
    watch = WatchGpu()
    train(method, tmp_path / "run", watch, "cuda", compile=compiled)
    assert watch.watched == 2
    assert selfsight.load(tmp_path / "run") is not None
