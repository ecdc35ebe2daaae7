"""Any module as what is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.modules import untrained, without_reset

QUICK: dict[str, Any] = {"fractions": (1.0,), "probes": ("linear",), "clusters": False}


class Own(nn.Module):
    """A part with weights and no way to draw new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * self.weight


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16)
    )


def test_a_module_beside_itself_untrained(digits: ImageSet, tmp_path: Path) -> None:
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    results = selfsight.evaluate(module, digits, out=tmp_path / "out", device="cpu", **QUICK)
    assert {row["subject"] for row in results.records} == {
        "trained", "untrained", "pixels", "chance",
    }  # fmt: skip
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    accuracy = {d["control"]: d["mean"] for d in results.differences if d["metric"] == "accuracy"}
    assert accuracy["chance"] > 0.3  # random features of digits tell much of them
    assert (tmp_path / "out" / "report.html").is_file()


def test_fresh_weights_are_a_function_of_the_seed() -> None:
    module = network()
    first, again, other = untrained(module, 0), untrained(module, 0), untrained(module, 1)
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(first[0].weight, other[0].weight)  # type: ignore[index]
    assert not torch.equal(first[0].weight, module[0].weight)  # type: ignore[index]


def test_no_untrained_control_is_said(digits: ImageSet, tmp_path: Path) -> None:
    assert without_reset(Own()) == "Own"
    results = selfsight.evaluate(Own(), digits, out=tmp_path / "out", device="cpu", **QUICK)
    assert {row["subject"] for row in results.records} == {"trained", "pixels", "chance"}
    assert any("no untrained control: Own" in note for note in results.notes)


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (nn.Conv2d(1, 4, 3), {}, r"must give a tensor \(B, F\)"),
        (nn.Conv2d(3, 4, 3), {}, "does not take images"),
        (nn.Flatten(), {"controls": ("somewhere",)}, "has untrained and pixels"),
        (nn.Flatten(), {"finetune": True}, "is only probed"),
    ],
)
def test_mistakes_are_one_sentence(
    digits: ImageSet, tmp_path: Path, module: nn.Module, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        selfsight.evaluate(module, digits, out=tmp_path / "out", device="cpu", **QUICK | changes)


def test_images_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name the images"):
        selfsight.evaluate(nn.Flatten(), out=tmp_path / "out", device="cpu")


def test_what_a_network_from_elsewhere_was_trained_on_is_not_known(
    digits: ImageSet, tmp_path: Path
) -> None:
    results = selfsight.evaluate(network(), digits, out=tmp_path / "out", device="cpu", **QUICK)
    assert any("is not known here" in note for note in results.notes)
    assert not any("pretraining seed" in note for note in results.notes)


def test_a_network_that_was_loaded_from_a_run_knows_what_it_read(
    digits: ImageSet, tmp_path: Path
) -> None:
    """Trained with the labels of all images, so of those of test, too."""
    whole = digits.changed(splits=np.full(len(digits), "train"))
    tiny = {"network.widths": (4, 8), "network.depths": (1, 1), "epochs": 1, "batch_size": 64,
            "monitor_images": 0, "device": "cpu"}  # fmt: skip
    run = tmp_path / "run"
    selfsight.pretrain("supervised", whole, backbone="resnet20", out=str(run), settings=tiny)
    with pytest.raises(ValueError, match="label"):
        selfsight.evaluate(selfsight.load(run), digits, out=tmp_path / "out", device="cpu", **QUICK)
