"""The linear probe beside scikit-learn's and beside 90 epochs through a DataLoader.

    .venv/bin/python benchmarks/probes.py [--images 50000] [--features 512] [--epochs 90]

The representations are random ReLU features of CIFAR-10 (real images, no training needed), scaled
as `selfsight evaluate` scales them. Every line fits the 50,000 train rows and is scored on the
10,000 test rows. `chosen` is the whole probe of `evaluate`: C chosen by cross-validation on top.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from selfsight.data.sources import open_images
from selfsight.evaluation.logistic import fit_path
from selfsight.evaluation.probes import PROBES, Subset

Predict = Callable[[Tensor], Tensor]


def features(data: str, count: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train and test representations and classes."""
    images = open_images(data, validation=0.0)
    train, test = images.rows("train")[:count], images.rows("test")
    random = torch.randn(
        images.height * images.width * images.channels,
        width,
        generator=torch.Generator().manual_seed(0),
    )
    made = []
    for rows in (train, test):
        pixels = torch.from_numpy(images.pixels[rows]).flatten(1).float() / 255
        made.append(torch.relu((pixels - 0.47) @ random / random.shape[0] ** 0.5))
    mean, scale = made[0].mean(0), made[0].var(0).mean().sqrt()
    classes = torch.from_numpy(next(iter(images.targets.values())).values)
    return (made[0] - mean) / scale, classes[train], (made[1] - mean) / scale, classes[test]


def ours(x: Tensor, y: Tensor, strength: float) -> Predict:
    fit = next(fit_path(x, y, [strength], outputs=10))
    return lambda fresh: fit.logits(fresh, 0).argmax(1)


def chosen(x: Tensor, y: Tensor) -> Predict:
    zero, one = torch.zeros(x.shape[1]), torch.tensor(1.0)
    subset = Subset("class", x, zero, one, y.numpy(), np.arange(len(x)), 10, 0)
    fitted = PROBES["linear"](subset)
    print(f"    chosen: {fitted.choice}", flush=True)
    return lambda fresh: fitted.predict(fresh).argmax(1)


def scikit_learn(x: Tensor, y: Tensor, strength: float) -> Predict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=strength, max_iter=1000).fit(x.numpy(), y.numpy())
    return lambda fresh: torch.from_numpy(model.predict(fresh.numpy()))


def data_loader(x: Tensor, y: Tensor, epochs: int) -> Predict:
    """SGD of momentum 0.9, learning rate 0.1 on a cosine, batches of 256: the usual recipe."""
    torch.manual_seed(0)
    layer = nn.Linear(x.shape[1], 10)
    loader = DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch, label in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(batch), label).backward()
            optimizer.step()
        schedule.step()
    return lambda fresh: layer(fresh).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    settings = parser.parse_args()
    x, y, test_x, test_y = features(settings.data, settings.images, settings.features)
    fits: dict[str, Callable[[], Predict]] = {
        "selfsight, C 1": lambda: ours(x, y, 1.0),
        "selfsight, C 0.01": lambda: ours(x, y, 0.01),
        "selfsight, chosen": lambda: chosen(x, y),
        "scikit-learn, C 1": lambda: scikit_learn(x, y, 1.0),
        "scikit-learn, C 0.01": lambda: scikit_learn(x, y, 0.01),
        f"DataLoader, {settings.epochs} epochs": lambda: data_loader(x, y, settings.epochs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    accuracy: dict[str, float] = {}
    for _ in range(settings.rounds):
        for name, fit in fits.items():
            if settings.only and not any(word in name for word in settings.only):
                continue
            if "DataLoader" in name and seconds[name]:
                continue  # minutes; one round says enough
            begun = time.perf_counter()
            predict = fit()
            seconds[name].append(time.perf_counter() - begun)
            print(f"    {name}: {seconds[name][-1]:.2f} s", flush=True)
            with torch.no_grad():
                accuracy[name] = float((predict(test_x) == test_y).double().mean())
    print(f"{len(x):,} x {x.shape[1]}, 10 classes, {torch.get_num_threads()} threads")
    for name, taken in seconds.items():
        if taken:
            print(f"{name:<24} {statistics.median(taken):8.2f} s   test {accuracy[name]:.2%}")


if __name__ == "__main__":
    main()
