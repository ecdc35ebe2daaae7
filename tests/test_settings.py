"""Settings: dotted overrides, YAML, and errors that name the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from selfsight.method import Optimizer
from selfsight.settings import Settings, read_yaml, sentence


class Outer(Settings):
    """Two levels."""

    name: str
    epochs: int = 3
    optimizer: Optimizer = Optimizer(lr=0.5)


def test_dotted_and_nested_changes_are_one() -> None:
    outer = Outer(name="a")
    dotted = outer.updated({"optimizer.lr": 0.1, "optimizer.max_grad_norm": 1.0, "epochs": 4})
    nested = outer.updated({"optimizer": {"lr": 0.1, "max_grad_norm": 1.0}, "epochs": 4})
    assert dotted == nested
    assert dotted.optimizer.lr == 0.1
    assert dotted.optimizer.momentum == outer.optimizer.momentum
    assert outer.optimizer.lr == 0.5


def test_frozen_and_strict() -> None:
    outer = Outer(name="a")
    with pytest.raises(ValidationError):
        outer.epochs = 4  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Outer(name="a", epoch=4)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": 1}, "did you mean 'epochs'"),
        ({"optimizer.learning": 1}, "no setting 'learning'"),
        ({"optimizer.lr": -1.0}, "lr"),
        ({"epochs.much": 1}, "no setting 'much' below"),
    ],
)
def test_a_wrong_change_says_what(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Outer(name="a").updated(change)


def test_defaults_of_a_subclass_keep_the_rest() -> None:
    kind = Outer.with_defaults({"optimizer.lr": 0.25})
    made = kind(name="b")
    assert made.optimizer.lr == 0.25
    assert made.epochs == 3
    with pytest.raises(ValidationError):
        kind()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="optimizer"):
        Outer.with_defaults({"optimizer.lr": "fast"})


def test_yaml_round_trip(tmp_path: Path) -> None:
    outer = Outer(name="é", optimizer=Optimizer(betas=(0.5, 0.6)))
    file = tmp_path / "settings.yaml"
    file.write_text(outer.to_yaml(), encoding="utf-8")
    assert Outer(**read_yaml(file)) == outer


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "a: !!python/object/apply:os.getcwd []"])
def test_a_bad_yaml_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        read_yaml(file)


def test_a_sentence_for_a_validation_error() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer(name="a", epochs="many")  # type: ignore[arg-type]
    assert sentence(caught.value).startswith("epochs: ")
    assert "\n" not in sentence(caught.value)


@pytest.mark.parametrize("text", ["optimizer: {~: 3}", "optimizer: {7: 3}", "2026-01-02: 3"])
def test_keys_that_are_no_text_are_unknown_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ValueError, match="there is no setting"):
        Outer(name="a").updated(read_yaml(tmp_path / "s.yaml"))
