"""Labels joined to a method: formulas, gradients, processes, unknowns, and the training itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.loader import Loader
from selfsight.data.request import open_images
from selfsight.data.splits import few_labels
from selfsight.method import Batch
from selfsight.training.plan import prepare
from selfsight.training.pretrain import _targets, build, pretrain
from selfsight.training.settings import Pretrain
from selfsight.training.supervision import (
    Supervision,
    WithLabels,
    labels_to_read,
    whole_frame_view,
    with_labels,
)

HERE = Path(__file__).parent
NAMES = ["class", "supcon", "labels", "supcon of labels", "number"]


@pytest.fixture(scope="module")
def joined() -> ModuleType:
    sys.path.insert(0, str(HERE))
    try:
        import joined
    finally:
        sys.path.remove(str(HERE))
    return joined


def gradients(method: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    method.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


# The joined method


@pytest.mark.parametrize("case", NAMES)
def test_gradients_are_the_sum_of_the_parts(case: str, joined: ModuleType) -> None:
    batch: Batch = joined.joined_batch(case, 0, joined.ROWS)
    method: WithLabels = joined.joined_of(case)
    losses = method(batch).losses
    total = gradients(method, losses["loss"])
    summed = {name: torch.zeros_like(gradient) for name, gradient in total.items()}
    factors = {
        "method_loss": 1.0,
        "supervision": method.settings.weight,
        "correlation": method.settings.correlation,
    }
    value = 0.0
    for name, factor in factors.items():
        fresh: WithLabels = joined.joined_of(case)
        part = fresh(batch).losses.get(name)
        if part is None:
            continue
        value += factor * part.item()
        for key, gradient in gradients(fresh, part).items():
            summed[key] += factor * gradient
    assert value == pytest.approx(losses["loss"].item(), rel=1e-13)
    assert any(float(g.abs().sum()) > 0 for g in total.values())
    for key, gradient in total.items():
        torch.testing.assert_close(summed[key], gradient, rtol=1e-11, atol=1e-13, msg=key)


@pytest.mark.parametrize("case", NAMES)
def test_the_method_is_left_as_it_is(case: str, joined: ModuleType) -> None:
    name = joined.CASES[case][0]
    plain, both = joined.method_of(name), joined.joined_of(case)
    inner = both.method.state_dict()
    assert all(torch.equal(value, inner[key]) for key, value in plain.state_dict().items())
    batch = joined.joined_batch(case, 0, joined.ROWS)
    output = both(batch)
    expected = plain(joined.batch_of(name, 0, joined.ROWS))
    assert torch.equal(output.losses["method_loss"], expected.losses["loss"])
    assert all(
        torch.equal(a, b)
        for a, b in zip(output.representations, expected.representations, strict=True)
    )
    assert {key.split(".")[0] for key in both.state_dict()} <= {"method", "layer"}


def test_the_stage_ends(joined: ModuleType) -> None:
    batch: Batch = joined.joined_batch("class", 0, joined.ROWS)
    method: WithLabels = joined.joined_of("class")
    method.settings = method.settings.updated({"end": 0.4})
    losses = method(batch).losses
    assert torch.equal(losses["loss"], losses["method_loss"])
    layer = gradients(method, losses["loss"])["layer.weight"]
    assert torch.equal(layer, torch.zeros_like(layer))
    batch.progress = torch.tensor(0.39)
    losses = method(batch).losses
    assert losses["loss"] > losses["method_loss"]


@pytest.mark.parametrize("case", ["class", "number", "supcon of labels"])
def test_compiles_to_one_graph(case: str, joined: ModuleType) -> None:
    batch = joined.joined_batch(case, 0, joined.ROWS)
    eager, compiled = joined.joined_of(case), joined.joined_of(case)
    torch._dynamo.reset()
    compiled.compile(fullgraph=True, backend="aot_eager")
    one, two = (gradients(m, m(batch).losses["loss"]) for m in (eager, compiled))
    for key, gradient in one.items():
        torch.testing.assert_close(two[key], gradient, rtol=1e-12, atol=1e-12, msg=key)


@pytest.fixture(scope="module")
def differences() -> dict[str, dict[str, dict[str, float]]]:
    done = subprocess.run(
        [sys.executable, str(HERE / "joined.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", NAMES)
def test_two_processes_equal_one(
    case: str, differences: dict[str, dict[str, dict[str, float]]]
) -> None:
    for value in differences[case]["global"].values():
        assert value < 1e-10


@pytest.mark.parametrize("case", ["class", "labels", "number"])
def test_means_of_each_process_do_not(
    case: str, differences: dict[str, dict[str, dict[str, float]]]
) -> None:
    assert differences[case]["control"]["gradient"] > 1e-4


def test_numbers_have_no_classes(joined: ModuleType) -> None:
    with pytest.raises(ValueError, match="no classes to correlate"):
        WithLabels(
            joined.method_of("simclr"),
            Supervision(correlation=1.0),
            joined.TargetSpec("mass", "number", ("mass",)),
        )


# The training


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return open_images("digits", limit=128)


def settings_of(out: Path, **changes: Any) -> Pretrain:
    base = Pretrain.model_validate({"method": "simclr", "data": "digits"})
    small = {
        "out": str(out),
        "epochs": 2,
        "batch_size": 32,
        "device": "cpu",
        "precision": "fp32",
        "log_every": 1,
        "monitor_images": 0,
        "backbone": "resnet18",
        "network.widths": (4, 8),
        "network.depths": (1, 1),
        "method.projector": (16, 8),
    }
    return base.updated({**small, **changes})


def with_target(images: ImageSet, target: Target) -> ImageSet:
    return replace(images, targets={target.name: target})


def same_weights(a: Path, b: Path) -> bool:
    first, second = (load_file(p / "backbone.safetensors") for p in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_unknown_labels_change_nothing(digits: ImageSet, tmp_path: Path) -> None:
    """Bit for bit, with everything turned on; labels of unlabelled and test rows are not read."""
    (target,) = digits.targets.values()
    hidden = with_target(digits, target.without(digits.rows("train")))
    on = {
        "supervision.weight": 1.0,
        "supervision.correlation": 1.0,
        "supervision.labelled_share": 0.3,
    }
    plain = pretrain(settings_of(tmp_path / "plain"), hidden)
    unknown = pretrain(settings_of(tmp_path / "unknown", **on), hidden)
    known = pretrain(settings_of(tmp_path / "known", **on), digits)
    assert same_weights(plain.folder.path, unknown.folder.path)
    assert plain.folder.metrics.read_text() == unknown.folder.metrics.read_text()
    assert not same_weights(plain.folder.path, known.folder.path)
    columns = known.folder.read_metrics()
    assert {"loss", "method_loss", "supervision", "correlation"} <= set(columns)
    keys = load_file(known.folder.backbone).keys()
    assert keys == load_file(plain.folder.backbone).keys()
    assert any("supervision is left out" in n for n in unknown.environment["notes"])


def test_first_weights_are_those_of_the_method(digits: ImageSet, tmp_path: Path) -> None:
    plain = build(prepare(settings_of(tmp_path), digits))
    joined = build(prepare(settings_of(tmp_path, **{"supervision.weight": 1.0}), digits))
    assert isinstance(joined, WithLabels)
    inner = joined.method.state_dict()
    assert all(torch.equal(value, inner[key]) for key, value in plain.state_dict().items())


def test_only_a_share_of_train_is_read(digits: ImageSet, tmp_path: Path) -> None:
    (target,) = digits.targets.values()
    pool = digits.pool
    moved = replace(
        digits, splits=np.where(np.arange(len(digits)) == pool[0], "unlabelled", digits.splits)
    )
    changes = {"supervision.weight": 1.0, "supervision.label_fraction": 0.2}
    plan = prepare(settings_of(tmp_path, **changes, **{"supervision.label_seed": 3}), moved)
    expected = few_labels(target, moved.rows("train"), 0.2, 3, moved.groups)
    assert plan.labels is not None
    assert np.array_equal(np.flatnonzero(plan.labels.known), expected)
    given = _targets(plan)
    rows = plan.parts[0][1]
    assert np.array_equal(rows[given.numpy() >= 0], expected)
    assert np.array_equal(given.numpy()[np.searchsorted(rows, expected)], target.values[expected])
    everything = labels_to_read(target, moved, Supervision())
    assert not everything.known[pool[0]]
    assert np.array_equal(np.flatnonzero(everything.known), moved.rows("train"))


def test_numbers_are_standardised_and_read_off_the_whole_frame(
    digits: ImageSet, tmp_path: Path
) -> None:
    values = np.stack([np.arange(len(digits)), np.full(len(digits), np.nan)], 1).astype(np.float32)
    values[digits.rows("train")[:10], 0] = np.nan
    number = Target("mass", "number", values, ("mass", "never"))
    images = with_target(digits, number)
    plan = prepare(settings_of(tmp_path / "run", **{"supervision.weight": 1.0}), images)
    given = _targets(plan).numpy()
    assert np.isnan(given[:, 1]).all()
    known = given[~np.isnan(given[:, 0]), 0]
    assert len(known) == len(images.rows("train")) - 10
    assert known.mean() == pytest.approx(0.0, abs=1e-5) and known.std() == pytest.approx(1.0)
    method = build(plan)
    assert isinstance(method, WithLabels) and method.whole_frame
    view = whole_frame_view(images)
    assert view.crop_scale is None and view.gain == 0.0 and view.color == 0.0
    assert view.flip == 0.0  # digits are not mirrored
    finished = pretrain(plan.settings, images)
    assert all(math.isfinite(v) for v in finished.folder.read_metrics()["supervision"] if v)


def test_a_target_has_to_be_chosen(digits: ImageSet, tmp_path: Path) -> None:
    (target,) = digits.targets.values()
    both = replace(digits, targets={"a": replace(target, name="a"), "b": target})
    assert prepare(settings_of(tmp_path), both).labels is None
    with pytest.raises(ValueError, match="choose one with --target"):
        prepare(settings_of(tmp_path, **{"supervision.weight": 1.0}), both)


def test_no_label_no_layer(digits: ImageSet, joined: ModuleType) -> None:
    (target,) = digits.targets.values()
    method = joined.method_of("simclr")
    on = Supervision(weight=1.0)
    assert with_labels(method, on, None) is method
    assert with_labels(method, on, target.without(np.arange(len(digits)))) is method
    assert with_labels(method, Supervision(labelled_share=0.5), target) is method


@pytest.mark.slow  # test_resume.py kills trainings of other methods
def test_killed_and_resumed(tmp_path: Path) -> None:
    yaml = tmp_path / "settings.yaml"
    yaml.write_text(
        "log_every: 1\nmonitor_images: 0\nprecision: fp32\ncheckpoint_steps: 2\n"
        "network: {widths: [4, 8], depths: [1, 1]}\nmethod: {name: simclr, projector: [16, 8]}\n"
        "supervision: {weight: 1.0, correlation: 1.0, labelled_share: 0.3, label_fraction: 0.1, "
        "end: 0.7}\n"
    )
    words = ["pretrain", "simclr", "digits", "--settings", str(yaml), "--limit", "128"]
    words += ["--epochs", "3", "--batch-size", "32", "--backbone", "resnet18", "--device", "cpu"]
    whole, killed = ([*words, "--out", str(tmp_path / name)] for name in ("whole", "killed"))
    jobs = [["never", 0, whole], ["at_step", 7, killed], ["never", 0, killed]]
    done = subprocess.run(
        [sys.executable, str(HERE / "killed.py"), json.dumps(jobs)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, -9, 0], done.stderr
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    metrics = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]
    assert "supervision" in metrics[0].splitlines()[0]


def test_starts_from_a_run(digits: ImageSet, tmp_path: Path) -> None:
    first = pretrain(settings_of(tmp_path / "first", epochs=1), digits)
    settings = Pretrain.model_validate(
        {"method": "vicreg", "data": "digits", "weights": str(first.folder.path), "device": "cpu"}
    ).updated({"batch_size": 32, "out": str(tmp_path / "second")})
    plan = prepare(settings, digits)
    assert plan.spec.network == first.spec.network
    found = build(plan).backbone.network.state_dict()
    expected = load_file(first.folder.backbone)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(ValueError, match="leave --backbone and --network out"):
        prepare(settings.updated({"backbone": "resnet20"}), digits)
    with pytest.raises(ValueError, match="there is no such file"):
        prepare(settings.updated({"weights": str(tmp_path / "none")}), digits)


@pytest.mark.parametrize("method", ["fixmatch", "freematch"])
def test_a_backbone_from_a_run_learns_more_slowly(
    digits: ImageSet, tmp_path: Path, method: str
) -> None:
    first = pretrain(settings_of(tmp_path / "first", epochs=1), digits)
    scratch = Pretrain.model_validate(
        {"method": method, "data": "digits", "target": "digit", "device": "cpu"}
    ).updated({"batch_size": 32, "out": str(tmp_path / "second")})
    assert prepare(scratch, digits).settings.optimizer.backbone_lr_factor is None
    start = scratch.updated({"weights": str(first.folder.path)})
    plan = prepare(start, digits)
    assert plan.settings.optimizer.backbone_lr_factor == 0.03
    assert any("optimizer.backbone_lr_factor 0.03" in note for note in plan.notes)
    for changes, lr, factor in (
        ({"optimizer.lr": 0.002}, 0.002, 0.03),
        ({"optimizer.backbone_lr_factor": 1.0}, 1e-2, 1.0),
        ({"preset": "large"}, 0.03, None),
    ):
        found = prepare(start.updated(changes), digits).settings.optimizer
        assert (found.lr, found.backbone_lr_factor) == (lr, factor)


# Oversampling


def loader_of(share: float | None, labelled: int = 9, rank: int = 0, world: int = 1) -> Loader:
    pixels = np.arange(200, dtype=np.float32).reshape(200, 1, 1, 1)
    targets = torch.where(torch.arange(200) % (200 // labelled) == 0, 1, -1)
    loader = Loader(
        [(pixels, np.arange(200))],
        targets,
        batch_size=20,
        epochs=4,
        seed=1,
        device=torch.device("cpu"),
        labelled=targets >= 0,
        labelled_share=share,
    )
    loader.rank, loader.world = rank, world
    return loader


def rows_of(loader: Loader) -> list[list[int]]:
    return [batch.images.flatten().int().tolist() for batch in loader]


def test_each_batch_holds_its_share_of_labels() -> None:
    loader = loader_of(0.25)
    seen = []
    for _ in range(4):
        for batch in loader:
            assert int((batch.targets >= 0).sum()) == 5
            seen += batch.images.flatten().int().tolist()
    assert loader.step == 40  # as many batches as without
    counts = np.bincount(seen, minlength=200)
    labelled = loader.labelled.numpy()
    assert np.ptp(counts[labelled]) <= 1  # all labelled rows equally often
    assert np.ptp(np.delete(counts, labelled)) <= 1


def test_oversampling_goes_on_from_any_step_and_on_any_process() -> None:
    one = loader_of(0.25)
    epochs = [rows_of(one) for _ in range(3)]
    assert epochs[0] != epochs[1]
    later = loader_of(0.25)
    later.step = 13
    assert rows_of(later) == epochs[1][3:]
    halves = [rows_of(loader_of(0.25, rank=rank, world=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == epochs[0]


@pytest.mark.parametrize(("share", "labelled"), [(None, 9), (0.25, 100), (0.25, 200)])
def test_labels_that_are_many_enough_are_left_as_they_come(
    share: float | None, labelled: int
) -> None:
    assert rows_of(loader_of(share, labelled)) == rows_of(loader_of(None))
