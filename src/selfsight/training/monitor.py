"""The line after each epoch: kNN on validation, the effective rank, and warnings of a collapse."""

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
from selfsight.records.collapse import collapsed
from selfsight.training.metrics import Metrics
from selfsight.views.apply import whole_frame

FEWEST = 16
"""Images from which an effective rank says something: that of three images is at most 3."""
SHRUNK = 0.1
"""Embeddings that vary less than this share of what they did at the first step are a point."""
AT_CHANCE, EPOCHS_AT_CHANCE = 0.01, 3
"""How close, as a share, a loss is to its value for images that all look alike, and for how many
epochs in a row, until that is no passing through."""


def monitored(
    images: ImageSet, target: Target | None, *, count: int, seed: int
) -> tuple[Target | None, NDArray[np.int64], NDArray[np.int64]]:
    """The target that the monitor reads, or None; the rows of its bank and of its queries."""
    if target is not None and target.kind != "class":
        target = None
    draw = np.random.default_rng(seed)
    bank, queries = images.pool, images.rows("validation")
    if target is not None:
        bank, queries = bank[target.known[bank]], queries[target.known[queries]]
        if not len(bank) or not len(queries):
            target, bank, queries = None, images.pool, queries[:0]
    bank = draw.permutation(bank)[: max(count * 2 // 3, 2)]
    return target, bank, draw.permutation(queries)[: max(count // 3, 1)]


class Monitor(pl.Callback):
    """Measures the backbone after each epoch on a fixed draw of train and validation images.

    Only train and validation are read. Without a class target, kNN is left out. It warns, once,
    where the backbone, the embeddings or the loss show a collapse, and where the representations
    have become worse than those of the start.

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
        self.target, self.bank, self.queries = monitored(images, target, count=count, seed=seed)
        self.warned = False
        self.epochs_at_chance = 0
        self.measured: dict[str, float] = {}
        self.start_knn: float | None = None
        self.start_deviation: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        start = self.start_deviation
        return {
            "start_knn": self.start_knn,
            "start_deviation": None if start is None else float(start),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start_knn, start = state["start_knn"], state["start_deviation"]
        self.start_deviation = None if start is None else torch.tensor(start)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # On the device: an epoch's end reads it.
        if self.start_deviation is None and module.embeddings is not None:
            self.start_deviation = _deviation(module.embeddings)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if self.start_knn is not None or not self.count or self.target is None:
            return
        self.start_knn = self.measure(module).get("knn")  # none where weights are not finite
        if trainer.is_global_zero and self.start_knn is not None:
            say(f"before training   kNN on validation {100 * self.start_knn:.1f} %")

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
            found = _spread(bank)
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
        if "effective_rank" in measured:
            features = module.method.backbone.features
            words.append(f"effective rank {measured['effective_rank']:.1f} of {features}")
        words.append(f"{module.images_per_second:,.0f} images/s")
        if module.step < module.total_steps:
            words.append(f"{module.time_left} left")
        say("   ".join(words))
        warning = None if self.warned else self.warning(module, row["loss"], measured)
        if warning is not None:
            self.warned = True
            say(f"Warning: {warning}")

    def warning(self, module: Any, loss: float, measured: dict[str, float]) -> str | None:
        """A sentence on a training that goes wrong, or None.

        Args:
            module: the training, after an epoch.
            loss: of its last step.
            measured: from `measure`.
        """
        remedy = "Try a lower --optimizer.lr, a larger --batch-size, or another method."
        if collapsed(measured):
            return (
                "the representations have collapsed: images look nearly the same to the backbone. "
                f"{remedy}"
            )
        if module.embeddings is not None and self._embeddings_collapsed(module.embeddings):
            return (
                "the embeddings have collapsed: images look nearly the same to the loss. "
                f"{remedy} Weights of the method's terms may be too small, too."
            )
        better = self._better_than_start(measured)
        chance = module.method.chance_loss(module.loader.batch_size)
        at_chance = chance is not None and abs(loss - chance) <= AT_CHANCE * chance
        self.epochs_at_chance = self.epochs_at_chance + 1 if at_chance else 0
        stays = self.epochs_at_chance >= EPOCHS_AT_CHANCE
        if stays and 4 * module.step >= module.total_steps and better is not True:
            return (
                f"the loss is {loss:.4g}, what it is when all images look alike ({chance:.4g}): "
                f"nothing is learned. {remedy}"
            )
        if better is False and module.step >= module.total_steps:
            assert self.start_knn is not None
            return (
                f"kNN on validation is {100 * measured['knn']:.1f} %, below the "
                f"{100 * self.start_knn:.1f} % of before the training: the representations have "
                f"become worse. {remedy}"
            )
        return None

    def _embeddings_collapsed(self, embeddings: Tensor) -> bool:
        """Whether they lie on a line, point one way, or have shrunk to a point."""
        start = self.start_deviation
        if len(embeddings) < FEWEST:
            return False
        shrunk = start is not None and float(_deviation(embeddings)) < SHRUNK * float(start)
        return shrunk or collapsed(_spread(embeddings))

    def _better_than_start(self, measured: dict[str, float]) -> bool | None:
        """Whether kNN is above (True) or below (False) that of the start, beyond two errors."""
        if self.start_knn is None or "knn" not in measured:
            return None
        error = (self.start_knn * (1.0 - self.start_knn) / max(len(self.queries), 1)) ** 0.5
        gain = measured["knn"] - self.start_knn
        return None if abs(gain) <= 2.0 * error else gain > 0


def _deviation(embeddings: Tensor) -> Tensor:
    """The standard deviation over a batch, in the mean over the dimensions."""
    return embeddings.float().std(0).mean()


def _spread(representations: Tensor) -> dict[str, float]:
    """Effective rank and spread, of enough images to say something."""
    if len(representations) < FEWEST:
        return {}
    representations = representations.float()
    return {
        "effective_rank": float(effective_rank(representations)),
        "spread": float(standard_deviation_of_normalised(representations)),
    }


@contextmanager
def _evaluating(backbone: nn.Module) -> Iterator[nn.Module]:
    training = backbone.training
    backbone.eval()
    try:
        yield backbone
    finally:
        backbone.train(training)
