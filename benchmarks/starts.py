"""Published weights, frozen and continued, beside training from scratch, on five image sets.

    python benchmarks/starts.py ../shared/data --out runs/starts          # computes what is missing
    python benchmarks/starts.py ../shared/data --out runs/starts --table  # shows what is there

`starts-rows.jsonl` beside this file holds what has been finished so far (five training seeds, three
or four from scratch); as ``results.jsonl`` in the folder it is where the command goes on.

Each finished result is one line of ``results.jsonl`` in the folder: the same command goes on where
it was stopped, and ``--table`` shows what there is at any time. One training seed is run on all
sets, then the next.

What was fixed before anything was looked at:

* the sets, their metric and their numbers of labels (`SETS`); a linear probe reads the labels, and
  LFW, whose test people are in no training image, is retrieval without labels;
* images of 96 px, at most 1,000 to train on and 1,000 to test on (LFW: whole people who have two
  or more), no validation split;
* the subjects (`SUBJECTS`). *Frozen* is EfficientNet-Lite0 with its ImageNet weights. *Continued*
  is `pretrain simclr` as it comes with these weights: the preset `continue`. *Scratch* is the same
  method and network from random weights with nothing frozen: twice the steps on views of half the
  side, which takes about the processor time of the continuation.
  *Mean* and *stages* are the representations of the same names;
* five draws of labels, five training seeds; the trainings from scratch come after the second seed
  of the continuation, and again last;
* the verdict: for each set the difference continued - frozen with the representation `stages`, the
  mean over the numbers of labels, in points (hundredths of the metric), with its interval over
  test images, label draws and training seeds (`selfsight.evaluation.intervals`). Over the sets:
  the mean by inverse variance of a random-effects model (DerSimonian and Laird), its interval by
  Hartung and Knapp with Student's t of one degree of freedom less than there are sets, and the
  plain mean of the sets with Student's interval beside it. The preset `continue` stays the default
  where the first interval is above zero and no set's own is below it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

import selfsight
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.request import open_images
from selfsight.data.splits import few_labels
from selfsight.evaluation.intervals import Interval, difference, interval
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.retrieval import retrieval_scores
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.scores import score
from selfsight.networks.pooling import KINDS, StagePooling
from selfsight.runs.run import Run, load_run
from selfsight.training.continuing import STEPS

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
SIDE, IMAGES, DRAWS, SEEDS = 96, 1_000, 5, 5
SCRATCH = 2
"""Steps of the training from scratch, as a multiple of those of the preset `continue`."""


@dataclass(frozen=True)
class Set:
    """One image set and what is measured on it.

    Attributes:
        name: its folder.
        metric: the one metric.
        target: the column of the labels.
        group: the column that no split cuts.
        labels: how many are read; ``each`` of them a class. 0 is all, last.
        of_images: the metric is a share of the test images.
        bounds: of the metric.
    """

    name: str
    metric: str
    target: str
    group: str | None = None
    labels: tuple[int, ...] = (25, 100, 0)
    each: bool = False
    of_images: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)


SETS = (
    Set("xsdd", "accuracy", "label", labels=(5, 20, 0), each=True, of_images=True),
    Set("deeppcb", "mAP", "labels", group="group"),
    Set("nuclei", "r2", "n_nuclei", bounds=(-np.inf, 1.0)),
    Set("lfw", "recall_at_1", "person", labels=(0,), of_images=True),
    Set("covid_cxr", "roc_auc", "labels", group="group"),
)
SUBJECTS = ("frozen mean", "frozen stages", "continued mean", "continued stages", "scratch stages")


@dataclass(frozen=True)
class Problem:
    """A set with its images.

    Attributes:
        kind: what is measured.
        images: those that are used.
    """

    kind: Set
    images: ImageSet

    @classmethod
    def of(cls, kind: Set, data: Path) -> Problem:
        """Opens a set and draws the images that are used."""
        options: dict[str, Any] = {"target": kind.target, "validation": 0.0, "image_size": SIDE}
        if kind.group is not None:
            options["group"] = kind.group
        images = open_images(data / kind.name, drop_leaks=True, **options)
        images = replace(images, targets={kind.target: images.targets[kind.target]})
        random = np.random.default_rng(0)
        train, test = images.pool, images.rows("test")
        if len(train) > IMAGES:
            train = random.choice(train, IMAGES, replace=False)
        target = images.targets[kind.target]
        if target.kind == "identity":
            values, counts = np.unique(target.values[test], return_counts=True)
            people = random.permutation(np.flatnonzero(counts > 1))
            people = people[np.cumsum(counts[people]) <= IMAGES]
            test = test[np.isin(target.values[test], values[people])]
        elif len(test) > IMAGES:
            test = random.choice(test, IMAGES, replace=False)
        return cls(kind, images.take(np.sort(np.concatenate([train, test]))))

    @property
    def target(self) -> Target:
        return self.images.targets[self.kind.target]

    @cached_property
    def test(self) -> Rows:
        rows = self.images.rows("test")
        return rows[self.target.known[rows]]

    @cached_property
    def resampling(self) -> Resampling:
        if self.target.kind == "identity":
            return Resampling.of(np.unique(self.target.values[self.test], return_inverse=True)[1])
        return Resampling.of(groups_of(self.images.groups, self.test))

    def subset(self, number: int, draw: int) -> Subset:
        """A draw of labels: so many a class, or so many in all; 0: all."""
        train = self.images.rows("train")
        train = train[self.target.known[train]]
        groups = self.images.groups
        if not number:
            rows = train
        elif self.kind.each:
            parts = [train[self.target.values[train] == c] for c in range(len(self.target.names))]
            shares = [min(1.0, number / max(len(part), 1)) for part in parts]
            rows = np.concatenate(
                [
                    few_labels(self.target, part, share, draw, groups)
                    for part, share in zip(parts, shares, strict=True)
                    if len(part)
                ]
            )
        else:
            rows = few_labels(self.target, train, number / len(train), draw, groups)
        return Subset(self.images, self.target, np.sort(rows), draw)

    def measure(self, representations: Representations, number: int, draw: int) -> list[float]:
        """The metric on the test images, then on each resampled test split: ``1 + B`` values."""
        if self.target.kind == "identity":
            labels = np.unique(self.target.values[self.test], return_inverse=True)[1]
            each, queries = retrieval_scores(representations.at(self.test), labels)
            assert len(queries) == len(self.test)
            weights = self.resampling.weights
            values = weights @ each[self.kind.metric] / np.maximum(weights.sum(1), 1e-9)
        else:
            fitted = PROBES["linear"](self.subset(number, draw), representations)
            output = fitted.predict(representations.at(self.test)).float().numpy()
            weights = self.resampling.weights
            scores = score(self.target, output, self.test, weights, fitted.thresholds)
            values = scores[self.kind.metric, None]
        return [round(float(value), 6) for value in values]


class Results:
    """The finished rows of a folder: one JSON object a line, appended whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        self.rows: dict[tuple[str, str, int, int, int], list[float]] = {}
        for line in lines:
            row = json.loads(line)
            self.rows[self.key(row)] = row["values"]

    @staticmethod
    def key(row: dict[str, Any]) -> tuple[str, str, int, int, int]:
        return row["set"], row["subject"], row["seed"], row["labels"], row["draw"]

    def add(self, row: dict[str, Any]) -> None:
        self.rows[self.key(row)] = row["values"]
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def scores(self, kind: Set, subject: str, number: int) -> Floats | None:
        """``(S, D, 1 + B)`` of the seeds that are finished; None: there is none."""
        wanted = 1 if number == 0 else DRAWS
        seeds = []
        for seed in range(SEEDS):
            of_seed = [self.rows.get((kind.name, subject, seed, number, d)) for d in range(wanted)]
            if all(values is not None for values in of_seed):
                seeds.append(of_seed)
        return np.array(seeds, np.float64) if seeds else None


