"""Representations made elsewhere get the same probes, controls, intervals and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import selfsight
from selfsight.cli import main
from selfsight.evaluation.features import open_features
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.settings import Evaluate
from selfsight.records.content import read_record
from selfsight.records.results import ResultsFile

COUNT, CLASSES = 240, 4
QUICK: dict[str, Any] = {"fractions": (0.2, 1.0), "draws": 2, "clusters": False, "device": "cpu"}


def made(seed: int, signal: float, width: int = 12) -> np.ndarray:
    """Features in which the class shows with a strength."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(CLASSES, width))
    values = signal * centres[classes()] + random.normal(size=(COUNT, width))
    return values.astype(np.float32)


def classes() -> np.ndarray:
    return np.arange(COUNT) % CLASSES


def columns() -> dict[str, Any]:
    splits = np.where(np.arange(COUNT) % 5 == 0, "test", "train")
    return {
        "row_id": [f"{row:04}.png" for row in range(COUNT)],
        "target": [f"class {c}" for c in classes()],
        "split": splits.tolist(),
        "group": [f"g{row // 4}" for row in range(COUNT)],
    }


def write(path: Path, values: np.ndarray, form: str, **changes: Any) -> Path:
    about = {**columns(), **changes}
    del about["group"]  # each row is a group of its own
    if form == "npz":
        np.savez(path, features=values, **{n: np.array(v) for n, v in about.items()})
    elif form == "list":
        pq.write_table(pa.table({**about, "embedding": values.tolist()}), path)
    else:
        numbered = {f"f{k}": values[:, k] for k in range(values.shape[1])}
        pq.write_table(pa.table({**about, **numbered}), path)
    return path


@pytest.mark.parametrize("form", ["list", "numbered", "npz"])
def test_every_form_gives_the_same_images(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"mine.{'npz' if form == 'npz' else 'parquet'}"
    write(path, made(0, 1.0), form)
    images = open_features(path, Evaluate(features=str(path)))
    assert images.pixels.shape == (COUNT, 1, 12, 1)
    assert np.array_equal(images.pixels[:, 0, :, 0], made(0, 1.0))
    assert images.targets["target"].kind == "class"
    assert len(images.rows("test")) == COUNT // 5
    assert images.row_ids[3] == "0003.png"


def test_the_same_table_as_for_a_run(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.parquet", made(0, 1.0), "list")
    order = np.random.default_rng(1).permutation(COUNT)
    other = tmp_path / "other.npz"
    np.savez(other, x=made(1, 0.0)[order], row_id=np.array(columns()["row_id"])[order])
    results = evaluate(Evaluate(features=str(mine), control=(str(other),), **QUICK))
    folder = tmp_path / "mine-evaluation"
    kept = read_record(ResultsFile, folder / "results.json")
    assert {row.subject for row in kept.records} == {"trained", "other", "chance"}
    assert {row.probe for row in kept.records} >= {"knn", "linear"}
    best = [d for d in kept.summary.differences if d.metric == "accuracy" and d.fraction == 1.0]
    verdicts = {(d.probe, d.control): d.verdict for d in best}
    assert verdicts["linear", "other"] == verdicts["linear", "chance"] == "better"
    assert "trained - other" in results.table()
    assert (folder / "predictions.parquet").is_file()
    assert any("is not known here" in note for note in results.notes)
    page = (folder / "report.html").read_text()
    assert "mine" in page and "other" in page


def test_features_without_signal_are_not_better(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", made(0, 0.0), "npz")
    results = evaluate(Evaluate(features=str(path), **QUICK))
    accuracy = [d for d in results.differences if d["metric"] == "accuracy"]
    assert {d["verdict"] for d in accuracy} == {"no better than the control"}


def test_identical_features_on_two_sides_are_a_leak(tmp_path: Path) -> None:
    values = made(0, 1.0)
    values[1] = values[0]  # row 0 is in test, row 1 in train
    path = write(tmp_path / "mine.parquet", values, "numbered")
    with pytest.raises(ValueError, match="leaks across its splits"):
        evaluate(Evaluate(features=str(path), **QUICK))
    results = evaluate(Evaluate(features=str(path), drop_leaks=True, **QUICK))
    assert results.allowed_leaks == []


def test_labels_join_by_row_id(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, features=made(0, 1.0), row_id=np.array(columns()["row_id"]))
    table = pa.table({name: columns()[name] for name in ("row_id", "target", "split")})
    pq.write_table(table, tmp_path / "labels.parquet")
    results = evaluate(
        Evaluate(features=str(path), labels=str(tmp_path / "labels.parquet"), **QUICK)
    )
    assert {row["target"] for row in results.records} == {None, "target"}


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("nan", "row 7 are not finite"),
        ("ids", "row_id are not unique"),
        ("none", "holds no features"),
        ("missing", r"has no row '0239\.png'"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], problem: str, message: str
) -> None:
    values = made(0, 1.0)
    path = tmp_path / "mine.parquet"
    words = ["evaluate", "--features", str(path), "--device", "cpu"]
    if problem == "nan":
        values[7, 2] = np.nan
    write(path, values, "list", **({"row_id": ["a"] * COUNT} if problem == "ids" else {}))
    if problem == "none":
        pq.write_table(pa.table(columns()), path)
    if problem == "missing":
        np.savez(tmp_path / "short.npz", x=values[:-1], row_id=np.array(columns()["row_id"][:-1]))
        words += ["--control", str(tmp_path / "short.npz")]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    import re

    assert re.search(message, printed)


def test_a_run_or_features_not_both() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        selfsight.evaluate()
    with pytest.raises(ValueError, match="one of the two"):
        selfsight.evaluate("run", features="x.parquet")
