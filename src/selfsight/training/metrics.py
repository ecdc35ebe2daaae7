"""``metrics.csv``, the trackers fed by it, and the status line that shows its last row."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from selfsight.console import Step, duration, progress, say
from selfsight.files import write_text
from selfsight.training.checkpoints import NotFiniteError
from selfsight.training.trackers import EPOCH_COLUMNS, Trackers


class Metrics(pl.Callback):
    """Writes a row every ``every`` steps and one at the end of each epoch.

    Losses are those of the step itself, not means, so that a resumed training writes the same
    bytes. They leave the device once a row.

    Args:
        path: of the CSV file.
        every: steps between two rows.
        trackers: get the same rows.
    """

    def __init__(self, path: Path, every: int, trackers: Trackers) -> None:
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
        self.trackers.row(row)

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


class Status(pl.Callback):
    """Shows how far the training is, with the last row's loss, and says once how long it takes."""

    STEPS = 10
    """Steps before the time that a training takes is told."""
    LONG = 20.0
    """Seconds from which on it is worth a line."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.open = contextlib.ExitStack()
        self.status: Step | None = None
        self.told = False

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        # The module learns its step after the callbacks.
        self.first = trainer.fit_loop.total_batch_idx + 1
        step = progress("training step", module.total_steps, self.first)
        self.status = self.open.enter_context(step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.status is not None
        loss, speed = self.metrics.row.get("loss"), module.images_per_second
        shown = [f"loss {loss:.4g}"] if loss is not None else []
        shown += [f"{speed:,.0f} images/s"] if speed else []
        self.status.update(1, "  ".join(shown))
        if not self.told and module.step - self.first >= self.STEPS and speed:
            self.told = True
            left = (module.total_steps - module.step) * module.loader.batch_size / speed
            if left >= self.LONG:
                say(f"The training takes about {duration(left)}.")

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.open.close()

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        self.open.close()
