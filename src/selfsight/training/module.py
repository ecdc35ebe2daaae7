"""A method under Lightning."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from selfsight.console import duration
from selfsight.data.loader import Loader, RawBatch
from selfsight.data.statistics import Statistics
from selfsight.distributed import with_global_statistics
from selfsight.method import Batch, Method, Optimizer, checked
from selfsight.runs.checkpoint import RECORD
from selfsight.training.optimizers import (
    add_pull,
    build_optimizer,
    clip_each,
    distance,
    set_schedule,
)
from selfsight.views.apply import make_views
from selfsight.views.settings import View


class MethodModule(pl.LightningModule):
    """Feeds batches to a method and steps its optimizer; all that Lightning has to know of it.

    Args:
        method: the objective with its backbone.
        loader: batches of raw images.
        views: resolved against the image set.
        statistics: of the channels.
        optimizer: its settings.
        seed: of dropout.
        accumulate_batches: batches whose gradients are added up before a step.
        anchor: strength of the pull to the weights that the backbone has now, see `add_pull`.
        record: what a checkpoint says it is of, see `resuming.record_of`.
    """

    def __init__(
        self,
        method: Method,
        loader: Loader,
        views: tuple[View, ...],
        statistics: Statistics,
        optimizer: Optimizer,
        *,
        seed: int,
        accumulate_batches: int = 1,
        anchor: float = 0.0,
        record: str = "{}",
    ) -> None:
        super().__init__()
        self.method, self.loader, self.views = method, loader, views
        self.statistics, self.settings, self.seed = statistics, optimizer, seed
        self.accumulate_batches, self.record = accumulate_batches, record
        self.anchor = anchor
        learning = [w for w in method.backbone.parameters() if w.requires_grad] if anchor else []
        # In no checkpoint: a training that goes on builds the same start again.
        self._pulled, self._start = learning, [w.detach().clone() for w in learning]
        self.epochs = loader.epochs
        self.losses: dict[str, Tensor] = {}
        self.embeddings: Tensor | None = None
        self.step, self.lr = 0, 0.0
        self._first_bad = torch.zeros((), dtype=torch.int64)
        self._progress = torch.zeros(())
        self._times: deque[float] = deque(maxlen=50)

    @property
    def total_steps(self) -> int:
        return self.epochs * len(self.loader)

    def configure_model(self) -> None:
        if self.trainer.world_size > 1:
            with_global_statistics(self.method)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        size = self.loader.batch_size * self.accumulate_batches
        return build_optimizer(self.settings, self.method, size)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[RECORD] = self.record

    def train_dataloader(self) -> Loader:
        self.loader.rank, self.loader.world = self.trainer.global_rank, self.trainer.world_size
        return self.loader

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch

    def on_train_start(self) -> None:
        self.step = self.loader.step = self.trainer.fit_loop.total_batch_idx + 1
        self._first_bad = self._first_bad.to(self.device)
        self._start = [weight.to(self.device) for weight in self._start]
        loop = self.trainer.fit_loop.epoch_loop
        # It reads a flag from the device at every step of several processes; `Checkpoints` asks
        # the processes where they read the device anyway.
        if self.trainer.world_size > 1:
            loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # The random state is in no checkpoint: dropout is seeded anew at each step.
        seed = (self.seed * 1_000_003 + self.step) * 4096 + self.trainer.global_rank
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(seed)

    def training_step(self, batch: RawBatch, batch_idx: int) -> Tensor:
        views = make_views(batch.images, batch.keys, self.views, self.statistics)
        self._progress = batch.progress
        seen = Batch(views, batch.targets, batch.keys, batch.progress)
        output = checked(self.method, self.method(seen), seen)
        self.losses = dict(output.losses)
        if self._pulled:
            self.losses["anchor"] = self.anchor / 2 * distance(self._pulled, self._start)
        self.embeddings = None if output.embeddings is None else output.embeddings.detach()
        self.step += 1
        self._times.append(time.monotonic())
        loss = self.losses["loss"]
        bad = ~torch.isfinite(loss.detach()) & (self._first_bad == 0)
        self._first_bad = self._first_bad + bad * self.step
        # Lightning divides by the full count, also in the shorter window that ends an epoch.
        return loss * (self.accumulate_batches / self._window) if self._window_is_short else loss

    @property
    def _window(self) -> int:
        """Batches of the window that the last batch belongs to."""
        batches, full = len(self.loader), self.accumulate_batches
        place = (self.step - 1) % batches
        return batches % full if place >= batches - batches % full else full

    @property
    def _window_is_short(self) -> bool:
        return self._window != self.accumulate_batches

    @property
    def window_ended(self) -> bool:
        """Whether the optimizer has stepped after the last batch: no gradients are waiting."""
        place = self.step % len(self.loader)
        return place % self.accumulate_batches == 0

    @property
    def first_bad_step(self) -> int:
        """The first step of this process whose loss was not finite; 0: none. Waits for the device.

        Steps count from 1.
        """
        return int(self._first_bad)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        add_pull(self._pulled, self._start, self.anchor)
        if self.settings.max_grad_norm is not None and self.settings.clip_by == "parameter":
            clip_each(self.method.parameters(), self.settings.max_grad_norm)
        for parameter in self.method.frozen((self.step - 1) / self.total_steps):
            parameter.grad = None

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        optimizer = options.get("optimizer", args[2] if len(args) > 2 else None)
        assert optimizer is not None
        size = self.loader.batch_size * self.accumulate_batches
        # The step's forward pass runs inside the call below.
        progress = (self.step + 1) / self.total_steps
        self.lr = set_schedule(optimizer, self.settings, size, progress)
        super().optimizer_step(*args, **options)
        # Not in on_train_batch_end: a checkpoint of this step must hold the teacher's step.
        self.method.after_step(self._progress)

    @property
    def images_per_second(self) -> float:
        """Over the last steps; 0 before the second one."""
        if len(self._times) < 2:
            return 0.0
        passed = self._times[-1] - self._times[0]
        return self.loader.batch_size * (len(self._times) - 1) / max(passed, 1e-9)

    @property
    def time_left(self) -> str:
        if not self.images_per_second:
            return "?"
        images = (self.total_steps - self.step) * self.loader.batch_size
        return duration(images / self.images_per_second)
