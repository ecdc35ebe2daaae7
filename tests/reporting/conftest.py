"""A run folder as a training and an evaluation leave it, from the digits inside scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.datasets import load_digits

MakeRun = Callable[..., Path]
LEVELS = {
    "trained": (0.83, 0.97, 0.992),
    "untrained": (0.47, 0.85, 0.95),
    "pixels": (0.6, 0.9, 0.96),
}
TITLES = {"simclr": "SimCLR", "vicreg": "VICReg"}
FRACTIONS = ((0.01, 15), (0.1, 144), (1.0, 1437))


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels ``(N, 8, 8, 1)`` uint8, targets and a 2-D projection."""
    data = load_digits()
    pixels = (data.images * 255 / 16).astype(np.uint8)[..., None]
    flat = data.data - data.data.mean(0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    return pixels, data.target, (flat @ directions[:2].T).astype(np.float32)


@pytest.fixture
def make_run() -> MakeRun:
    """`synthetic_run`, as a fixture."""
    return synthetic_run


ALONE = """
import sys
from selfsight.reporting.{kind} import {name}
print({name}({argument!r}))
wrong = {{"torch", "lightning", "sklearn", "optuna"}} & set(sys.modules)
assert not wrong, wrong
"""


@pytest.fixture
def opened_alone() -> Callable[[str, str, object], Path]:
    """Writes a page in a fresh interpreter, which must not have imported torch by then."""

    def opened(kind: str, name: str, argument: object) -> Path:
        code = ALONE.format(kind=kind, name=name, argument=argument)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    return opened


@pytest.fixture
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the five megabytes of Plotly."""
    monkeypatch.setattr("selfsight.reporting.page.plotly_source", lambda: "/* left out */")


def synthetic_run(
    folder: Path,
    *,
    method: str = "simclr",
    kind: str = "class",
    seed: int = 0,
    gain: float = 0.0,
    collapsed: bool = False,
    class_names: Sequence[str] = tuple("0123456789"),
    row_prefix: str = "digit",
    allowed_leaks: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Path:
    """Write a run folder; `gain` is added to the trained representation's results."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels, classes, places = digits()
    ids = [f"{row_prefix}#{row}" for row in range(len(pixels))]
    splits = random.choice(["train", "validation", "test"], len(pixels), p=[0.7, 0.1, 0.2])
    writers = {
        "settings.yaml": lambda: _settings(folder, method, seed),
        "environment.json": lambda: _environment(folder, len(pixels), method, allowed_leaks),
        "splits.parquet": lambda: _splits(folder, ids, splits, classes, kind, class_names, random),
        "metrics.csv": lambda: _metrics(folder, random, collapsed),
        "samples.npz": lambda: _samples(folder, pixels, random),
        "results.json": lambda: _results(folder, kind, gain, random),
        "map.npz": lambda: _map(folder, ids, splits, classes, places, pixels, class_names),
    }
    for name, write in writers.items():
        if name not in without:
            write()
    return folder


def _settings(folder: Path, method: str, seed: int) -> None:
    settings = {
        "method": {"name": method, "temperature": 0.5},
        "data": "digits",
        "backbone": "resnet20",
        "epochs": 40,
        "batch_size": 256,
        "seed": seed,
        "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.0001},
        "out": str(folder),
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def _environment(folder: Path, images: int, method: str, leaks: Sequence[str]) -> None:
    environment: dict[str, Any] = {
        "selfsight": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "lightning": "2.6.6",
        "numpy": "2.4.6", "device": "cpu", "threads": 2, "commit": "0123abc",
        "method": {"title": TITLES.get(method, method), "paper": "arXiv:2002.05709"},
        "data": {
            "fingerprint": "00aa11bb22cc33dd", "name": "digits", "images": images,
            "height": 8, "width": 8, "channels": 1, "dtype": "uint8",
            "notes": ["8 x 8 digits are not mirrored: a mirrored 3 is no digit."],
        },
        "command": ["selfsight", "pretrain", method, "digits", "--epochs", "40"],
        "seconds": 21.7, "images_per_second": 2650.0,
    }  # fmt: skip
    if leaks:
        environment["allowed_leaks"] = list(leaks)
    (folder / "environment.json").write_text(json.dumps(environment))


def _splits(
    folder: Path,
    ids: list[str],
    splits: np.ndarray,
    classes: np.ndarray,
    kind: str,
    names: Sequence[str],
    random: np.random.Generator,
) -> None:
    column: pa.Array
    if kind == "class":
        text = [None if random.random() < 0.02 else names[c] for c in classes]
        column = pa.array(text, pa.string())
    elif kind == "labels":
        several = [
            None if random.random() < 0.05 else [names[c], names[0]][: 1 + c % 2] for c in classes
        ]
        column = pa.array(several, pa.list_(pa.string()))
    else:
        numbers = [None if c == 9 else [float(c * 3 + random.normal())] for c in classes]
        column = pa.array(numbers, pa.list_(pa.float64()))
    table = pa.table({
        "row_id": ids,
        "split": splits.tolist(),
        "group": pa.array([row // 7 for row in range(len(ids))], pa.int64()),
        "target": column,
    })  # fmt: skip
    pq.write_table(table, folder / "splits.parquet")


def _metrics(folder: Path, random: np.random.Generator, collapsed: bool) -> None:
    lines = ["step,epoch,progress,lr,loss,knn,effective_rank"]
    steps = 40 * 5
    for step in range(1, steps + 1):
        progress = step / steps
        loss = 4.0 * np.exp(-3 * progress) + 1.2 + 0.1 * random.normal()
        knn = rank = ""
        if step % 5 == 0:
            knn = f"{0.5 + 0.45 * (1 - np.exp(-4 * progress)):.4f}"
            rank = f"{64 * np.exp(-9 * progress) if collapsed else 20 + 18 * progress:.3f}"
        lr = 0.002 * 0.5 * (1 + np.cos(np.pi * progress))
        lines.append(f"{step},{(step - 1) // 5},{progress:.4f},{lr:.6f},{loss:.5f},{knn},{rank}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def _samples(folder: Path, pixels: np.ndarray, random: np.random.Generator) -> None:
    chosen = pixels[random.choice(len(pixels), 8, replace=False)]
    views = {
        f"view_{i}": np.clip(np.roll(chosen, i + 1, 2) * random.uniform(0.7, 1.2), 0, 255)
        for i in range(2)
    }
    np.savez(folder / "samples.npz", images=chosen, **{k: v.astype("u1") for k, v in views.items()})


def _results(folder: Path, kind: str, gain: float, random: np.random.Generator) -> None:
    task, metrics, probes = {
        "class": ("class", ("accuracy", "macro_f1"), ("knn", "linear")),
        "labels": ("labels", ("mAP", "micro_f1"), ("linear",)),
        "number": ("number", ("r2", "rmse"), ("ridge",)),
    }[kind]
    shared = {"data": "digits", "task": task, "target": "digit"}
    records, values, differences, readings = [], [], [], []
    for metric in metrics:
        for probe in probes:
            for at, (fraction, count) in enumerate(FRACTIONS):
                draws = 1 if fraction == 1 else 5
                drawn = {}
                for weights, levels in LEVELS.items():
                    level = levels[at] + (gain if weights == "trained" else 0.0)
                    if metric == "rmse":
                        level = 10 * (1 - level)
                    drawn[weights] = level + 0.02 * random.normal(size=draws) * (1 - levels[at])
                place = {
                    **shared, "probe": probe, "label_fraction": fraction, "num_labels": count,
                    "split": "test", "metric": metric, "label": None,
                }  # fmt: skip
                for weights, numbers in drawn.items():
                    values.append({**place, "subject": weights, "draws": draws, **_about(numbers)})
                    for draw, number in enumerate(numbers):
                        one = {"subject": weights, "label_seed": draw, "value": float(number)}
                        records.append({**place, **one})
                        if metric == metrics[0]:
                            readings.append({
                                "when": f"2026-05-01T10:00:{draw:02d}+00:00", "probe": probe,
                                "subject": weights, "label_fraction": fraction,
                                "label_seed": draw,
                            })  # fmt: skip
                for control in ("untrained", "pixels"):
                    about = _about(drawn["trained"] - drawn[control])
                    verdict = "no better than the control"
                    if about["low"] > 0:
                        verdict = "worse" if metric == "rmse" else "better"
                    elif about["high"] < 0:
                        verdict = "better" if metric == "rmse" else "worse"
                    place_of = {**place, "control": control, "draws": draws, "verdict": verdict}
                    differences.append({**place_of, **about})
    results = {
        "records": records,
        "summary": {"values": values, "differences": differences},
        "test_readings": readings,
        "notes": ["With under two labels a class the linear probe used its fixed default."],
    }
    (folder / "results.json").write_text(json.dumps(results))


def _about(numbers: np.ndarray) -> dict[str, float]:
    mean = float(numbers.mean())
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}


def _map(
    folder: Path,
    ids: list[str],
    splits: np.ndarray,
    classes: np.ndarray,
    places: np.ndarray,
    pixels: np.ndarray,
    names: Sequence[str],
) -> None:
    rows = np.flatnonzero(splits == "test")
    (folder / "representations").mkdir(exist_ok=True)
    np.savez(
        folder / "representations" / "map.npz",
        x=places[rows],
        thumbnails=np.repeat(pixels[rows], 3, axis=3),
        row_ids=np.array(ids)[rows],
        splits=splits[rows],
        target=np.array([names[c] for c in classes[rows]]),
    )
