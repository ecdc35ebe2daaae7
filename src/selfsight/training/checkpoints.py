"""Checkpoints that appear whole or not at all, at the end of each epoch and inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from selfsight.files import replacing


class AtomicIO(TorchCheckpointIO):
    """A checkpoint appears whole or not at all: Lightning's own goes through another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)


class Checkpoints(pl.Callback):
    """One checkpoint at the end of each epoch, and every ``steps`` steps inside it.

    It must come last, so that what other callbacks wrote is on disk before it.
    """

    def __init__(self, path: Path, steps: int | None) -> None:
        self.path, self.steps = path, steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        inside = module.step % len(module.loader) != 0
        if self.steps is not None and inside and module.step % self.steps == 0:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        trainer.save_checkpoint(self.path)
