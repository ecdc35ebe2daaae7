"""Checkpoints that appear whole or not at all, and the backbones of epochs that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from selfsight.files import replacing
from selfsight.networks.backbones import save_backbone


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
        if trainer.is_global_zero and epoch % self.every == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"epoch-{epoch}.safetensors"
            save_backbone(path, module.method.backbone, self.extra)
