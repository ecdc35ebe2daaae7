"""Null experiments: where there is nothing to find, nothing is found.

    python tests/evaluation/test_null.py networks 200
    python tests/evaluation/test_null.py trainings 100

print how many primary verdicts are "better"; the slow tests run the same.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import selfsight
from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate

MakeRun = Callable[..., Path]
QUICK: dict[str, Any] = {
    "fractions": (1.0,),
    "probes": ("linear",),
    "controls": ("start", "untrained"),
    "clusters": False,
    "device": "cpu",
}


def primary(results: Results) -> dict[str, Any]:
    (row,) = [d for d in results.differences if d["primary"]]
    return row


def never_trained(images: ImageSet, folder: Path, seed: int) -> Path:
    """A run whose weights are random, with normalisation calibrated as that of the control."""
    from selfsight.data.statistics import channel_statistics
    from selfsight.files import write_text
    from selfsight.fitting.representations import calibrate
    from selfsight.networks.architectures import build_backbone
    from selfsight.networks.backbone_files import save_backbone
    from selfsight.networks.specs import Network, choose_backbone
    from selfsight.runs.folder import RunFolder
    from selfsight.training.run_files import write_environment, write_splits

    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    statistics = channel_statistics(images, images.pool)
    network = Network(widths=(8, 16), depths=(1, 1))
    spec = choose_backbone("resnet20", network, images.channels, images.height)
    backbone = build_backbone(spec, seed=seed).eval()
    calibrate(backbone, images, images.rows("train"), statistics, device="cpu")
    extra = {"statistics": {"mean": list(statistics.mean), "std": list(statistics.std)}}
    save_backbone(run.backbone, backbone, extra)
    write_text(run.settings, "data: digits\nseed: 0\nmethod:\n  name: simclr\n")
    write_splits(run.splits, images, next(iter(images.targets.values())))
    write_environment(run, images, torch.device("cpu"), [])
    return run.path


def networks(count: int, folder: Path, images: ImageSet) -> Iterator[str]:
    """The primary verdicts of networks that were never trained."""
    for number in range(count):
        run = never_trained(images, folder / str(number), 1_000 + number)
        yield str(primary(evaluate(Evaluate(run=str(run), **QUICK), images))["verdict"])


def random_labels(images: ImageSet, seed: int) -> ImageSet:
    values = np.random.default_rng(seed).integers(0, 10, len(images))
    target = Target("digit", "class", values, tuple("0123456789"))
    return images.changed(targets={"digit": target})


def trainings(count: int, folder: Path, images: ImageSet) -> Iterator[str]:
    """The primary verdicts after two rounds of training on labels that are random.

    The first round knows half of the labels of train; the second begins with its weights and knows
    all of them. Test is the same in both.
    """
    tiny = {"network.widths": (4, 8), "network.depths": (1, 1), "epochs": 2, "batch_size": 64,
            "monitor_images": 0, "device": "cpu"}  # fmt: skip
    for number in range(count):
        whole = random_labels(images, number)
        train = whole.rows("train")
        hidden = np.random.default_rng(number).permutation(train)[: len(train) // 2]
        half = whole.changed(targets={"digit": whole.targets["digit"].without(hidden)})
        first, second = folder / f"{number}-1", folder / f"{number}-2"
        selfsight.pretrain(
            "supervised", half, backbone="resnet20", out=str(first), seed=number, settings=tiny
        )
        begun = {name: value for name, value in tiny.items() if not name.startswith("network")}
        selfsight.pretrain(
            "supervised", whole, weights=str(first), out=str(second), seed=number, settings=begun
        )
        wish = Evaluate(run=str(second), **QUICK)
        yield str(primary(evaluate(wish, whole))["verdict"])


def test_a_few_networks_that_were_never_trained(tmp_path: Path, digits: ImageSet) -> None:
    found = list(networks(6, tmp_path, digits))
    assert found.count("better") <= 2, found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_networks_that_were_never_trained(tmp_path: Path, digits: ImageSet) -> None:
    found = list(networks(200, tmp_path, digits))
    assert found.count("better") <= 10, found


def test_a_training_on_random_labels(tmp_path: Path, digits: ImageSet) -> None:
    found = list(trainings(1, tmp_path, digits.take(np.arange(0, 500, 2))))
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_100_trainings_on_random_labels(tmp_path: Path, digits: ImageSet) -> None:
    found = list(trainings(100, tmp_path, digits))
    assert found.count("better") <= 5, found


@pytest.mark.parametrize("coils", [1, 2])
def test_one_coil_or_two_in_test_give_no_verdict(
    digits: ImageSet, make_run: MakeRun, coils: int
) -> None:
    groups = np.where(digits.splits == "train", 10, 20) + np.arange(len(digits)) % 7
    test = digits.rows("test")
    groups[test] = np.arange(len(test)) % coils
    images = replace(digits, groups=groups, group_name="coil")
    results = evaluate(Evaluate(run=str(make_run(images)), **QUICK), images)
    shares = [v for v in results.values if v["metric"] == "accuracy"]
    assert {(v["low"], v["high"]) for v in shares} == {(None, None)}
    assert {d["verdict"] for d in results.differences} == {"no verdict"}
    assert {d["reason"] for d in results.differences} == {f"{coils} test group{'s' * (coils > 1)}"}
    assert "no verdict" in results.table()


def main() -> None:
    from selfsight.data.request import open_images

    kind, count = sys.argv[1], int(sys.argv[2])
    images = open_images("digits").take(np.arange(500))
    with tempfile.TemporaryDirectory() as folder:
        verdicts: list[str] = []
        for verdict in {"networks": networks, "trainings": trainings}[kind](
            count, Path(folder), images
        ):
            verdicts.append(verdict)
            print(len(verdicts), verdict, verdicts.count("better"), flush=True)


if __name__ == "__main__":
    main()
