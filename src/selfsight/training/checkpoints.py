"""Checkpoints that appear whole or not at all, carry a checksum, and never hold a NaN.

The backbones of epochs that are kept are written here, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from selfsight.console import warn
from selfsight.files import digest_of, replacing
from selfsight.networks.backbone_files import save_backbone
from selfsight.runs.checkpoint import MAGIC, whole
from selfsight.stops import Stopped, StopRequest

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""The newest good checkpoint of a run, and the one before it."""


class NotFiniteError(ValueError):
    """Loss or weights are not finite: the training has diverged."""


class StopAfterStep(Exception):  # noqa: N818 (no error: the training leaves Lightning by it)
    """The training ends after a step whose checkpoint is on disk."""


class AtomicIO(TorchCheckpointIO):
    """A checkpoint appears whole or not at all: Lightning's own goes through another disk.

    A checksum follows torch's archive, whose own checksums torch does not compare. The checkpoint
    before it stays as ``previous.ckpt``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)
            digest = digest_of(temporary)
            with open(temporary, "ab") as file:
                file.write(MAGIC + digest.encode())
            if path.is_file():
                with replacing(path.with_name(PREVIOUS)) as before:
                    before.unlink()
                    _linked(path, before)


def _linked(path: Path, copy: Path) -> None:
    """A second name for a file; a copy on a disk that has no hard links."""
    try:
        os.link(path, copy)
    except OSError:
        copy.write_bytes(path.read_bytes())


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint to go on from; None where none has been written.

    Raises:
        ValueError: there are checkpoints, and all of them are damaged.
    """
    paths = [folder / LAST, folder / PREVIOUS]
    for path in paths:
        if whole(path):
            if path.name == PREVIOUS:
                warn(f"{paths[0]} is damaged or missing: going on from {path}, the one before it.")
            return path
    if there := [str(path) for path in paths if os.path.lexists(path)]:
        raise ValueError(
            f"{' and '.join(there)}: damaged, their content does not match their checksum. "
            f"Restore one of them, or delete the folder {folder} to train from the start."
        )
    return None


class Checkpoints(pl.Callback):
    """One checkpoint at the end of each epoch, every ``steps`` steps inside it, and at a stop.

    Gradients that are being accumulated are in no checkpoint: inside an epoch it waits for the
    optimizer's step. It must come last, so that what other callbacks wrote is on disk before it.

    Args:
        folder: of the checkpoints.
        steps: between two of them; None: one at the end of each epoch.
        stop: whether a signal has asked to end.
        agree: steps after which several processes look at each other's signals.
    """

    def __init__(self, folder: Path, steps: int | None, stop: StopRequest, agree: int) -> None:
        self.folder, self.steps, self.stop, self.agree = folder, steps, stop, agree
        self.due = False
        self.finite: list[torch.Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        buffers = [b for b in module.buffers() if b.is_floating_point()]
        self.finite = [b for b in buffers if bool(torch.isfinite(b).all())]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        inside = module.step % len(module.loader) != 0
        if self.steps is not None and module.step % self.steps == 0:
            self.due = True
        if not inside or not module.window_ended:
            return
        stopping = self._stopping(trainer, module.step)
        if self.due or stopping:
            self._save(trainer, module)
        if stopping:
            raise StopAfterStep

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        self._save(trainer, module)
        last = module.step >= module.total_steps
        if self._stopping(trainer, 0) and not last:
            raise StopAfterStep

    def _stopping(self, trainer: pl.Trainer, step: int) -> bool:
        if trainer.world_size == 1:
            return self.stop.number != 0
        # The processes must stop after the same step; asking costs a wait for the device.
        if step % self.agree:
            return False
        number = torch.tensor(self.stop.number, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        self.stop.number = int(number)
        return self.stop.number != 0

    def _save(self, trainer: pl.Trainer, module: Any) -> None:
        self.due = False
        self._check(trainer, module)
        trainer.save_checkpoint(self.folder / LAST)

    def _check(self, trainer: pl.Trainer, module: Any) -> None:
        """A checkpoint that cannot be trained on would take the place of a good one."""
        held = [p for p in module.parameters() if p.is_floating_point()] + self.finite
        for optimizer in trainer.optimizers:
            for state in optimizer.state.values():
                held += [v for v in state.values() if torch.is_tensor(v) and v.is_floating_point()]
        with torch.no_grad():
            bad = torch.stack([~torch.isfinite(v).all() for v in held]).any()
        if bool(bad):
            raise NotFiniteError("The weights are")


def stopped(request: StopRequest, step: int, path: Path) -> Stopped:
    """What a training that ended after a step raises."""
    return Stopped(
        request.number, f"{path} holds step {step}; start the same command again to go on."
    )


class KeptBackbones(pl.Callback):
    """The backbone after every ``every`` epochs, in the form of the last one.

    Args:
        folder: of the files ``epoch-N.safetensors``, N from 1 on.
        every: epochs between two of them.
        extra: what else belongs to a backbone, see `save_backbone`.
    """

    def __init__(self, folder: Path, every: int, extra: dict[str, Any]) -> None:
        self.folder, self.every, self.extra = folder, every, extra

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        finite = all(bool(torch.isfinite(p).all()) for p in module.method.backbone.parameters())
        # Where they are not, the checkpoint that follows ends the training.
        if trainer.is_global_zero and epoch % self.every == 0 and finite:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"epoch-{epoch}.safetensors"
            save_backbone(path, module.method.backbone, self.extra)
