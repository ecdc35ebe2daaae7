"""Fine-tuning beside the start, scratch and the frozen probe: what the table holds, and of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain

SMALL = Network(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1), stem="imagenet")
SHORT: dict[str, Any] = {"backbone_lr": (1e-3,), "head_lr": (1e-2,), "epochs": 1, "min_steps": 20}


def bright_and_dark(tiles: int = 1) -> ImageSet:
    """48 images of two brightnesses, each cut into so many tiles."""
    random = np.random.default_rng(0)
    image = np.repeat(np.arange(48), tiles)
    labels = image % 2
    pixels = random.integers(0, 200, (len(image), 32, 32, 3)) + 50 * labels[:, None, None, None]
    target = Target("kind", "class", labels.astype(np.int64), ("dark", "bright"))
    ids = [f"{i:02}#{j % tiles}" if tiles > 1 else f"{i:02}" for j, i in enumerate(image)]
    return ImageSet(
        "bright and dark",
        pixels.astype(np.uint8),
        np.array(ids),
        np.where(image // 2 % 4 == 3, "test", "train"),
        targets={"kind": target},
        groups=image.astype(np.int64) if tiles > 1 else None,
        tile_of=np.array([f"{i:02}" for i in image]) if tiles > 1 else None,
    )


def measured(tmp_path: Path, images: ImageSet, **changes: Any) -> Results:
    """A run of two steps from a file of weights, fine-tuned on all labels."""
    backbone = build_backbone(choose_backbone("resnet18", SMALL, 3, 32), seed=5)
    torch.save(backbone.network.state_dict(), tmp_path / "start.pth")
    settings = Pretrain.model_validate({
        "data": "bright and dark", "method": {"name": "simclr", "projector": (8, 4)},
        "backbone": "resnet18", "network": SMALL.plain(), "weights": str(tmp_path / "start.pth"),
        "steps": 2, "batch_size": 8, "monitor_images": 0, "device": "cpu", "precision": "fp32",
        "out": str(tmp_path / "run"),
    })  # fmt: skip
    run = pretrain(settings, images)
    assert run.started_published
    wish = {"fractions": (1.0,), "probes": ("linear",), "clusters": False, "finetune": True}
    evaluation = Evaluate.model_validate(
        {"run": str(run.folder.path), "finetuning": SHORT, "device": "cpu", **wish, **changes}
    )
    return evaluate(evaluation, images)


@pytest.fixture(scope="module", params=[1, 3], ids=["images", "tiles"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    images = bright_and_dark(request.param)
    return measured(tmp_path_factory.mktemp("run"), images, representation="auto")


def test_it_stands_beside_start_scratch_and_frozen_probe(results: Results) -> None:
    values = {
        (v["probe"], v["subject"]): v["mean"]
        for v in results.values
        if v["metric"] == "accuracy" and v["task"] == "class"
    }
    assert {"trained", "start", "scratch", "chance"} == {s for p, s in values if p == "finetune"}
    assert {"trained", "start"} <= {s for p, s in values if p == "linear"}
    assert values["finetune", "trained"] > values["finetune", "chance"]
    gaps = {d["control"] for d in results.differences if d["probe"] == "finetune"}
    assert gaps == {"start", "scratch", "chance"}


def test_results_are_of_images_not_of_tiles(results: Results) -> None:
    """12 of the 48 images are test, whatever they are cut into."""
    assert {r["num_labels"] for r in results.records if r["probe"] == "finetune"} == {36}
    accuracies = [
        r["value"] * 12
        for r in results.records
        if r["probe"] == "finetune" and r["metric"] == "accuracy" and r["label"] is None
    ]
    assert accuracies
    assert all(value == pytest.approx(round(value), abs=1e-6) for value in accuracies)


def test_what_was_taken_is_in_the_choices(results: Results) -> None:
    choices = {
        row["subject"]: row["choice"] for row in results.choices if row["probe"] == "finetune"
    }
    for subject in ("trained", "start"):
        taken = choices[subject]
        assert (taken["frozen"], taken["layer_decay"], taken["batch_norm"]) == (0.1, 0.75, "held")
        assert taken["representation"] in ("mean", "stages")
    assert not {"frozen", "layer_decay", "representation"} & choices["scratch"].keys()


def test_the_representation_is_that_of_the_setting(tmp_path: Path) -> None:
    """The same weights under another head are another fit, kept under another name."""
    images = bright_and_dark()
    stages = measured(tmp_path, images, representation="stages")
    run = Path(stages.path).parent
    kept = {path.name for path in (run / "representations").glob("finetune-*")}
    again = Evaluate.model_validate({
        "run": str(run), "finetuning": SHORT, "device": "cpu", "fractions": (1.0,),
        "probes": ("linear",), "clusters": False, "finetune": True, "representation": "mean",
    })  # fmt: skip
    evaluate(again, images)
    more = {path.name for path in (run / "representations").glob("finetune-*")} - kept
    assert sorted(name.split("-")[1] for name in kept) == ["scratch", "start", "trained"]
    assert sorted(name.split("-")[1] for name in more) == ["start", "trained"]


def test_other_settings_of_the_fine_tuning_replace_nothing(tmp_path: Path) -> None:
    """Two recipes stand in two tables; one that is given again takes its own place."""
    images = bright_and_dark()
    first = measured(tmp_path, images)
    run = Path(first.path).parent

    def tuned(finetuning: dict[str, Any]) -> list[dict[str, Any]]:
        evaluate(
            Evaluate.model_validate(
                {
                    "run": str(run),
                    "finetuning": finetuning,
                    "device": "cpu",
                    "fractions": (1.0,),
                    "probes": ("linear",),
                    "clusters": False,
                    "finetune": True,
                }
            ),
            images,
        )
        rows = Results.read(run / "results.json").values
        return [
            row for row in rows
            if (row["probe"], row["subject"]) == ("finetune", "trained")
            and row["metric"] == "accuracy" and row["label"] is None
        ]  # fmt: skip

    longer = tuned({**SHORT, "min_steps": 21})
    assert len(longer) == len({row["evaluation"] for row in longer}) == 2
    assert len(tuned({**SHORT, "head_lr": (2e-2,)})) == 3
    assert len(tuned(SHORT)) == 3
    evaluations = Results.read(run / "results.json").evaluations.values()
    assert any("min_steps=21" in evaluation["finetuning"] for evaluation in evaluations)