def jobs() -> Iterator[tuple[str, int]]:
    """Trainings and their seeds in the order in which they count."""
    yield "frozen", 0
    yield "continued", 0
    yield "continued", 1
    yield "scratch", 0
    for seed in range(2, SEEDS):
        yield "continued", seed
    for seed in range(1, SEEDS):
        yield "scratch", seed


def train(problem: Problem, training: str, seed: int, folder: Path) -> Run:
    """The run of a training."""
    options: dict[str, Any] = {"seed": seed, "monitor_images": 0, "out": str(folder)}
    if training == "frozen":
        options |= {"weights": "published", "epochs": 0}
    elif training == "continued":
        options |= {"weights": "published"}
    else:
        options |= {"weights": "none", "backbone": "efficientnet_lite0", "preset": "small"}
        kind = selfsight.METHODS["simclr"]
        options["views"] = [view.updated({"size": 0.5}) for view in kind.views]
        options |= {"steps": SCRATCH * STEPS, "batch_size": 64}
    return selfsight.pretrain("simclr", problem.images, **options)


def subjects_of(problem: Problem, run: Run) -> Iterator[tuple[str, Representations]]:
    """Both representations of a run's backbone, from one pass over the images."""
    backbone, images, train = run.backbone(), problem.images, problem.images.pool
    with torch.no_grad():
        frames = torch.zeros(1, images.channels, images.height, images.width)
        widths = [part.shape[1] for part in backbone.poolings(frames)]
    backbone.pooling = plain = StagePooling("stages", widths)  # centre 0, scale 1
    rows = np.union1d(train, problem.test)
    values = represent(backbone, images, rows, run.statistics, device="cpu")
    values *= (
        torch.tensor(widths, dtype=torch.float32).sqrt().repeat_interleave(torch.tensor(widths))
    )
    inside = torch.from_numpy(np.isin(rows, train))
    for kind in KINDS:
        pooling = StagePooling.fitted(kind, plain.widths, values[inside])
        yield kind, Representations.of(pooling(values), rows, train)


