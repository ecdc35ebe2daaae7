"""Batches on the device: a batch is a function of (seed, step) on any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.pixels.memmap import read_ahead
from selfsight.draws import keys_of, permutation, shuffles


@dataclass
class RawBatch:
    """One step's images before their views are made.

    Attributes:
        images: ``(B, C, H, W)``, the image set's own dtype, channels last in memory.
        targets: ``(B, ...)`` of the chosen target; class -1 where there is none.
        keys: ``(B,)`` int64, from seed, step and row of the global batch.
        progress: 0-d float32 tensor in [0, 1).
    """

    images: Tensor
    targets: Tensor
    keys: Tensor
    progress: Tensor


class Loader:
    """All rows in a new order each epoch; the last, incomplete batch of an epoch is dropped.

    It has a length and a place to go on from: ``loader.step = n`` continues after n batches.

    Args:
        parts: ``(pixels (N, H, W, C), rows)`` of each pool; all of one shape and type.
        targets: of all rows in the order of the parts, a tensor of as many entries.
        batch_size: images of a step, over all processes.
        epochs: passes over the rows, for `RawBatch.progress`.
        steps: batches of an epoch at most; None: as many as there are.
        seed: of order and keys.
        device: where the batches are wanted.
        labelled: ``(rows,)`` bool, which rows have a label; read only with ``labelled_share``.
        labelled_share: share of each batch that is drawn from these; None, or a share below the
            one that they have anyway: all rows come equally often. An epoch has as many batches
            as without.
        on_device: all pixels are copied to the device at the start, and a batch is an index.
    """

    def __init__(
        self,
        parts: Sequence[tuple[NDArray[Any], NDArray[np.int64]]],
        targets: Tensor,
        *,
        batch_size: int,
        epochs: int,
        steps: int | None = None,
        seed: int,
        device: torch.device,
        labelled: Tensor | None = None,
        labelled_share: float | None = None,
        on_device: bool = False,
    ) -> None:
        self.parts = [(pixels, torch.from_numpy(rows)) for pixels, rows in parts]
        self.starts = torch.tensor(np.cumsum([0, *(len(rows) for _, rows in parts)]))
        self.rows = int(self.starts[-1])
        self.targets, self.batch_size, self.epochs = targets.to(device), batch_size, epochs
        self.seed, self.device, self.steps = seed, device, steps
        self.rank, self.world, self.step = 0, 1, 0
        self.oversampled = 0
        if labelled is not None and labelled_share is not None:
            self.labelled, self.others = (
                labelled.nonzero().flatten(),
                (~labelled).nonzero().flatten(),
            )
            wanted = min(max(1, round(labelled_share * batch_size)), batch_size - 1)
            if 0 < len(self.labelled) < wanted / batch_size * self.rows:
                self.oversampled = wanted
        self.resident: Tensor | None = None
        if on_device and device.type != "cpu":
            self.resident = torch.cat(
                [torch.from_numpy(pixels[rows.numpy()]) for pixels, rows in self.parts]
            ).to(device)

    def __len__(self) -> int:
        whole = self.rows // self.batch_size
        return whole if self.steps is None else min(whole, self.steps)

    def __iter__(self) -> Iterator[RawBatch]:
        epoch, first = divmod(self.step, len(self))
        order = self._order(epoch)
        share = self.batch_size // self.world
        for i in range(first, len(self)):
            start = i * self.batch_size + self.rank * share
            batch = self._batch(order[start : start + share], self.rank * share)
            # Before the yield: nobody asks for what comes after an epoch's last batch.
            self.step += 1
            yield batch

    def rows_of(self, step: int) -> Tensor:
        """``(batch_size,)`` places in the rows of all parts that a step sees, over all processes.

        Args:
            step: from 0.
        """
        epoch, place = divmod(step, len(self))
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def _order(self, epoch: int) -> Tensor:
        """Rows of all batches of an epoch, one batch after another; more rows may follow."""
        if not self.oversampled:
            return permutation(self.seed, epoch, self.rows)
        steps, parts = len(self), []
        for rows, share in (
            (self.labelled, self.oversampled),
            (self.others, self.batch_size - self.oversampled),
        ):
            count = steps * share
            drawn = shuffles(self.seed, epoch * count, count, len(rows))
            parts.append(rows[drawn].view(steps, share))
        # So that each process has its part of the labelled rows.
        mixed = permutation(self.seed, epoch, self.batch_size)
        return torch.cat(parts, 1)[:, mixed].flatten()

    def _batch(self, chosen: Tensor, first: int) -> RawBatch:
        rows = torch.arange(first, first + len(chosen))
        progress = torch.tensor(self.step / (self.epochs * len(self)), dtype=torch.float32)
        return RawBatch(
            images=self._images(chosen).permute(0, 3, 1, 2),
            targets=self.targets[self._there(chosen)],
            keys=self._there(keys_of(self.seed, self.step, rows)),
            progress=self._there(progress),
        )

    def _images(self, chosen: Tensor) -> Tensor:
        if self.resident is not None:
            return self.resident[self._there(chosen)]
        if len(self.parts) == 1:
            pixels, rows = self.parts[0]
            taken = _taken(pixels, rows[chosen].numpy())
        else:
            part = torch.searchsorted(self.starts, chosen, right=True) - 1
            first = self.parts[0][0]
            taken = torch.from_numpy(np.empty((len(chosen), *first.shape[1:]), first.dtype))
            for i, (pixels, rows) in enumerate(self.parts):
                here = (part == i).nonzero().flatten()
                inside = rows[chosen[here] - self.starts[i]]
                taken[here] = _taken(pixels, inside.numpy())
        return self._there(taken)

    def _there(self, values: Tensor) -> Tensor:
        """On the device; the host waits for nothing."""
        if self.device.type != "cuda":
            return values
        return values.pin_memory().to(self.device, non_blocking=True)

    def state_dict(self) -> dict[str, int]:
        """Only says that it can resume: the training sets `step` when it starts."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The training decides where to go on."""


def _taken(pixels: NDArray[Any], rows: NDArray[np.int64]) -> Tensor:
    read_ahead(pixels, rows)
    return torch.from_numpy(np.take(pixels, rows, axis=0))
