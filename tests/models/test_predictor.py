"""Models on disk: what comes back, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.files import read_json, write_json
from selfsight.fitting.recipe import FineTuning
from selfsight.models.predictor import Predictor
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import save_backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.networks.weights import read_weights, write_weights

Fit = Callable[..., Predictor]
SHORT = FineTuning(backbone_lr=3e-3, head_lr=1e-2, epochs=1, min_steps=20)


@pytest.mark.parametrize(
    ("target", "head"),
    [
        ("digit", "linear"),
        ("digit", "mlp"),
        ("marks", "linear"),
        ("marks", "mlp"),
        ("ink", "linear"),
        ("ink", "mlp"),
        ("digit", None),
        ("ink", None),
    ],
)
def test_a_model_comes_back_with_the_same_numbers(
    fit: Fit, described: ImageSet, tmp_path: Path, target: str, head: Any
) -> None:
    made = fit(target, tmp_path / "m", head_only=head, finetuning=SHORT, label_fraction=0.4)
    again = Predictor.load(tmp_path / "m")
    rows = described.rows("test")[:100]
    output = made.output(described, rows)
    assert np.array_equal(output, again.output(described, rows))
    assert again.card == made.card
    assert again.target == described.targets[target].spec
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "backbone.safetensors",
        "head.safetensors",
        "labels.parquet",
        "model.json",
        "settings.yaml",
        "training.safetensors",
    }
    assert made.training is not None and again.training is not None
    assert torch.equal(made.training, again.training)
    values = described.targets[target].values[rows]
    if target == "digit":
        assert np.allclose(output.sum(1), 1, atol=1e-5)
        assert (output.argmax(1) == values).mean() > 0.4
    elif target == "marks":
        known = ~np.isnan(values)
        assert ((output >= again.card.thresholds) == (values > 0.5))[known].mean() > 0.6
    else:  # in the unit of the target, though the training standardises
        known = ~np.isnan(values[:, 0])
        # Twenty steps do not settle the normalisations of a network that was never trained.
        close = 0.05 if head else 0.3
        assert output[known, 0].mean() == pytest.approx(values[known, 0].mean(), rel=close)
        assert np.corrcoef(output[known, 0], values[known, 0])[0, 1] > 0.5


def test_the_backbone_moves_only_when_it_is_fine_tuned(
    fit: Fit, digits_run: Path, tmp_path: Path
) -> None:
    fit("digit", tmp_path / "head", head_only="linear")
    fit("digit", tmp_path / "all", finetuning=SHORT)
    before = load_file(digits_run / "backbone.safetensors")
    for name, same in (("head", True), ("all", False)):
        after = load_file(tmp_path / name / "backbone.safetensors")
        assert torch.equal(before["conv1.weight"], after["conv1.weight"]) is same


def test_decisions(fit: Fit, tmp_path: Path) -> None:
    classes = fit("digit", tmp_path / "c", head_only="linear", label_fraction=0.1)
    row = np.zeros((2, 10), np.float32)
    row[0, 7], row[1, 0] = 1, np.nan
    assert classes.decide(row) == ["7", None]
    labels = fit("marks", tmp_path / "l", head_only="linear", label_fraction=0.1)
    high = np.array(labels.card.thresholds, np.float32)[None]
    assert labels.decide(high + 1e-3) == [["even", "large"]]
    assert labels.decide(high - 1e-3) == [[]]


@pytest.fixture(scope="module")
def model(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "m"
    fit("marks", folder, head_only="linear", label_fraction=0.2)
    return folder


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(model, tmp_path / "m"))


FILES = [
    "backbone.safetensors",
    "head.safetensors",
    "labels.parquet",
    "model.json",
    "training.safetensors",
]


@pytest.mark.parametrize("name", FILES)
def test_missing_and_damaged_files_are_named(copied: Path, name: str) -> None:
    content = (copied / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\x80\x04cos\nsystem\n"):
        (copied / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            Predictor.load(copied)
    (copied / name).unlink()
    with pytest.raises(ValueError, match=name):
        Predictor.load(copied)


def test_one_changed_weight_is_seen(copied: Path) -> None:
    path = copied / "head.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="content does not match its checksum"):
        Predictor.load(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["even"]}, "thresholds"),
        ({"names": ["a", "a"]}, "the same"),
        ({"thresholds": None}, "thresholds"),
        ({"thresholds": [0.5, 7]}, r"thresholds\.1"),
        ({"kind": "identity"}, "kind"),
        ({"head": {"widths": [65536]}}, "does not fit its network"),
        ({"head": {"widths": [0]}}, r"head\.widths\.0"),
        ({"head": {"activation": "relu6"}}, r"head\.activation"),
        ({"frame": {"height": 8, "width": 8, "channels": 3, "dtype": "uint8"}}, "channels"),
        ({"format": 2}, "format"),
        ({"more": 1}, "more"),
    ],
)
def test_a_changed_card_is_refused(copied: Path, changes: dict[str, Any], message: str) -> None:
    path = copied / "model.json"
    write_json(path, read_json(path) | changes)
    with pytest.raises(ValueError, match=message) as error:
        Predictor.load(copied)
    assert "\n" not in str(error.value)


def test_no_code_of_a_model_is_run(copied: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import pathlib\nfrom torch import nn\n"
        "pathlib.Path(__file__).with_name('ran').touch()\n"
        "def build(channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, 16))\n"
    )
    backbone = build_backbone(choose_backbone(f"{code}:build", Network(), 1, 8))
    extra = {"statistics": {"mean": [0.0], "std": [1.0]}}
    save_backbone(copied / "backbone.safetensors", backbone, extra)
    (tmp_path / "ran").unlink()
    with pytest.raises(ValueError, match="allow"):
        Predictor.load(copied)
    assert not (tmp_path / "ran").exists()


def test_a_head_of_something_else_is_refused(copied: Path) -> None:
    write_weights(copied / "head.safetensors", torch.nn.Linear(2, 2), {})
    with pytest.raises(ValueError, match=r"head\.safetensors does not fit its network"):
        Predictor.load(copied)


def test_training_images_of_another_model_are_refused(copied: Path) -> None:
    path = copied / "training.safetensors"
    kept = {"training": read_weights(path)[0]["training"]}
    write_weights(path, torch.nn.Module(), {"weights": "0" * 16}, kept)
    with pytest.raises(ValueError, match="does not belong to this model"):
        Predictor.load(copied)


def test_a_run_is_no_model(digits_run: Path) -> None:
    with pytest.raises(ValueError, match="it is a run: make a model of it"):
        selfsight.load_model(digits_run)
