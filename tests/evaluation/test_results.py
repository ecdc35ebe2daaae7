"""A second evaluation never erases the first, and two at once lose nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.evaluation import measured
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.result_tables import ADJUSTED
from selfsight.evaluation.results import Results, unique_names
from selfsight.evaluation.settings import Evaluate
from selfsight.records.content import read_record
from selfsight.records.results import ResultsFile
from selfsight.reporting.report import write_report

MakeRun = Callable[..., Path]
EVALUATION: dict[str, Any] = {
    "data": "images",
    "source": "/siteA/images.npz",
    "fingerprint": "a" * 16,
    "sides": "s",
    "target": "grade",
    "labels": "l",
    "backbone": "w",
    "representation": "output",
    "balanced": False,
    "seed": 0,
    "protocol": 1,
    "when": "2026-01-01T00:00:00",
    "notes": [],
    "allowed_leaks": [],
}
ADDING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_results import results
for number in range(int(sys.argv[4])):
    results(Path(sys.argv[1]), sys.argv[2], fraction=(number + 1) / 100).write()
"""


def results(path: Path, key: str = "e", *, fraction: float = 1.0, **changes: Any) -> Results:
    """One number of one evaluation, with its reading of test."""
    evaluation = {**EVALUATION, "notes": [], "allowed_leaks": [], **changes}
    made = Results(path, evaluation["backbone"], {key: evaluation})
    place = {
        "evaluation": key,
        "data": evaluation["data"],
        "task": "class",
        "target": evaluation["target"],
        "split": "test",
        "probe": "linear",
        "label_fraction": fraction,
        "num_labels": 10,
    }
    row = {**place, "subject": "trained", "label_seed": 0}
    made.records.append({**row, "metric": "accuracy", "label": None, "value": 0.5})
    of_mean = {"metric": "accuracy", "label": None, "mean": 0.5, "low": 0.4, "high": 0.6}
    made.values.append({**place, "subject": "trained", "draws": 3, **of_mean})
    made.values.append({**place, "subject": "untrained", "draws": 3, **of_mean})
    gap = {**of_mean, "control": "untrained", "draws": 3, "mean": 0.2, "low": 0.1, "high": 0.3}
    made.differences.append({**place, **gap, "raw_p": 0.02, "p": 0.02, "verdict": "better"})
    made.test_readings.append({**row, "when": evaluation["when"]})
    return made


def test_cautions_are_kept_and_shown_with_their_evaluation(tmp_path: Path) -> None:
    path, caution = tmp_path / "results.json", "3 test images were seen without their labels."
    results(path).write()  # its entry has no cautions, as in files of before
    later = results(path, "other", backbone="new", cautions=[caution], target="size")
    later.cautions.append(caution)
    later.write()
    read = Results.read(path)
    assert read.cautions == [caution] == read_record(ResultsFile, path).cautions
    assert f"\nCaution: {caution}" in read.table() and caution in read._repr_html_()
    results(path, backbone="w").write()
    assert Results.read(path).cautions == []  # of the weights that were evaluated last


def test_other_fractions_stay_and_the_same_row_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(path, fraction=0.1).write()
    results(path, fraction=1.0).write()
    again = results(path, fraction=1.0)
    again.records[0]["value"] = 0.75
    again.write()
    kept = Results.read(path)
    assert [(r["label_fraction"], r["value"]) for r in kept.records] == [(0.1, 0.5), (1.0, 0.75)]
    assert len(kept.values) == 4
    assert len(kept.test_readings) == 3


