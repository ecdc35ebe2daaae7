"""The two screens of help, and that each setting is a flag of the same path."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field

from selfsight.arguments import parsed
from selfsight.cli import main
from selfsight.flags import Flag, default_text, dials, flags_of, metavar, short_help
from selfsight.settings import Settings
from selfsight.training.settings import Pretrain, typed
from selfsight.verbs import VERBS


def screen(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def flags_in(text: str) -> list[str]:
    return re.findall(r"^  (?:-\w \w+, )?--([a-z][a-z._-]*)", text, re.MULTILINE)


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", VERBS)
def test_the_short_help_is_one_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = screen([*name.split(), "--help"], capsys)
    lines = text.splitlines()
    assert len(lines) <= 48 and max(map(len, lines)) <= 80
    assert len(flags_in(text)) <= 15
    assert "{None}" not in text and "default: None" not in text
    assert "--settings FILE" in text and "--json" in text


@pytest.mark.parametrize("name", VERBS)
def test_the_long_help_has_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = screen([*name.split(), "--help-all"], capsys)
    assert "{None}" not in text and "default: None" not in text
    kind = VERBS[name].settings_class
    kind = typed("simclr", kind) if issubclass(kind, Pretrain) else kind
    wanted = {f.path.replace("_", "-") for f in flags_of(kind) if not f.positional}
    assert wanted <= set(flags_in(text))


def test_short_texts_are_whole_and_name_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("suggest", "finetune", "export", "cluster", "evaluate"):
        text = " ".join(screen([*name.split(), "--help"], capsys).split())
        assert text.count("(") == text.count(")") and "(default: )" not in text
    words = " ".join(screen(["cluster", "--help"], capsys).split())
    assert "One of auto, hdbscan, linkage." in words
    search = screen(["search", "--help"], capsys)
    assert "INDEX QUERIES...\n" in search and "[QUERIES" not in search and "-k INT" in search
    assert "-n INT" in screen(["suggest", "--help"], capsys)
    assert "--run" in screen(["audit", "--help"], capsys)


def test_help_of_a_verb_by_its_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert screen(["help", "tune", "probe"], capsys) == screen(["tune", "probe", "--help"], capsys)
    assert main(["help"]) == 0 and "compare-starts" in capsys.readouterr().out


def test_what_people_look_for_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    text = screen(["run", "--help-all"], capsys)
    for flag in ("track", "devices", "nodes", "accumulate-batches", "checkpoint-steps", "compile"):
        assert flag in flags_in(text)
    assert "track" in flags_in(screen(["pretrain", "simclr", "--help"], capsys))


def test_flag_and_yaml_path_are_the_same(tmp_path: object) -> None:
    words = ["simclr", "digits", "--track", "wandb", "mlflow", "--devices", "2", "--nodes", "3"]
    words += ["--accumulate-batches", "4", "--checkpoint-steps", "5", "--compile", "off"]
    plain = parsed(VERBS["pretrain"], words).plain()
    assert plain["track"] == ["wandb", "mlflow"] and plain["compile"] == "off"
    assert [plain[k] for k in ("devices", "nodes", "accumulate_batches", "checkpoint_steps")] == [
        2,
        3,
        4,
        5,
    ]


def test_run_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(screen(["run", "--help"], capsys).split())
    assert "measure it beside its controls" in text and "one report page" in text
    assert "--method" in text and "SimCLR" in text


class Other(Settings):
    """Settings of a plugin."""

    words: str | None = None
    """By default those of the run."""
    more: int | None = None
    """How many."""
    kind: Literal["a", "b"] = "a"
    """Which."""
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2)
    """Sizes."""
    on: bool = False
    """Whether."""


def test_defaults_are_explained() -> None:
    said = {flag.path: default_text(flag) for flag in flags_of(Other)}
    assert said == {
        "words": "",
        "more": "(optional)",
        "kind": "(default: a)",
        "sizes": "(default: 1 2)",
        "on": "(default: no)",
    }


def test_values_by_type() -> None:
    looks = {flag.path: metavar(flag.field.annotation) for flag in flags_of(Other)}
    assert looks["kind"] == "{a,b}" and looks["sizes"] == "INT..." and looks["more"] == "INT|None"


def test_few_settings_are_all_shown_and_many_by_rank() -> None:
    assert [flag.path for flag in dials(flags_of(Other))] == list(Other.model_fields)
    many = [Flag(f"x{i}", Other.model_fields["more"], None, False) for i in range(20)]
    seed = Flag("seed", Other.model_fields["more"], 0, False)
    assert dials([*many, seed]) == [seed]
    assert "--more" in short_help(Other, "selfsight other", "Does it.", None)
