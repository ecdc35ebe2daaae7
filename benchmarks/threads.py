"""Fits of the linear probe with and without `selfsight.kernels.threads.beside_scipy`.

``python benchmarks/threads.py`` prints, for features ``(N, F)``, K classes and five folds, the
seconds of a path of seven values of C: with the threads of torch and of SciPy's BLAS side by side,
and with what `beside_scipy` leaves of them. Medians of three rounds, in turn. Run it without
OMP_NUM_THREADS, as most people do.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from statistics import median
from unittest.mock import patch

import torch

from selfsight.fitting import logistic

SIZES = ((100, 64, 3), (500, 64, 10), (2000, 64, 10), (1000, 512, 10), (5000, 512, 10))
ROUNDS, FOLDS = 3, 5


def seconds(count: int, width: int, classes: int) -> float:
    """Of one path."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, width, generator=generator)
    truth = torch.randint(0, classes, (count,), generator=generator)
    features[:, :classes] += 1.5 * torch.nn.functional.one_hot(truth, classes)
    used = torch.ones(count, FOLDS + 1, dtype=torch.bool)
    for fold in range(FOLDS):
        used[fold::FOLDS, fold + 1] = False
    strengths = [10.0**k for k in range(-4, 3)]
    began = time.perf_counter()
    for _ in logistic.fit_path(features, truth, strengths, used, outputs=classes):
        pass
    return time.perf_counter() - began


def main() -> None:
    print(f"{torch.get_num_threads()} threads")
    print(f"{'N':>6} {'F':>5} {'K':>3} {'side by side, s':>16} {'in turns, s':>12} {'ratio':>6}")
    for size in SIZES:
        both, turns = [], []
        for _ in range(ROUNDS):
            with patch.object(logistic, "beside_scipy", lambda work: nullcontext()):
                both.append(seconds(*size))
            turns.append(seconds(*size))
        slow, fast = median(both), median(turns)
        print(
            f"{size[0]:>6} {size[1]:>5} {size[2]:>3} {slow:>16.3f} {fast:>12.3f} "
            f"{slow / fast:>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
