"""The linear probe beside scikit-learn's and lightly's, and kNN beside lightly's.

    .venv-bench/bin/python benchmarks/probes.py [--images 50000] [--features 512] [--epochs 90]

The representations are random ReLU features of CIFAR-10 (real images, no training needed), scaled
as `selfsight evaluate` scales them; without `../shared/data/cifar10` they are of ten clusters of
noise. Every line fits the train rows and is scored on the 10,000 test rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring import Line, Seconds, interleaved, keep
from peers import import_lightly
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from selfsight.data.request import open_images
from selfsight.fitting.logistic import fit_path
from selfsight.measures import knn_predict as ours_knn

Predict = Callable[[Tensor], Tensor]


def features(data: str, count: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train and test representations and classes."""
    if not Path(data).exists():
        generator = torch.Generator().manual_seed(0)
        centres = 0.15 * torch.randn(10, width, generator=generator)
        classes = torch.arange(count + 10_000) % 10
        x = centres[classes] + torch.randn(len(classes), width, generator=generator)
        return x[:count], classes[:count], x[count:], classes[count:]
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


def scikit_learn(x: Tensor, y: Tensor, strength: float) -> Predict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=strength, max_iter=1000).fit(x.numpy(), y.numpy())
    return lambda fresh: torch.from_numpy(model.predict(fresh.numpy()))


def lightly_probe(x: Tensor, y: Tensor, epochs: int, ready: bool) -> Predict:
    """lightly's `LinearClassifier` as it comes: SGD, cosine, batches of 256 from a DataLoader.

    Args:
        x: train rows.
        y: their classes.
        epochs: 90 in lightly's benchmarks.
        ready: batches are cut from the tensor at once, not row by row: what is fair to it.
    """
    import pytorch_lightning as pl
    from lightly.utils.benchmarking import LinearClassifier

    torch.manual_seed(0)
    data = TensorDataset(x, y)
    if ready:
        order = BatchSampler(RandomSampler(data), 256, drop_last=False)
        loader = DataLoader(data, sampler=order, batch_size=None)
    else:
        loader = DataLoader(data, batch_size=256, shuffle=True)
    classifier = LinearClassifier(nn.Identity(), 256, feature_dim=x.shape[1], num_classes=10)
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, **quiet)
    trainer.fit(classifier, loader)
    return lambda fresh: classifier.classification_head(fresh).argmax(1)


def nearest(x: Tensor, y: Tensor, test: Tensor, rounds: int) -> list[Line]:
    """kNN of 10,000 on 50,000, k 200: lightly's `knn_predict`, at once and in batches of 256."""
    from lightly.utils.benchmarking import knn_predict as theirs

    bank, queries = F.normalize(x, dim=1), F.normalize(test, dim=1)
    columns = bank.T.contiguous()

    def batched() -> Tensor:
        parts = torch.split(queries, 256)
        return torch.cat([theirs(part, columns, y, 10, 200)[:, 0] for part in parts])

    found: dict[str, Tensor] = {}

    def run(name: str, job: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: found.update({name: job()})

    taken = interleaved(
        {
            "ours": run("ours", lambda: ours_knn(bank, y, queries, num_classes=10).argmax(1)),
            "theirs": run("theirs", batched),
        },
        rounds,
    )
    same = float((found["ours"] == found["theirs"]).double().mean())
    print(f"kNN: {same:.2%} of {len(test):,} predictions are the same")
    case = f"{len(test):,} on {len(x):,} x {x.shape[1]}, k 200; {same:.2%} identical"
    faster = taken["theirs"].cpu / taken["ours"].cpu
    said = [f"{taken[side].cpu:.2f} s" for side in ("ours", "theirs")]
    return [Line("kNN", case, "lightly, batches of 256", faster, "cpu", 2, *said)]


def probes(
    x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, settings: argparse.Namespace
) -> list[Line]:
    fits: dict[str, Callable[[], Predict]] = {
        "selfsight": lambda: ours(x, y, settings.strength),
        "scikit-learn lbfgs": lambda: scikit_learn(x, y, settings.strength),
        f"lightly, {settings.epochs} epochs": lambda: lightly_probe(x, y, settings.epochs, False),
        f"lightly, {settings.epochs} epochs, batches cut at once": lambda: lightly_probe(
            x, y, settings.epochs, True
        ),
    }
    wanted = dict(zip(fits, (None, 7.0, 20.0, None), strict=True))
    accuracy: dict[str, float] = {}

    def run(name: str) -> Callable[[], None]:
        def job() -> None:
            predict = fits[name]()
            with torch.no_grad():
                accuracy[name] = float((predict(test_x) == test_y).double().mean())

        return job

    short = [name for name in fits if "lightly" not in name]
    taken = interleaved({name: run(name) for name in short}, settings.rounds)
    for name in fits:
        if name not in taken and not settings.only_short:
            # Minutes: once, without a round that is not counted.
            taken |= once(name, run(name))
    lines = []
    for name in list(taken)[1:]:
        case = (
            f"{len(x):,} x {x.shape[1]}, 10 classes; test {accuracy['selfsight']:.2%} against "
            f"{accuracy[name]:.2%}"
        )
        faster = taken[name].cpu / taken["selfsight"].cpu
        said = [f"{taken[side].cpu:.2f} s" for side in ("selfsight", name)]
        lines.append(Line("linear probe", case, name, faster, "cpu", wanted[name], *said))
        print(lines[-1].row(), flush=True)
    return lines


def once(name: str, job: Callable[[], None]) -> dict[str, Seconds]:
    before = time.perf_counter(), time.process_time()
    job()
    return {name: Seconds(time.perf_counter() - before[0], time.process_time() - before[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--strength", type=float, default=1.0, help="C of the logistic regression")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-short", action="store_true", help="without lightly's epochs")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    # NumPy's and SciPy's threads too: those that wait for one another would count as work.
    threadpool_limits(1)
    import_lightly()
    x, y, test_x, test_y = features(settings.data, settings.images, settings.features)
    lines = nearest(x, y, test_x, settings.rounds)
    keep("probes", lines + probes(x, y, test_x, test_y, settings))


if __name__ == "__main__":
    main()
