from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.splits import few_labels
from selfsight.evaluation import finetuned as finetuned_module
from selfsight.evaluation.protocol import Evaluate, evaluate
from selfsight.fitting.finetune import FineTuning, Labelled, fine_tune
from selfsight.runs.run import load_run

SHORT = FineTuning(backbone_lrs=(1e-3, 5e-3), head_lrs=(1e-2,), epochs=1, min_steps=40)


def _labelled(images: ImageSet, run: Path, fraction: float = 0.3, name: str = "digit") -> Labelled:
    target = images.targets[name]
    rows = few_labels(target, images.rows("train"), fraction, 0)
    statistics = load_run(run).statistics
    return Labelled(images, target, rows, statistics, torch.device("cpu"), 0)


def test_it_learns_more_than_its_probe_and_leaves_the_start_alone(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    run = make_run(digits)
    start = load_run(run).backbone()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    labelled = _labelled(digits, run, 1.0)
    settings = SHORT.updated({"min_steps": 100, "backbone_lrs": (5e-3,)})
    found = fine_tune(start, labelled, settings)
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name]), name
    test = digits.rows("test")
    output = found.predict(digits, test, labelled.statistics)
    truth = digits.targets["digit"].values[test]
    assert found.choice["chosen"] is True
    assert (output.argmax(1).numpy() == truth).mean() > 0.5


def test_nothing_is_chosen_below_two_labels_a_class(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    run = make_run(digits)
    labelled = _labelled(digits, run, 0.01)
    found = fine_tune(load_run(run).backbone(), labelled, SHORT)
    again = fine_tune(load_run(run).backbone(), labelled, SHORT)
    test = digits.rows("test")
    outputs = [f.predict(digits, test, labelled.statistics) for f in (found, again)]
    assert torch.equal(*outputs)
    assert found.choice == {
        "chosen": False,
        "backbone_lr": 5e-3,
        "head_lr": 1e-2,
        "steps": 40,
    }


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_labels_and_numbers_with_unknown_entries(
    digits: ImageSet, make_run: Callable[..., Path], kind: Any
) -> None:
    digit = digits.targets["digit"].values
    if kind == "labels":
        values = np.stack([digit % 2 == 0, digit > 4], 1).astype(np.float32)
    else:
        values = np.stack([digit * 10.0 + 50, digits.pixels.mean((1, 2, 3))], 1).astype(np.float32)
    values[::5, 0] = np.nan
    images = replace(digits, targets={"t": Target("t", kind, values, ("a", "b"))})
    run = make_run(images)
    found = fine_tune(load_run(run).backbone(), _labelled(images, run, 0.5, "t"), SHORT)
    test = images.rows("test")
    output = found.predict(images, test, load_run(run).statistics).numpy()
    assert np.isfinite(output).all()
    if kind == "labels":
        assert found.thresholds is not None
        right = (output >= found.thresholds) == (values[test] > 0.5)
        assert right[~np.isnan(values[test])].mean() > 0.55
    else:
        assert np.corrcoef(output[:, 1], values[test, 1])[0, 1] > 0.5
        assert 40 < output[:, 0].mean() < 150


def test_evaluate_shows_it_beside_scratch_and_keeps_it(
    digits: ImageSet, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = finetuned_module.fine_tune

    def counted(*args: Any) -> Any:
        calls.append(args)
        return plain(*args)

    monkeypatch.setattr(finetuned_module, "fine_tune", counted)
    settings = Evaluate(
        run=str(make_run(digits)),
        fractions=(0.1,),
        draws=2,
        probes=("linear",),
        controls=(),
        clusters=False,
        finetune=True,
        finetuning=SHORT,
    )
    first = evaluate(settings, digits)
    assert len(calls) == 4
    shown = {(v["probe"], v["subject"]) for v in first.values if v["task"] == "class"}
    assert shown == {("linear", "trained"), ("finetune", "trained"), ("finetune", "scratch")}
    (difference,) = [d for d in first.differences if d["metric"] == "accuracy"]
    assert (difference["probe"], difference["control"]) == ("finetune", "scratch")
    assert "trained - scratch" in first.table()
    second = evaluate(settings, digits)
    assert len(calls) == 4
    assert second.records == first.records
