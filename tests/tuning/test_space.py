"""The grammar of the search space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import optuna
import pytest
from pydantic import Field

from selfsight.settings import Settings
from selfsight.tuning.space import Choice, Range, Space, read_dimension, read_space


class Inner(Settings):
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    depth: Annotated[int, Field(ge=0, le=8)] = 1
    either: int | float | None = 2


class Outer(Settings):
    inner: Inner = Inner()
    widths: tuple[int, ...] = (8,)
    name: str = "a"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0..0.5", Range(0.0, 0.5, whole=False)),
        ("2..6", Range(2.0, 6.0, whole=True)),
        ("-1..1.5e0", Range(-1.0, 1.5, whole=False)),
        ("64..520:64", Range(64.0, 512.0, whole=True, step=64.0)),
        ("0..1:0.25", Range(0.0, 1.0, whole=False, step=0.25)),
        ("log(1e-4,1)", Range(1e-4, 1.0, whole=False, log=True)),
        ("log(16, 1024)", Range(16.0, 1024.0, whole=True, log=True)),
        ("resnet18,resnet34", Choice(("resnet18", "resnet34"))),
        ("none,layer", Choice((None, "layer"))),
        ("true,false", Choice((True, False))),
        ("1e-4,2,0.5", Choice((1e-4, 2, 0.5))),
        ("[512,128],[2048]", Choice(([512, 128], [2048]))),
        ("20", Choice((20,))),
    ],
)
def test_reads(text: str, found: Any) -> None:
    assert read_dimension("x", text) == found
    assert read_dimension("x", str(found)) == found  # what is written into records is read back


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write LOW..HIGH"),
        ("1..", "write LOW..HIGH"),
        ("a..b", "write LOW..HIGH"),
        ("log(1e-4)", "write LOW..HIGH"),
        ("2..1", "below the second"),
        ("log(0,1)", "must begin above 0"),
        ("log(1,0.1)", "below the second"),
        ("0..1:2", "the step must be above 0"),
        ("0..1:0", "the step must be above 0"),
        ("a,,b", "write LOW..HIGH"),
        ("[1,2", "write LOW..HIGH"),
        ("a,a", "may be there once"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_setting(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"search optimizer\.lr") as error:
        read_dimension("optimizer.lr", text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_words_replace_the_default_space_unless_it_is_named() -> None:
    default = {"a": "0..1", "b": "x,y"}
    assert set(read_space([], default)) == {"a", "b"}
    assert set(read_space(["c=1..2"], default)) == {"c"}
    both = read_space(["default", "a=3", "c=1..2"], default)
    assert set(both) == {"a", "b", "c"}
    assert both.searched == ["b", "c"]
    with pytest.raises(ValueError, match="write SETTING=VALUES"):
        read_space(["lr"], default)


def test_a_yaml_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("inner:\n  lr: log(1e-4,1)\n  depth: [0, 2]\nname: a,b\nwidths: 3\n")
    words = ["inner.lr=log(1e-4,1)", "inner.depth=0,2", "name=a,b", "widths=3"]
    assert read_space([str(file)], {}) == read_space(words, {})
    with pytest.raises(ValueError, match=r"nowhere\.yaml"):
        read_space([str(tmp_path / "nowhere.yaml")], {})


def fitted(*words: str) -> Space:
    return read_space(words, {}).fitted(Outer().updated)


def test_numbers_become_what_the_setting_takes() -> None:
    space = fitted("inner.lr=log(1,10)", "inner.depth=1..3", "inner.either=1..3")
    assert space["inner.lr"] == Range(1.0, 10.0, whole=False, log=True)
    assert space["inner.depth"] == Range(1.0, 3.0, whole=True)
    assert space["inner.either"] == Range(1.0, 3.0, whole=True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("inner.rate=0..1", "rate"),
        ("outer.lr=0..1", "outer"),
        ("inner.lr=0..1", "search inner.lr=0"),
        ("inner.depth=1..9", "search inner.depth=1..9"),
        ("inner.depth=0.5..2", "search inner.depth=0.5..2"),
        ("widths=[1],[a]", "search widths="),
    ],
)
def test_every_end_is_tried_against_the_settings(word: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        fitted(word)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_trial_gets_values_that_come_back_from_what_optuna_keeps() -> None:
    space = fitted(
        "inner.lr=log(1e-4,1)", "inner.depth=0..3", "widths=[4,2],[8]", "name=a,b", "inner.either=3"
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = space.suggest(trial)
        assert values["widths"] in ([4, 2], [8])
        assert values["inner.either"] == 3
        assert isinstance(values["inner.depth"], int)
        Outer().updated(values)
        assert space.settings_of(trial.params) == values
        assert space.params_of(values) == trial.params
    assert space.params_of({**values, "inner.lr": 5.0}) is None
    assert space.params_of({**values, "inner.either": 4}) is None