def test_fewer_draws_do_not_take_the_place_of_more(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(path).write()
    fewer = results(path)
    for row in (*fewer.values, *fewer.differences):
        row["draws"], row["mean"] = 1, 0.0
    fewer.write()
    assert {row["draws"] for row in Results.read(path).values} == {3}


@pytest.mark.parametrize(
    "changes",
    [
        {"balanced": True},
        {"seed": 1},
        {"representation": "stages"},
        {"source": "/siteB/images.npz", "fingerprint": "b" * 16},
    ],
)
def test_another_way_or_other_images_stand_beside(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "results.json"
    results(path, "first").write()
    results(path, "second", **changes).write()
    kept = Results.read(path)
    assert [row["evaluation"] for row in kept.records] == ["first", "second"]
    text = kept.table()
    assert text.count("mean ± half") == 2
    titles = [line for line in text.splitlines() if "mean ± half" in line]
    assert titles[0] != titles[1]
    page = write_report([tmp_path]).read_text()
    if "fingerprint" in changes:
        assert {row["data"] for row in kept.records} == {"images", "siteB/images"}
        assert "siteB/images" in page


@pytest.mark.parametrize(
    "changes", [{"labels": "more"}, {"sides": "other"}, {"fingerprint": "c" * 16}]
)
def test_what_has_changed_since_is_kept_but_not_shown(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "results.json"
    results(path, "old", notes=["few labels"]).write()
    results(path, "new", when="2026-02-01T00:00:00", **changes).write()
    whole, shown = read_record(ResultsFile, path), Results.read(path)
    assert [row.evaluation for row in whole.records] == ["old", "new"]
    assert [row["evaluation"] for row in shown.records] == ["new"]
    assert shown.notes == []
    assert len(shown.test_readings) == 2
    results(path, "old", when="2026-03-01T00:00:00").write()  # the first labels once more
    assert [row["evaluation"] for row in Results.read(path).records] == ["old"]


def test_other_weights_are_kept_but_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(path, "first").write()
    results(path, "second", backbone="v").write()
    assert len(read_record(ResultsFile, path).records) == 2
    assert [row["evaluation"] for row in Results.read(path).records] == ["second"]


def test_one_verdict_is_primary_and_the_others_are_adjusted_together(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for fraction in (0.01, 0.1, 1.0):
        results(path, fraction=fraction).write()
    results(path, "balanced", balanced=True).write()
    rows = Results.read(path).differences
    assert [row["primary"] for row in rows] == [False, False, True, False]
    assert rows[2]["p"] == rows[2]["raw_p"] == 0.02
    assert [row["p"] for row in rows if not row["primary"]] == pytest.approx([0.06] * 3)
    assert [row["verdict"] for row in rows] == [
        "no better than the control",
        "no better than the control",
        "better",
        "no better than the control",
    ]


def test_names_of_data_are_unique() -> None:
    given = {
        "a": ("images", "/x/siteA/images.npz", "1"),
        "b": ("images", "/x/siteB/images.npz", "2"),
        "c": ("images", "/y/siteB/images.npz", "3abcdefgh"),
        "d": ("images", "", "1"),
    }
    names = unique_names(given)
    assert names == {
        "a": "images",
        "b": "siteB/images",
        "c": "images (3abcde)",
        "d": "images",
    }


@pytest.mark.parametrize("containers", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_at_once_lose_nothing(tmp_path: Path, containers: bool) -> None:
    prefix = []
    if containers:
        prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
        if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False).returncode:
            pytest.skip("this machine gives no process its own process numbers")
    path, count = tmp_path / "results.json", 12
    code = [sys.executable, "-c", ADDING, str(path)]
    here = str(Path(__file__).parent)
    both = [
        subprocess.Popen([*prefix, *code, key, here, str(count)], stderr=subprocess.PIPE)
        for key in ("one", "two")
    ]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    kept = read_record(ResultsFile, path)
    assert len(kept.records) == len(kept.test_readings) == 2 * count
    assert {row.evaluation for row in kept.records} == {"one", "two"}


def test_evaluations_of_two_sites_with_one_file_name(
    tmp_path: Path, digits: ImageSet, make_run: MakeRun
) -> None:
    run = make_run(digits)
    for number, site in enumerate(("siteA", "siteB")):
        (tmp_path / site).mkdir()
        part = digits.take(np.arange(number * 200, 240 + number * 200))
        np.savez(
            tmp_path / site / "images.npz", images=part.pixels, digit=part.targets["digit"].values
        )
        wish = Evaluate(
            run=str(run),
            data=str(tmp_path / site / "images.npz"),
            fractions=(1.0,),
            probes=("knn",),
            controls=("pixels",),
            clusters=False,
            allow_leaks=True,
        )
        evaluate(wish)
    kept = Results.read(run / "results.json")
    assert {row["data"] for row in kept.records} == {"images", "siteB/images"}
    table = pq.read_table(run / "predictions.parquet")
    assert len(set(table["evaluation"].to_pylist())) == 2
    assert all(row_id.startswith("#") for row_id in table["row_id"].to_pylist())
    # A renamed copy holds the same images: its results take the place of those of the first.
    shutil.copy(tmp_path / "siteA" / "images.npz", tmp_path / "copy.npz")
    evaluate(wish.updated({"data": str(tmp_path / "copy.npz")}))
    again = Results.read(run / "results.json")
    assert len(again.records) == len(kept.records)
    assert {row["data"] for row in again.records} == {"copy", "siteB/images"}


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("stop_before", ["write", "settle"])
def test_a_stop_between_predictions_and_results_loses_nothing(
    digits: ImageSet,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    earlier: bool,
    stop_before: str,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    run = make_run(digits)
    wish = Evaluate(run=str(run), probes=("knn",), controls=("pixels",), clusters=False)
    if earlier:
        evaluate(wish.updated({"fractions": (1.0,)}), digits)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if stop_before == "write":
            patch.setattr(Results, "write", interrupt)
        else:
            patch.setattr(measured, "settle", interrupt)
        evaluate(wish.updated({"fractions": (0.5,)}), digits)
    results = evaluate(wish.updated({"fractions": (0.5,)}), digits)
    assert not any("damaged" in note for note in Results.read(results.path).notes)
    table = pq.read_table(run / "predictions.parquet")
    fractions = {0.5, 1.0} if earlier else {0.5}
    assert set(table["label_fraction"].to_pylist()) == fractions
    knn = [row for row in table.to_pylist() if row["label_fraction"] == 1.0]
    ids = [(row["row_id"], row["subject"]) for row in knn]
    assert len(ids) == len(set(ids))
    assert not list(run.glob("predictions.previous*"))


def test_damaged_predictions_are_replaced_with_a_note(digits: ImageSet, make_run: MakeRun) -> None:
    run = make_run(digits)
    wish = Evaluate(run=str(run), probes=("knn",), controls=("pixels",), clusters=False)
    evaluate(wish.updated({"fractions": (1.0,)}), digits)
    path = run / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:99])
    results = evaluate(wish.updated({"fractions": (0.5,)}), digits)
    assert any("was damaged and has been replaced" in note for note in results.notes)
    assert set(pq.read_table(path)["label_fraction"].to_pylist()) == {0.5}


@pytest.mark.parametrize(
    ("low", "verdict", "noted"),
    [
        (0.1, "no better than the control", True),
        (-0.1, "no better than the control", False),
        (0.1, "better", False),
    ],
)
def test_a_verdict_that_only_the_adjustment_denies_is_explained(
    tmp_path: Path, low: float, verdict: str, noted: bool
) -> None:
    shown = results(tmp_path / "results.json")
    shown.differences[0] |= {"low": low, "verdict": verdict}
    assert (ADJUSTED in shown.table()) == (ADJUSTED in shown._repr_html_()) == noted
    shown.differences[0]["metric"] = "macro_f1"  # which the table does not show
    assert ADJUSTED not in shown.table()


def test_measures_without_a_probe_are_called_by_their_titles(tmp_path: Path) -> None:
    shown = results(tmp_path / "results.json")
    row = {**shown.values[0], "target": None, "mean": 20.1, "low": None, "high": None}
    shown.values.append({**row, "task": "none", "probe": "none", "metric": "rankme"})
    row = {**shown.values[0], "task": "clusters", "probe": "k_means", "metric": "ari"}
    shown.values.append(row)
    text = shown.table()
    assert "representations of the test images (no label is used)\nmeasure  trained\nRankMe" in text
    assert "k-means      adjusted Rand index  0.500 ± 0.100" in text
