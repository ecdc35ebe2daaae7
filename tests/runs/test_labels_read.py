"""num_labels: the union of the labels that ancestors, training, selection and fit read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import selfsight
from selfsight.evaluation.results import Results
from selfsight.runs.labels_read import LabelsRead, label_draw
from selfsight.runs.lineage import lineage_of
from selfsight.runs.request import own_images
from selfsight.runs.run import Run, load_run

MakeFile = Callable[..., Path]
TrainRun = Callable[..., Run]
QUICK: dict[str, Any] = {
    "fractions": (0.1, 1.0),
    "probes": ("knn",),
    "controls": ("start", "untrained"),
    "clusters": False,
    "device": "cpu",
}


def counts(results: Results, subject: str) -> dict[float, float]:
    """Share of labels -> num_labels."""
    return {
        v["label_fraction"]: v["num_labels"] for v in results.values
        if (v["probe"], v["subject"]) == ("knn", subject)
    }  # fmt: skip


def test_a_supervised_training_counts(make_file: MakeFile, train_run: TrainRun) -> None:
    data = make_file("a", range(120), range(120, 150))
    run = train_run("run", data, "supervised")
    labelled = len(own_images(run).rows("train"))
    results = selfsight.evaluate(run, **QUICK)
    assert counts(results, "trained") == {0.1: labelled, 1.0: labelled}
    assert counts(results, "untrained") == {0.1: round(0.1 * labelled), 1.0: labelled}
    few = round(0.1 * labelled)
    share = f"{100 * few / labelled:.3g} %"
    assert f"{few} of {labelled} labels ({share}; trained: {labelled} in all)" in results.table()
    page = selfsight.report(run.folder.path).read_text()
    assert f"for the probe and {labelled} labels read in all" in page.replace("\xa0", " ")
    assert "counts every label" not in page
    plain = train_run("plain", data)
    results = selfsight.evaluate(plain, **QUICK)
    assert counts(results, "trained") == {0.1: few, 1.0: labelled}
    assert "Labels were read by the probes alone" in selfsight.report(plain.folder.path).read_text()


def test_a_drawn_part_is_evaluated_on_the_same_draw(
    make_file: MakeFile, train_run: TrainRun
) -> None:
    data = make_file("a", range(120), range(120, 150))
    part = {"supervision.weight": 1.0, "supervision.label_fraction": 0.3}
    run = train_run("run", data, **part, **{"supervision.label_seed": 2})
    assert label_draw(run) == 2
    labelled = len(own_images(run).rows("train"))
    read = round(0.3 * labelled)
    results = selfsight.evaluate(run, **{**QUICK, "fractions": (0.1, 0.3, 1.0)})
    # The smaller share is a part of the larger one, which is the training's own.
    assert counts(results, "trained") == {0.1: read, 0.3: read, 1.0: labelled}
    assert {r["label_seed"] for r in results.records if r["probe"] == "knn"} == {2}
    assert any("one draw of labels (seed 2)" in note for note in results.notes)
    asked = selfsight.evaluate(run, **{**QUICK, "fractions": (0.3,), "draws": 3})
    seeds = {r["label_seed"]: r["num_labels"] for r in asked.records
             if (r["probe"], r["subject"]) == ("knn", "trained")}  # fmt: skip
    assert set(seeds) == {0, 1, 2} and seeds[2] == read and seeds[0] > read and seeds[1] > read


def test_a_start_counts_and_a_label_counts_once(make_file: MakeFile, train_run: TrainRun) -> None:
    data = make_file("a", range(120), range(120, 150))
    first = train_run("first", data, "supervised", **{"supervision.label_fraction": 0.5})
    second = train_run("second", data, weights=str(first.folder.path))
    images = own_images(second)
    labelled = len(images.rows("train"))
    results = selfsight.evaluate(second, **QUICK)
    assert counts(results, "trained") == {0.1: round(0.5 * labelled), 1.0: labelled}
    assert counts(results, "start") == counts(results, "trained")
    other = make_file("b", range(150, 190), range(190, 200))
    third = train_run("third", other, "supervised", weights=str(first.folder.path))
    own = len(own_images(third).rows("train"))
    read = LabelsRead.by(lineage_of([third]), own_images(third), "labels")
    assert read.elsewhere == round(0.5 * labelled)
    assert read.with_rows(own_images(third).rows("train")[:3]) == own + read.elsewhere
    model = selfsight.finetune(
        third, out=third.path.parent / "m", head_only="linear", device="cpu", label_fraction=0.5
    )
    assert model.card.num_labels == own + read.elsewhere


def test_the_choice_between_trainings_counts(make_file: MakeFile, tmp_path: Path) -> None:
    data = make_file("a", range(120), range(120, 150))
    tuned = selfsight.tune_pretrain(
        "simclr", data, trials=2, out=str(tmp_path / "study"), fractions=(0.1,), device="cpu",
        settings={"backbone": "resnet20", "network.widths": (4, 8), "network.depths": (1, 1),
                  "epochs": 1, "batch_size": 16, "monitor_images": 30},
    )  # fmt: skip
    assert tuned is not None
    (best,) = {p.parent for p in (tmp_path / "study").glob("best-*/selection.parquet")}
    run = load_run(best)
    chosen = pq.read_table(run.folder.selection)["row_id"].to_pylist()
    assert 20 <= len(chosen) <= 30
    images = own_images(run)
    read = LabelsRead.by(lineage_of([run]), images, "labels")
    assert set(images.row_ids[read.read]) == set(chosen)
    results = Results.read(run.folder.results)
    trained = {v["num_labels"] for v in results.values
               if (v["probe"], v["subject"]) == ("knn", "trained")}  # fmt: skip
    drawn = round(0.1 * len(images.rows("train")))
    assert trained != {drawn} and min(trained) > len(chosen)
    assert np.isin(chosen, images.row_ids[images.rows("train", "validation")]).all()