def compute(data: Path, out: Path) -> None:
    results = Results(out)
    problems = {kind.name: Problem.of(kind, data) for kind in SETS}
    for training, seed in jobs():
        for problem in problems.values():
            kind = problem.kind
            names = [name for name in SUBJECTS if name.startswith(training)]
            wanted = [
                (name, number, draw)
                for name in names
                for number in kind.labels
                for draw in range(1 if number == 0 else DRAWS)
                if (kind.name, name, seed, number, draw) not in results.rows
            ]
            if not wanted:
                continue
            start = time.process_time()
            folder = out / f"{kind.name}-{training}-{seed}"
            finished = (folder / "backbone.safetensors").is_file()
            run = load_run(folder) if finished else train(problem, training, seed, folder)
            trained = time.process_time()
            found = {f"{training} {name}": each for name, each in subjects_of(problem, run)}
            embedded = time.process_time()
            for name, number, draw in wanted:
                values = problem.measure(found[name], number, draw)
                about = {"set": kind.name, "subject": name, "seed": seed}
                results.add({**about, "labels": number, "draw": draw, "values": values})
            shutil.rmtree(folder)
            ends = [start, trained, embedded, time.process_time()]
            taken = ", ".join(
                f"{what} {after - before:.0f} s"
                for what, before, after in zip(
                    ("training", "representing", "probes"), ends, ends[1:], strict=False
                )
            )
            print(f"{kind.name}, {training}, seed {seed}: {taken} of the processor", flush=True)


def cell(values: Floats | None, problem: Problem) -> str:
    if values is None:
        return ""
    kind = problem.kind
    each = interval(
        values,
        problem.resampling,
        share=kind.bounds[0] == 0.0,
        of_images=kind.of_images,
        bounds=kind.bounds,
    )
    return f"{100 * each.mean:.1f}"


def shown(each: Interval | None) -> str:
    if each is None:
        return ""
    if each.low is None or each.high is None:
        return f"{100 * each.mean:+.1f} ({each.reason})"
    return f"{100 * each.mean:+.1f} ({100 * each.low:+.1f} to {100 * each.high:+.1f})"


def compared(results: Results, problem: Problem, ours: str, other: str, number: int | None) -> Any:
    """The interval of ``ours - other``; ``number`` None: the mean over the numbers of labels."""
    numbers = problem.kind.labels if number is None else (number,)
    of_number = []
    for each in numbers:
        pair = [results.scores(problem.kind, name, each) for name in (ours, other)]
        if pair[0] is None or pair[1] is None:
            return None
        of_number.append(pair)
    draws = max(pair[0].shape[1] for pair in of_number)
    scores = []
    for side in (0, 1):
        seeds = min(pair[side].shape[0] for pair in of_number)
        whole = [pair[side][:seeds] for pair in of_number]
        whole = [np.broadcast_to(v, (seeds, draws, v.shape[2])) for v in whole]
        scores.append(np.mean(whole, 0))
    lengths = [len(each) for each in scores]
    if min(lengths) > 1:  # what was trained on both sides is paired by seed
        scores = [each[: min(lengths)] for each in scores]
    kind, turned = problem.kind, lengths[0] == 1 < lengths[1]  # only the other side has seeds
    if turned:
        scores.reverse()
    found = difference(*scores, problem.resampling, of_images=kind.of_images, bounds=kind.bounds)
    if not turned:
        return found
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return replace(found, mean=-found.mean, low=low, high=high)


