"""What a few labels add to self-supervision: three tables, each row kept once it is measured.

    python recipes/few_labels.py --data ../shared/data --out runs/few-labels

* ``joined``: self-supervision alone, with the supervision layer, with the same-class correlation,
  with both, and training from scratch, on CIFAR-10 (1 % and 10 % of the labels), xsdd (10 a class)
  and deeppcb (5 %).
* ``suggest``: a linear probe on images that `suggest` picked beside as many drawn at random.
* ``fixmatch``: FixMatch from the self-supervised run beside FixMatch from scratch, equal steps,
  and beside the run itself.

Every arm is measured in the same way: a linear probe on its frozen backbone, fitted on the labels
that its training read, scored on the test split once. Differences are paired by draw of labels and
by test image. A row is written when it is measured and never again: the same command goes on
where it was stopped. ``--scale smoke`` only shows that it runs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsight.data import request
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.options import Data
from selfsight.evaluation.intervals import Interval
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.summary import difference_interval, score_interval
from selfsight.files import read_json, write_json, write_text
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.scores import score
from selfsight.labelling import strategies
from selfsight.runs.run import Run
from selfsight.training.device import choose_device
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain
from selfsight.vocabulary import headline


@dataclass(frozen=True)
class Task:
    """Images, the share of their labels, and how long to train on them."""

    name: str
    data: str
    target: str
    fraction: float
    side: int
    limit: int | None
    epochs: int
    whole: bool = False
    """The whole ResNet-20 in batches of 256, whatever the scale says."""


@dataclass(frozen=True)
class Scale:
    """How much of everything; the same for all arms."""

    tasks: tuple[Task, ...]
    network: dict[str, Any]
    batch_size: int
    draws: int
    suggest_draws: int
    fixmatch: tuple[tuple[Task, int, int], ...]
    """Where FixMatch is tried, its epochs after the run, and draws of labels."""
    longer: tuple[int | None, int] | None = None
    """Images and epochs of a second run that suggests, of the whole network; None: no such run."""
    held_out: int | None = None
    """Test and validation images at most; None: all, as any number that is reported must have."""


CIFAR = Task("cifar10", "cifar10", "label", 1.0, 32, 6000, 10)
LONGER = replace(CIFAR, name="cifar10, longer", limit=10_000, epochs=16, whole=True)
DIGITS = Task("digits", "digits", "digit", 1.0, 8, None, 60)


def shorter(epochs: int) -> Task:
    """Self-supervision on digits for fewer epochs."""
    return replace(DIGITS, name=f"digits, {epochs} epochs", epochs=epochs)


SMALL = {"backbone": "resnet20", "network.widths": (16, 32, 64), "network.depths": (1, 1, 1)}
SCALES = {
    "smoke": Scale(
        (
            Task("cifar10, 10 %", "cifar10", "label", 0.1, 32, 300, 1),
            Task("xsdd, 10 a class", "xsdd", "label", 0.072, 32, 300, 1),
            Task("deeppcb, 5 %", "deeppcb", "labels", 0.05, 32, 300, 1),
        ),
        {"backbone": "resnet20", "network.widths": (8, 16), "network.depths": (1, 1)},
        batch_size=64,
        draws=2,
        suggest_draws=2,
        fixmatch=((replace(CIFAR, limit=300, epochs=1), 1, 2), (replace(DIGITS, epochs=1), 1, 2)),
        held_out=200,
    ),
    "cpu": Scale(
        (
            Task("cifar10, 1 %", "cifar10", "label", 0.01, 32, 6000, 10),
            Task("cifar10, 10 %", "cifar10", "label", 0.1, 32, 6000, 10),
            Task("xsdd, 10 a class", "xsdd", "label", 0.072, 32, None, 40),
            Task("deeppcb, 5 %", "deeppcb", "labels", 0.05, 48, None, 6),
        ),
        SMALL,
        batch_size=128,
        draws=3,
        suggest_draws=10,
        fixmatch=(
            (LONGER, 4, 3),
            (DIGITS, 20, 3),
            *((shorter(e), e // 3, 5) for e in (6, 15, 30)),
        ),
        longer=(10_000, 20),
    ),
    "gpu": Scale(
        (
            Task("cifar10, 1 %", "cifar10", "label", 0.01, 32, None, 100),
            Task("cifar10, 10 %", "cifar10", "label", 0.1, 32, None, 100),
            Task("xsdd, 10 a class", "xsdd", "label", 0.072, 64, None, 300),
            Task("deeppcb, 5 %", "deeppcb", "labels", 0.05, 128, None, 100),
        ),
        {"backbone": "resnet18"},
        batch_size=256,
        draws=5,
        suggest_draws=10,
        fixmatch=((replace(CIFAR, limit=None, epochs=100), 100, 3), (DIGITS, 20, 3)),
    ),
}
ARMS: dict[str, dict[str, Any]] = {
    "self-supervision": {},
    "+ supervision": {"supervision.weight": 1.0},
    "+ correlation": {"supervision.correlation": 1.0},
    "+ both": {"supervision.weight": 1.0, "supervision.correlation": 1.0},
    "from scratch": {},
}
SHARE = 0.25


class Bench:
    """Trains, measures and keeps rows, each once."""

    def __init__(self, scale: Scale, data: Path, out: Path, device: str, only: list[str]) -> None:
        self.scale, self.data, self.out, self.device = scale, data, out, device
        self.only = only
        self._images: dict[tuple[str, int, int | None], ImageSet] = {}

    def images(self, task: Task) -> ImageSet:
        key = (task.data, task.side, task.limit)
        if key not in self._images:
            data = Data(
                data=self.source(task),
                target=task.target,
                image_size=task.side,
                limit=task.limit,
                drop_leaks=True,  # xsdd has images that stand on both sides of its split
            )
            images = request.open(data)
            if self.scale.held_out is not None:
                sides = (images.rows(s)[: self.scale.held_out] for s in ("validation", "test"))
                images = images.take(np.sort(np.concatenate([images.pool, *sides])))
            self._images = {key: images}
        return self._images[key]

    def source(self, task: Task) -> str:
        return task.data if task.data == "digits" else str(self.data / task.data)

    def row(self, name: str) -> Path:
        return self.out / "rows" / f"{plain(name)}.json"

    def keep(self, path: Path, of: Task, **row: Any) -> None:
        images = self.images(of)
        target, rows = target_of(images, of), images.rows("test")
        rows = rows[target.known[rows]]
        groups = len(np.unique(groups_of(images.groups, rows)))
        test = {"test_groups": groups, "test_images": len(rows), "metric": headline(target.kind)}
        write_json(path, {**row, **test})

    def train(self, task: Task, name: str, method: str, **changes: Any) -> Run:
        """A run in its own folder; the same call resumes it, or takes it as it is."""
        network = {"backbone": "resnet20"} if task.whole else self.scale.network
        base = Pretrain.model_validate({"method": method, "data": self.source(task)})
        settings = base.updated(
            {
                "target": task.target,
                "image_size": task.side,
                "limit": task.limit,
                "epochs": task.epochs,
                "batch_size": 256 if task.whole else self.scale.batch_size,
                "monitor_images": 0,
                "device": self.device,
                "out": str(self.out / "runs" / plain(name)),
                **({} if "weights" in changes else network),
                **changes,
            }
        )
        return pretrain(settings, self.images(task))

    def represented(self, run: Run, images: ImageSet, rows: Any) -> Representations:
        device = choose_device(self.device)
        values = represent(run.backbone(), images, rows, run.statistics, device=device)
        return Representations.of(values, rows, images.rows("train"))

    def measure(self, run: Run, task: Task, fraction: float, seed: int) -> list[float]:
        """The headline metric on test, and on bootstrap replicates of it."""
        images = self.images(task)
        target = target_of(images, task)
        subset = Subset.drawn(images, target, images.rows("train"), fraction, seed)
        rows = images.rows("train", "test")
        return probed(self.represented(run, images, rows), subset)


def target_of(images: ImageSet, task: Task) -> Target:
    target = choose_target(images, task.target)
    assert target is not None
    return target


def probed(found: Representations, subset: Subset) -> list[float]:
    fitted = PROBES["linear"](subset, found)
    target, rows = subset.target, subset.images.rows("test")
    rows = rows[target.known[rows]]
    weights = Resampling.of(groups_of(subset.images.groups, rows)).weights
    output = fitted.predict(found.at(rows)).float().cpu().numpy()
    values = score(target, output, rows, weights, fitted.thresholds)
    return [float(v) for v in values[headline(target.kind), None]]


def joined(bench: Bench) -> Iterator[str]:
    """Rows of self-supervision with and without labels."""
    for task in bench.scale.tasks:
        if bench.only and task.data not in bench.only:
            continue
        for seed in range(bench.scale.draws):
            for arm, changes in ARMS.items():
                path = bench.row(f"joined {task.name} {arm} {seed}")
                if path.is_file():
                    continue
                if arm == "self-supervision":
                    run = bench.train(task, f"{task.data} plain", "simclr")
                else:
                    labels = {
                        "supervision.label_fraction": task.fraction,
                        "supervision.label_seed": seed,
                        "supervision.labelled_share": SHARE,
                    }
                    method = "supervised" if arm == "from scratch" else "simclr"
                    name = f"{task.name} {arm} {seed}"
                    run = bench.train(task, name, method, **labels, **changes)
                scores = bench.measure(run, task, task.fraction, seed)
                bench.keep(path, task, task=task.name, arm=arm, draw=seed, scores=scores)
                yield f"{task.name}, {arm}, draw {seed}: {scores[0]:.4f}"


def suggest(bench: Bench) -> Iterator[str]:
    """Rows of a linear probe on suggested and on random images, CIFAR-10."""
    plain = next(t for t in bench.scale.tasks if t.data == "cifar10")
    yield from suggested(bench, plain, "", f"{plain.data} plain")
    if bench.scale.longer is not None:
        limit, epochs = bench.scale.longer
        longer = replace(plain, limit=limit, epochs=epochs, whole=True)
        yield from suggested(bench, longer, ", longer run", f"{plain.data} longer")


def suggested(bench: Bench, task: Task, which: str, run_name: str) -> Iterator[str]:
    """The rows of one run; ``which`` is what the table calls it."""
    images = bench.images(task)
    target = target_of(images, task)
    pool = images.rows("train")
    found: Representations | None = None
    for count in (40, 100):
        for draw in range(bench.scale.suggest_draws):
            for arm in ("random", "representative", "typical", "coverage"):
                path = bench.row(f"suggest {count} labels{which} {arm} {draw}")
                if path.is_file():
                    continue
                if found is None:
                    run = bench.train(task, run_name, "simclr")
                    found = bench.represented(run, images, images.rows("train", "test"))
                labelled = np.sort(pool[picked(found.at(pool), arm, count, draw)])
                scores = probed(found, Subset(images, target, labelled, draw))
                name = f"cifar10, {count} labels{which}"
                bench.keep(path, task, task=name, arm=arm, draw=draw, scores=scores)
                yield f"{name}, {arm}, draw {draw}: {scores[0]:.4f}"


def picked(representations: torch.Tensor, arm: str, count: int, draw: int) -> list[int]:
    """Rows that an arm picks for labelling."""
    rows = len(representations)
    unit = strategies.unit_vectors(representations)
    picker = strategies.Picker(unit, np.zeros(rows, np.bool_), np.arange(rows))
    if arm == "random":
        strategies.at_random(picker, count, seed=draw)
    elif arm == "representative":
        strategies.representative(picker, count, seed=draw)
    elif arm == "typical":
        strategies.typical(picker, count, seed=draw)
    else:
        picker.pick(int(np.random.default_rng(draw).integers(rows)))
        strategies.k_centre(picker, count - 1)
    return picker.chosen


def fixmatch(bench: Bench) -> Iterator[str]:
    """Rows of FixMatch from the run and from scratch, after equally many epochs in all."""
    for task, epochs, draws in bench.scale.fixmatch:
        if bench.only and task.data not in bench.only:
            continue
        for count in (40, 250):
            for seed in range(draws):
                for arm in ("from scratch", "the run itself", "from the run"):
                    path = bench.row(f"fixmatch {task.name} {count} labels {arm} {seed}")
                    if path.is_file():
                        continue
                    fraction = count / len(bench.images(task).rows("train"))
                    changes: dict[str, Any] = {
                        "supervision.label_fraction": fraction,
                        "supervision.label_seed": seed,
                        "epochs": epochs,
                    }
                    name = f"fixmatch {task.name} {count} {arm} {seed}"
                    if arm == "from scratch":
                        changes["epochs"] += task.epochs
                        run = bench.train(task, name, "fixmatch", **changes)
                    else:
                        run = bench.train(task, f"{task.name} plain", "simclr")
                    if arm == "from the run":
                        changes["weights"] = str(run.folder.path)
                        run = bench.train(task, name, "fixmatch", **changes)
                    scores = bench.measure(run, task, fraction, seed)
                    said = f"{task.name}, {count} labels"
                    bench.keep(path, task, task=said, arm=arm, draw=seed, scores=scores)
                    yield f"fixmatch, {said}, {arm}, draw {seed}: {scores[0]:.4f}"


PARTS = {"joined": joined, "suggest": suggest, "fixmatch": fixmatch}
CONTROLS = {"joined": "self-supervision", "suggest": "random", "fixmatch": "from scratch"}


def table(bench: Bench, part: str) -> str:
    """Means with 95 % intervals, and paired differences to the part's control, in Markdown."""
    rows: dict[str, dict[str, dict[int, list[float]]]] = {}
    tests: dict[str, tuple[str, Resampling]] = {}
    for path in sorted((bench.out / "rows").glob(f"{part}-*.json")):
        row = read_json(path)
        rows.setdefault(row["task"], {}).setdefault(row["arm"], {})[row["draw"]] = row["scores"]
        resampling = Resampling.counted(row["test_groups"], row["test_images"])
        tests[row["task"]] = row["metric"], resampling
    lines = [f"| {part} | arm | draws | score | difference to {CONTROLS[part]} |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for task, arms in rows.items():
        metric, resampling = tests[task]
        control = arms.get(CONTROLS[part], {})
        for arm, draws in arms.items():
            scores = np.array([draws[d] for d in sorted(draws)])
            value = score_interval(metric, scores, resampling)
            cells = [task, arm, str(len(draws)), shown(value)]
            both = sorted(set(draws) & set(control))
            if arm != CONTROLS[part] and both:
                ours, other = (np.array([of[d] for d in both]) for of in (draws, control))
                difference = difference_interval(metric, ours, other, resampling)
                cells.append(f"{shown(difference)}, {difference.verdict()}")
            else:
                cells.append("")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain(name: str) -> str:
    """A name that can be a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("%", "pc").replace("+", "with"))


def shown(value: Interval) -> str:
    half = "no interval" if value.half is None else f"± {100 * value.half:.1f}"
    return f"{100 * value.mean:.1f} {half}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/few-labels"))
    parser.add_argument("--scale", choices=SCALES, default="auto")
    parser.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument(
        "--only", nargs="*", default=[], help="data sets of joined and fixmatch; all by default"
    )
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    scale = given.scale
    if scale == "auto":
        scale = "gpu" if torch.cuda.is_available() else "cpu"
    bench = Bench(SCALES[scale], given.data, given.out / scale, given.device, given.only)
    for part in given.part:
        for line in PARTS[part](bench):
            print(line, flush=True)
        text = table(bench, part)
        write_text(bench.out / f"{part}.md", text + "\n")
        print(f"\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
