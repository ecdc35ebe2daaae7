from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation import scratch_comparison
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.settings import Evaluate
from selfsight.fitting.finetune import Start, first_head, train
from selfsight.fitting.labelled import Subset
from selfsight.fitting.recipe import FineTuning, Recipe
from selfsight.fitting.search import fine_tune
from selfsight.fitting.stopping import DivergedError
from selfsight.runs.run import load_run

SHORT = FineTuning(backbone_lr=(1e-3, 5e-3), head_lr=(1e-2,), epochs=1, min_steps=40)


def _subset(images: ImageSet, fraction: float = 0.3, name: str = "digit") -> Subset:
    return Subset.drawn(images, images.targets[name], images.rows("train"), fraction, 0)


def _start(run: Path) -> Start:
    opened = load_run(run)
    return Start(opened.backbone(), opened.statistics, torch.device("cpu"))


def test_it_learns_more_than_its_probe_and_leaves_the_start_alone(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    start = _start(make_run(digits))
    before = {name: value.clone() for name, value in start.backbone.state_dict().items()}
    settings = SHORT.updated({"min_steps": 100, "backbone_lr": 5e-3})
    found = fine_tune(start, _subset(digits, 1.0), settings)
    for name, value in start.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    test = digits.rows("test")
    truth = digits.targets["digit"].values[test]
    assert found.choice["chosen"] is True
    assert (found.predict(digits, test).argmax(1) == truth).mean() > 0.5


def test_nothing_is_chosen_below_two_labels_a_class(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    run = make_run(digits)
    found, again = (fine_tune(_start(run), _subset(digits, 0.01), SHORT) for _ in range(2))
    test = digits.rows("test")
    assert np.array_equal(found.predict(digits, test), again.predict(digits, test))
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
    found = fine_tune(_start(make_run(images)), _subset(images, 0.5, "t"), SHORT)
    test = images.rows("test")
    output = found.predict(images, test)
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
    plain = scratch_comparison.fine_tune

    def counted(*args: Any) -> Any:
        calls.append(args)
        return plain(*args)

    monkeypatch.setattr(scratch_comparison, "fine_tune", counted)
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
    shown = {(v["probe"], v["subject"]) for v in first.values if v["subject"] != "chance"}
    shown -= {("none", "trained")}
    assert shown == {("linear", "trained"), ("finetune", "trained"), ("finetune", "scratch")}
    accuracy = [d for d in first.differences if d["metric"] == "accuracy"]
    (difference,) = [d for d in accuracy if d["control"] != "chance"]
    assert (difference["probe"], difference["control"]) == ("finetune", "scratch")
    assert "trained - scratch" in first.table()
    second = evaluate(settings, digits)
    assert len(calls) == 4
    assert second.records == first.records


def test_one_rate_is_a_recipe_and_several_are_tried_each_with_each() -> None:
    one = FineTuning(backbone_lr=1e-3, head_lr=0.02)
    assert one.recipes == [Recipe(backbone_lr=1e-3, head_lr=0.02)]
    assert one.plain()["backbone_lr"] == [1e-3]
    pairs = [(r.backbone_lr, r.head_lr) for r in FineTuning(dropout=0.1).recipes]
    assert len(pairs) == len(set(pairs)) == 6
    assert {r.dropout for r in FineTuning(dropout=0.1).recipes} == {0.1}
    with pytest.raises(ValueError, match="backbone_lr"):
        FineTuning(backbone_lr=())


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_the_head_starts_as_the_linear_probe(
    digits: ImageSet, make_run: Callable[..., Path], kind: Any
) -> None:
    digit = digits.targets["digit"].values
    values = {
        "class": digit % 2,
        "labels": np.stack([digit % 2, digit > 4], 1).astype(np.float32),
        "number": np.stack([digit * 10.0 + 50], 1).astype(np.float32),
    }[kind]
    target = Target("t", kind, values, ("a", "b")[: 1 if kind == "number" else 2])
    subset = _subset(replace(digits, targets={"t": target}), 0.5, "t")
    start = _start(make_run(digits))
    features = start.represent(subset)
    head = first_head(subset, features)
    output = head(features).detach().numpy()
    if kind == "number":
        assert np.corrcoef(output[:, 0], subset.values[:, 0])[0, 1] > 0.5
        assert output.mean() == pytest.approx(subset.values.mean(), rel=0.01)
    elif kind == "class":
        assert (output.argmax(1) == subset.values).mean() > 0.6
    else:
        assert ((output > 0.5) == (subset.values > 0.5)).mean() > 0.6


def test_a_rate_that_diverges_is_left_out(digits: ImageSet, make_run: Callable[..., Path]) -> None:
    start, subset = _start(make_run(digits)), _subset(digits)
    found = fine_tune(start, subset, SHORT.updated({"backbone_lr": (1e12, 1e-3)}))
    assert found.choice["backbone_lr"] == 1e-3
    with pytest.raises(DivergedError, match="try lower ones"):
        fine_tune(start, subset, SHORT.updated({"backbone_lr": 1e12}))


def test_the_backbone_is_frozen_for_its_share(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    start, subset = _start(make_run(digits)), _subset(digits)
    features, nothing = start.represent(subset), np.zeros(len(subset), np.bool_)
    before = start.backbone.state_dict()
    for frozen, same in ((1.0, True), (0.5, False)):
        recipe = Recipe(frozen=frozen, dropout=0.2, min_steps=40, epochs=1, batch_size=32)
        found = train(start, subset, recipe, features, nothing, metric="accuracy", stop_at=30)
        assert found.steps == 30
        after = found.backbone.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before) is same


def test_what_published_weights_take(digits: ImageSet, make_run: Callable[..., Path]) -> None:
    """Frozen at first, statistics held, early layers slower; what is given counts."""
    taken = Recipe().resolved(published=True)
    assert (taken.frozen, taken.layer_decay, taken.batch_norm) == (0.1, 0.75, "held")
    plain = FineTuning().resolved(published=False)
    assert (plain.frozen, plain.layer_decay, plain.batch_norm) == (0.0, 1.0, "trained")
    own = Recipe(frozen=0.0, layer_decay=1.0, batch_norm="trained")
    assert own.resolved(published=True) == own
    start = replace(_start(make_run(digits)), published=True)
    subset = _subset(digits)
    features, nothing = start.represent(subset), np.zeros(len(subset), np.bool_)
    before = start.backbone.network.state_dict()

    def moves(recipe: Recipe, stop_at: int = 20) -> dict[str, float]:
        found = train(start, subset, recipe, features, nothing, metric="loss", stop_at=stop_at)
        after = found.backbone.network.state_dict()
        return {name: float((after[name] - before[name]).abs().max()) for name in before}

    short = Recipe(min_steps=40, epochs=1)
    found = moves(short)
    assert all(move == 0 for name, move in found.items() if "running" in name or "num" in name)
    assert max(moves(short, stop_at=4).values()) == 0.0  # a tenth of 40 steps
    assert moves(short.updated({"batch_norm": "trained"}))["bn1.running_mean"] > 0
    # Adam moves each weight by about its rate: the first layer lags, the last does not.
    even, slow = (moves(short.updated({"layer_decay": decay})) for decay in (1.0, 0.2))
    assert slow["conv1.weight"] < 0.3 * even["conv1.weight"]
    last = "layer2.0.conv2.weight"
    assert slow[last] > 0.7 * even[last]


def test_an_anchor_keeps_the_weights_near(digits: ImageSet, make_run: Callable[..., Path]) -> None:
    start, subset = _start(make_run(digits)), _subset(digits)
    features, nothing = start.represent(subset), np.zeros(len(subset), np.bool_)
    distances = []
    for anchor in (0.0, 0.1, 10.0):
        recipe = Recipe(anchor=anchor, min_steps=40, epochs=1)
        found = train(start, subset, recipe, features, nothing, metric="loss", stop_at=40)
        pairs = zip(found.backbone.parameters(), start.backbone.parameters(), strict=True)
        distances.append(sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.95 * distances[0]  # Adam takes steps of its rate against any pull


def test_labels_that_say_nothing_are_refused(digits: ImageSet) -> None:
    target = digits.targets["digit"]
    rows = digits.rows("train")
    one = np.full((len(digits), 2), np.nan, np.float32)
    one[:, 0] = 1.0
    cases = {
        "there is one labelled image": (target, rows[:1]),
        "all of one class": (target, rows[target.values[rows] == 3]),
        "b is unknown": (Target("n", "number", one, ("a", "b")), rows),
        "identities are retrieved": (replace(target, kind="identity"), rows),
    }
    for said, (given, some) in cases.items():
        with pytest.raises(ValueError, match=said):
            Subset(digits, given, some).check()
