"""The line after each epoch: kNN on validation, the effective rank, and a word on collapse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.console import say
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.statistics import Statistics
from selfsight.measures import effective_rank, knn_predict, standard_deviation_of_normalised
from selfsight.records import collapsed
from selfsight.training.metrics import Metrics
from selfsight.views.apply import whole_frame


class Monitor(pl.Callback):
    """Measures the backbone after each epoch on a fixed draw of train and validation images.

    Only train and validation are read. Without a class target, kNN is left out.

    Args:
        images: the image set.
        target: the chosen target, or None.
        statistics: of the channels.
        metrics: the file that the epoch's row goes to.
        count: images at most, two thirds from train.
        seed: of the draw.
    """

    def __init__(
        self,
        images: ImageSet,
        target: Target | None,
        statistics: Statistics,
        metrics: Metrics,
        *,
        count: int,
        seed: int,
    ) -> None:
        self.images, self.statistics, self.metrics, self.count = images, statistics, metrics, count
        self.target = target if target is not None and target.kind in ("class",) else None
        draw = np.random.default_rng(seed)
        bank, queries = images.pool, images.rows("validation")
        if self.target is not None:
            bank = bank[self.target.known[bank]]
            queries = queries[self.target.known[queries]]
            if not len(bank) or not len(queries):
                self.target, bank, queries = None, images.pool, queries[:0]
        self.bank = draw.permutation(bank)[: max(count * 2 // 3, 2)]
        self.queries = draw.permutation(queries)[: max(count // 3, 1)]
        self.said_collapse = False
        self.measured: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.measured = measured = self.measure(module) if self.count else {}
        self.metrics.write(trainer, measured)
        if trainer.is_global_zero:
            self._say(module, measured)

    def measure(self, module: Any) -> dict[str, float]:
        """kNN accuracy, effective rank and spread of the current backbone."""
        with torch.no_grad(), _evaluating(module.method.backbone) as backbone:
            bank = self._represent(backbone, self.bank, module.device)
            if not bool(torch.isfinite(bank).all()):
                return {}  # the checkpoint that follows finds the weights that are not finite
            found = {
                "effective_rank": float(effective_rank(bank)),
                "spread": float(standard_deviation_of_normalised(bank)),
            }
            if self.target is not None:
                queries = self._represent(backbone, self.queries, module.device)
                labels = torch.from_numpy(self.target.values[self.bank]).to(bank.device)
                truth = torch.from_numpy(self.target.values[self.queries]).to(bank.device)
                scores = knn_predict(
                    bank, labels, queries, k=min(20, len(bank)), num_classes=len(self.target.names)
                )
                found["knn"] = float((scores.argmax(1) == truth).double().mean())
        return found

    def _represent(
        self, backbone: nn.Module, rows: NDArray[np.int64], device: torch.device
    ) -> Tensor:
        parts = []
        for first in range(0, len(rows), 256):
            pixels = torch.from_numpy(self.images.pixels[rows[first : first + 256]])
            images = pixels.permute(0, 3, 1, 2).to(device)
            parts.append(backbone(whole_frame(images, self.statistics)).float())
        return torch.cat(parts)

    def _say(self, module: Any, measured: dict[str, float]) -> None:
        row = self.metrics.row
        words = [f"epoch {int(row['epoch']) + 1}/{module.epochs}", f"loss {row['loss']:.4g}"]
        if "knn" in measured:
            words.append(f"kNN on validation {100 * measured['knn']:.1f} %")
        if measured:
            features = module.method.backbone.features
            words.append(f"effective rank {measured['effective_rank']:.1f} of {features}")
        words.append(f"{module.images_per_second:,.0f} images/s")
        if module.step < module.total_steps:
            words.append(f"{module.time_left} left")
        say("   ".join(words))
        if collapsed(measured) and not self.said_collapse:
            self.said_collapse = True
            say(
                "Warning: the representations have collapsed: images look nearly the same to the "
                "backbone. Try a lower --optimizer.lr, a larger --batch-size, or another method."
            )


@contextmanager
def _evaluating(backbone: nn.Module) -> Iterator[nn.Module]:
    training = backbone.training
    backbone.eval()
    try:
        yield backbone
    finally:
        backbone.train(training)
