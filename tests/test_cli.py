"""The command line: help, and one sentence for every mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from selfsight.cli import main
from selfsight.verbs import VERBS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pretrian", "simclr", "digits"], "did you mean 'pretrain'"),
        (["pretrain", "simclt", "digits"], "did you mean 'simclr'"),
        (["pretrain"], "needs a METHOD"),
        (["pretrain", "./nowhere.py", "digits"], "no such file"),
        (["pretrain", "simclr", "/no/such/folder"], "/no/such/folder"),
        (["pretrain", "simclr", "digits", "--target", "digt"], "'digit'"),
        (["pretrain", "simclr", "digits", "--batch-size", "5000"], "batch size 5000"),
        (["pretrain", "simclr", "digits", "--device", "cuda:9"], "device 'cuda:9'"),
        (["pretrain", "simclr", "digits", "--settings", "/no.yaml"], "/no.yaml"),
        (
            ["pretrain", "simclr", "digits", "--epochs", "-1"],
            "selfsight: epochs: must be at least 0 (got -1)",
        ),
        (
            ["pretrain", "simclr", "digits", "--method.temperature", "0"],
            "method.temperature: must be greater than 0.0",
        ),
        (["pretrain", "simclr", "digits", "--backbone", "resnet81"], "did you mean 'resnet18'"),
        (
            ["evaluate", "runs/x", "--fractions", "2"],
            "fractions.0: must be at most 1",
        ),
        (["evaluate", "/no/such/run"], "/no/such/run"),
        (["report", "/no/such/run"], "/no/such/run"),
        (["run", "digits", "--method", "bolo"], "bolo"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "run")] if words[0] in ("pretrain", "run") else []
    assert main([*words, *out]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed and "input_type" not in printed
    assert not (tmp_path / "run" / "backbone.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["pretrain", "simclr", "digits", "--epoch", "3"],
        ["pretrain", "simclr", "digits", "--method.temprature", "0.3"],
        ["pretrain", "simclr", "digits", "--epochs", "three"],
        ["pretrain", "simclr", "digits", "--compile", "yes"],
        ["pretrain", "simclr"],
    ],
    ids=" ".join,
)
def test_a_wrong_flag_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_yaml_mistake_names_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("optimizer: {learning_rate: 1}\n")
    assert main(["pretrain", "simclr", "digits", "--settings", str(file)]) == 2
    assert "learning_rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3\n", "file.yaml: there is no setting 'epoch'; did you mean 'epochs'?"),
        ("[1,2", "file.yaml is not valid YAML: while parsing a flow sequence at line 1"),
        ("epochs: [3]\n", "file.yaml: epochs:"),
    ],
)
def test_a_yaml_mistake_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    assert main(["run", "digits", "--settings", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error and "unicode string" not in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "digits"],
        ["pretrain", "simclr", "digits"],
        ["run", "digits"],
        ["evaluate", "runs/none"],
        ["suggest", "runs/none"],
        ["tune", "probe", "runs/none"],
        ["tune", "pretrain", "simclr", "digits"],
    ],
    ids=" ".join,
)
def test_a_file_where_a_folder_is_written_is_refused_at_once(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "note.txt"
    file.write_text("mine")
    assert main([*words, "--out", str(file / "below"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert f"{file} is a file; name another folder." in error and error.count("\n") == 1
    assert file.read_text() == "mine"


@pytest.mark.parametrize("words", [["evaluate"], ["report"], ["search"], ["finetune"]])
def test_a_file_in_the_place_of_a_folder_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.html"
    file.touch()
    more = {"search": ["digits#0"], "finetune": ["--out", str(tmp_path / "model")]}
    assert main([*words, str(file), *more.get(words[0], [])]) == 2
    assert f"{file}: it is a file; name the folder." in capsys.readouterr().err


STARTS = """
import os, sys, io, contextlib
import torch, lightning, pyarrow, sklearn.linear_model, tyro  # what is not ours is imported once
for words in {words!r}:
    if (child := os.fork()) == 0:
        from selfsight.cli import main
        printed, code = io.StringIO(), 0
        with contextlib.redirect_stdout(printed):
            try:
                code = main(words)
            except SystemExit as stop:
                code = stop.code
        os._exit(0 if code == 0 and "usage" in printed.getvalue() else 1)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{{words}} does not start: {{status}}")
assert not any(name.startswith("selfsight") for name in sys.modules)
"""


def test_each_verb_starts_on_its_own() -> None:
    """In a process that has imported nothing of ours: no verb may lean on another's imports."""
    code = STARTS.format(words=[[*name.split(), "--help"] for name in VERBS])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_overview_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    assert max(map(len, overview.splitlines())) <= 80
    for name in VERBS:
        assert f"  {name} " in overview
        with pytest.raises(SystemExit) as stopped:
            main([*name.split(), "--help"])
        assert stopped.value.code == 0
        assert "usage" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pretrain", "barlow_twins", "--help-all"])
    text = capsys.readouterr().out
    assert "--method.redundancy-weight" in text
    assert "--views" not in text
    assert main(["--version"]) == 0


def test_a_verb_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["tune"], ["tune", "--help"]):
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert all(f"tune {what} " in printed for what in ("probe", "pretrain", "finetune"))
        assert "suggest" not in printed
    assert main(["tune", "finetun", "runs/x"]) == 2
    assert "did you mean 'tune finetune'?" in capsys.readouterr().err