def pooled(effects: list[Interval]) -> tuple[tuple[float, float, float], ...]:
    """Mean and ends over the sets: random effects with Hartung and Knapp's interval, then plain."""
    values = np.array([each.mean for each in effects])
    halves = np.array([each.half for each in effects], np.float64)
    variances = (halves / 1.96) ** 2
    count = len(values)
    weights = 1 / variances
    mean = (weights * values).sum() / weights.sum()
    surplus = (weights * (values - mean) ** 2).sum() - (count - 1)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    weights = 1 / (variances + max(0.0, surplus / scale))
    mean = float((weights * values).sum() / weights.sum())
    spread = (weights * (values - mean) ** 2).sum() / (count - 1) / weights.sum()
    quantile = student.ppf(0.975, count - 1)
    half = float(quantile * np.sqrt(spread))
    plain = float(values.mean())
    wide = float(quantile * values.std(ddof=1) / np.sqrt(count))
    return (mean, mean - half, mean + half), (plain, plain - wide, plain + wide)


PAIRS = (
    ("continued stages", "frozen stages"),
    ("continued mean", "frozen mean"),
    ("frozen stages", "frozen mean"),
    ("frozen stages", "scratch stages"),
)


def table(data: Path, out: Path) -> None:
    """Prints everything that is there."""
    results = Results(out)
    problems = [Problem.of(kind, data) for kind in SETS]
    print("| set, metric | labels | " + " | ".join(SUBJECTS) + " | trainings |")
    print("| --- " * (len(SUBJECTS) + 3) + "|")
    for problem in problems:
        kind = problem.kind
        train, test = len(problem.images.pool), len(problem.test)
        for number in kind.labels:
            scores = {name: results.scores(kind, name, number) for name in SUBJECTS}
            count = [
                len(scores[name]) if scores[name] is not None else 0  # type: ignore[arg-type]
                for name in ("continued stages", "scratch stages")
            ]
            labels = "all" if number == 0 else f"{number}{' a class' * kind.each}"
            labels = "none" if kind.name == "lfw" else labels
            cells = " | ".join(cell(scores[name], problem) for name in SUBJECTS)
            print(
                f"| {kind.name} ({train:,} / {test:,}), {kind.metric} | {labels} | {cells} | "
                f"{count[0]}, scratch {count[1]} |"
            )
    for ours, other in PAIRS:
        print(f"\n{ours} - {other}, points with 95 % intervals\n")
        print("| set | fewest labels | more | all | mean of the three |\n" + "| --- " * 5 + "|")
        effects = []
        for problem in problems:
            of_number = [
                shown(compared(results, problem, ours, other, n)) for n in problem.kind.labels
            ]
            over_all = compared(results, problem, ours, other, None)
            if len(of_number) == 1:
                of_number = ["", "", *of_number]
            print(f"| {problem.kind.name} | {' | '.join(of_number)} | {shown(over_all)} |")
            if over_all is not None and over_all.half:
                effects.append(over_all)
        if len(effects) < 2:
            continue
        for (mean, low, high), how in zip(
            pooled(effects), ("random effects", "plain"), strict=True
        ):
            each = Interval(mean, low, high)
            print(f"| **{len(effects)} sets, {how}** |  |  |  | **{shown(each)}** |")
        if (ours, other) == PAIRS[0]:
            above = pooled(effects)[0][1] > 0
            worse = [
                p.kind.name for p in problems if _below(compared(results, p, ours, other, None))
            ]
            print(
                f"\nRule: pooled effect above zero with its interval: {'yes' if above else 'no'}; "
                f"sets worse beyond their interval: {', '.join(worse) or 'none'}."
            )


def _below(each: Interval | None) -> bool:
    return each is not None and each.high is not None and each.high < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of xsdd, deeppcb, nuclei, lfw, covid_cxr")
    parser.add_argument("--out", type=Path, default=Path("runs/starts"))
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not options.table:
        compute(options.data, options.out)
    table(options.data, options.out)


if __name__ == "__main__":
    main()
