"""A backbone made by a file of one's own: who may run it, and what follows when it changes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import selfsight
from selfsight.cli import main

CODE = """from torch import nn


class Network(nn.Sequential):
    def forward(self, images):
        return super().forward(images * 1.0)


def build(channels):
    return Network(
        nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
"""
SMALL = ["--limit", "200", "--device", "cpu", "--epochs", "1", "--batch-size", "32"]
SMALL += ["--monitor-images", "0"]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def run(code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "run"
    words = ["pretrain", "simclr", "digits", *SMALL, "--backbone", f"{code}:build"]
    assert main([*words, "--out", str(out)]) == 0
    following = capsys.readouterr().err.rpartition("Next: selfsight ")[2].rpartition(" (")[0]
    assert shlex.split(following) == ["evaluate", str(out), "--allow-code"]
    return out


VERBS = [
    "evaluate RUN",
    "tune probe RUN",
    "tune finetune RUN",
    "finetune RUN --out OUT",
    "index RUN --out OUT",
    "explore RUN --out OUT.html",
    "embed RUN digits",
    "compare-starts digits RUN",
    "audit digits --run RUN --out OUT",
    "export RUN --out OUT.onnx",
]


def test_the_sentence_names_a_flag_that_each_verb_has(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in VERBS:
        words = line.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")).split()
        assert main(words) == 2, line
        said = "read it, then allow it to run with --allow-code (from Python: allow_code=True)"
        assert said in capsys.readouterr().err, line
        with pytest.raises(SystemExit) as left:
            main([*words[: 1 + (words[0] == "tune")], "--help-all"])
        assert left.value.code == 0 and "--allow-code" in capsys.readouterr().out, line


def test_the_next_command_runs_as_it_is_printed(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["index", str(run), "--out", str(tmp_path / "index"), "--allow-code"]
    assert main(words) == 0
    assert f"explore {tmp_path / 'index'} --allow-code (" in capsys.readouterr().err
    words = ["evaluate", str(run), "--allow-code", "--probes", "linear", "--fractions", "1.0"]
    assert main(words) == 0
    assert f"report {run} (" in capsys.readouterr().err  # it runs no code


def test_run_asks_for_leave_where_the_start_is_of_code(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for weights in (run, run / "backbone.safetensors", run / "checkpoints" / "last.ckpt"):
        words = ["run", "digits", *SMALL, "--weights", str(weights), "--out", str(tmp_path / "b")]
        assert main(words) == 2
        assert "give --allow-code" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("verb", ["probe", "finetune"])
def test_a_study_on_a_run_does_not_go_on_with_other_code(
    verb: str, run: Path, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights are the same, and what they compute is not."""
    words = ["tune", verb, str(run), "--allow-code", "--out", str(tmp_path / "study")]
    words += ["--trials", "1", "--device", "cpu"]
    words += ["--probe.epochs" if verb == "probe" else "--finetuning.epochs", "1"]
    words += ["--probe.min-steps" if verb == "probe" else "--finetuning.min-steps", "20"]
    assert main(words) == 0
    before = (tmp_path / "study" / "trials.csv").read_bytes()
    code.write_text(CODE.replace("images * 1.0", "images * 2.0"))
    capsys.readouterr()
    assert main([*words, "--trials", "3"]) == 2
    assert f"another content of {code}" in capsys.readouterr().err
    assert (tmp_path / "study" / "trials.csv").read_bytes() == before
    code.write_text(CODE)
    assert main([*words, "--trials", "2"]) == 0


def test_kept_representations_are_not_those_of_other_code(
    run: Path, code: Path, tmp_path: Path
) -> None:
    def accuracy() -> float:
        found = selfsight.evaluate(
            run, allow_code=True, fractions=(1.0,), probes=("knn",), clusters=False
        )
        return next(v["mean"] for v in found.values if v["subject"] == "trained")

    selfsight.index(run, out=tmp_path / "index", allow_code=True)
    selfsight.explore(run, out=tmp_path / "map.html", allow_code=True)
    first = accuracy()
    code.write_text(CODE.replace("images * 1.0", "images * 0.0"))
    assert accuracy() < first - 0.1  # every image is the same to this network
    selfsight.explore(run, out=tmp_path / "map.html", allow_code=True)  # indexed anew
    with pytest.raises(ValueError, match="was made with other weights, or other code"):
        selfsight.index(run, "digits", out=tmp_path / "index", append=True, allow_code=True)


def test_weights_do_not_bring_code_that_nobody_named(
    run: Path, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of a run may be from a stranger; what its backbone names is not run unasked."""
    ran = tmp_path / "ran"
    code.write_text(f"open({str(ran)!r}, 'w').close()\n" + CODE)
    words = ["pretrain", "simclr", "digits", *SMALL, "--out", str(tmp_path / "next")]
    for weights in (run, run / "backbone.safetensors"):
        assert main([*words, "--weights", str(weights)]) == 2
        said = f"is made by the code of {code}:build; name it by --backbone {code}:build"
        assert said in capsys.readouterr().err and not ran.exists()
    assert main([*words, "--weights", str(run), "--backbone", f"{code}:build"]) == 0
    assert ran.exists()
