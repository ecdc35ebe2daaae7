"""``metrics.csv``, the trackers fed by it, and the progress bar that shows its last row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor

from selfsight.files import write_text
from selfsight.training.checkpoints import NotFiniteError

EPOCH_COLUMNS = ("knn", "effective_rank", "spread")


class Metrics(pl.Callback):
    """Writes a row every ``every`` steps and one at the end of each epoch.

    Losses are those of the step itself, not means, so that a resumed training writes the same
    bytes. They leave the device once a row.

    Args:
        path: of the CSV file.
        every: steps between two rows.
        trackers: Lightning loggers that get the same rows.
    """

    def __init__(self, path: Path, every: int, trackers: list[Logger]) -> None:
        self.path, self.every, self.trackers = path, every, trackers
        self.row: dict[str, float] = {}
        self.columns: list[str] = []
        self.text = ""

    def state_dict(self) -> dict[str, Any]:
        """The rows are in each checkpoint: the file cannot lack what the weights have seen."""
        return {"text": self.text}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.text = state_dict["text"]

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.is_global_zero:
            self.columns = self.text.partition("\n")[0].split(",") if self.text else []
            if self.text:
                write_text(self.path, self.text)
            else:
                self.path.unlink(missing_ok=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = module.step % len(module.loader) == 0
        if last or module.step % self.every == 0:
            self.row = self._row_of(module)
            if not last:
                self.write(trainer, {})

    def write(self, trainer: pl.Trainer, measured: Mapping[str, float]) -> None:
        """Adds the last row, with what was measured at the end of an epoch."""
        row = {**self.row, **measured}
        if not trainer.is_global_zero:
            return
        if not self.columns:
            losses = [name for name in self.row if name not in ("step", "epoch", "progress", "lr")]
            self.columns = ["step", "epoch", "progress", "lr", *losses, *EPOCH_COLUMNS]
            self.text = ",".join(self.columns) + "\n"
            write_text(self.path, self.text)
        text = io.StringIO()
        cells = {name: repr(value) for name, value in row.items() if math.isfinite(value)}
        csv.DictWriter(text, self.columns, lineterminator="\n").writerow(cells)
        self.text += text.getvalue()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text.getvalue())
        for tracker in self.trackers:
            tracker.log_metrics(
                {name: value for name, value in row.items() if name != "step"}, int(row["step"])
            )

    def _row_of(self, module: Any) -> dict[str, float]:
        losses: dict[str, Tensor] = module.losses
        values = torch.stack([loss.detach().double() for loss in losses.values()]).tolist()
        named = dict(zip(losses, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise NotFiniteError(f"The loss ({named}) is")
        step = module.step
        return {
            "step": step,
            "epoch": (step - 1) // len(module.loader),
            "progress": step / module.total_steps,
            "lr": module.lr,
            **named,
        }


class Bar(TQDMProgressBar):
    """Lightning's bar, showing the last row's loss and images/s."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(refresh_rate=5, leave=False)
        self.metrics_of = metrics

    def get_metrics(
        self, trainer: pl.Trainer, model: Any
    ) -> dict[str, int | str | float | dict[str, float]]:
        loss = self.metrics_of.row.get("loss")
        shown: dict[str, int | str | float | dict[str, float]] = {}
        if loss is not None:
            shown["loss"] = f"{loss:.4g}"
        if model.images_per_second:
            shown["images/s"] = f"{model.images_per_second:,.0f}"
            shown["left"] = model.time_left
        return shown
