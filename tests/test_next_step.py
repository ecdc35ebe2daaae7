"""What a command names as the next one."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfsight.arguments import parsed
from selfsight.cli import main
from selfsight.evaluation.settings import Evaluate
from selfsight.labelling.audit import AuditImages
from selfsight.models.embed import Embed
from selfsight.neighbours.build import IndexImages
from selfsight.neighbours.pairs import ComparePairs
from selfsight.next_step import next_step
from selfsight.verbs import VERBS


def words_of(line: str | None) -> list[str]:
    """The words of the command in ``Next: selfsight ... (why)``, without ``selfsight``."""
    assert line is not None and line.startswith("Next: selfsight ")
    return shlex.split(line.removeprefix("Next: selfsight ").rpartition(" (")[0])


def test_an_audit_that_finds_a_leak_leads_to_a_run_without_it() -> None:
    settings = AuditImages(data="my images", group="coil", allow_leaks=False, kinds=("age:number",))
    audit = SimpleNamespace(crossings=[object()], near_leak=True)
    words = words_of(next_step("audit", settings, SimpleNamespace(audit=audit)))
    assert words[:2] == ["run", "my images"] and {"--drop-leaks", "--drop-near"} <= set(words)
    run = parsed(VERBS["run"], words[1:])  # the words are those of a command that exists
    assert (run.data, run.group, run.kinds) == ("my images", "coil", ("age:number",))
    clean = SimpleNamespace(audit=SimpleNamespace(crossings=[], near_leak=False))
    assert "--drop-leaks" not in words_of(next_step("audit", settings, clean))
    assert next_step("audit", settings.updated({"run": "runs/a"}), clean) is None


def test_evaluate_tells_that_the_page_is_older(tmp_path: Path) -> None:
    settings, results = Evaluate(run=str(tmp_path)), SimpleNamespace(path=tmp_path / "results.json")
    line = next_step("evaluate", settings, results)
    assert words_of(line) == ["report", str(tmp_path)] and "older" not in str(line)
    (tmp_path / "report.html").touch()
    assert "it is older than these results" in str(next_step("evaluate", settings, results))
    (tmp_path / "model.json").touch()
    assert words_of(next_step("evaluate", settings, results))[:2] == ["predict", str(tmp_path)]
    features = Evaluate(features="f.parquet")
    assert next_step("evaluate", features, results) is None


@pytest.mark.parametrize(
    ("verb", "settings", "expected"),
    [
        ("index", IndexImages(run="r", out="i"), ["explore", "i"]),
        ("index", IndexImages(run="r", out="i", shard="1/2"), ["merge", "i"]),
        ("embed", Embed(run="r", images="d", out="e.npz", shard="1/2"), ["merge", "e.npz"]),
        ("embed", Embed(run="r", images="d", out="e.npz"), None),
        ("pairs", ComparePairs(index="i", pairs="p.csv"), ["cluster", "i", "--pairs", "p.csv"]),
        ("pairs", ComparePairs(index="i"), None),
    ],
)
def test_parts_and_pairs(verb: str, settings: Any, expected: list[str] | None) -> None:
    line = next_step(verb, settings, Path("written"))
    assert line is None if expected is None else words_of(line) == expected


def test_a_worker_that_joined_and_a_verb_of_a_file_name_nothing() -> None:
    assert next_step("tune probe", SimpleNamespace(), None) is None
    assert next_step("count", SimpleNamespace(), 3) is None


def test_the_command_prints_it_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", "simclr", "digits", "--limit", "40", "--steps", "1"]
    words += ["--backbone", "resnet20", "--batch-size", "8", "--monitor-images", "0"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr()
    assert output.out == f"{tmp_path / 'run'}\n"
    assert output.err.endswith(
        f"Next: selfsight evaluate {tmp_path / 'run'} (probes beside controls)\n"
    )
    assert main([*words, "--out", str(tmp_path / "other"), "--quiet"]) == 0
    assert "Next" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["-dash", "--drop leaks"])
def test_a_name_that_begins_with_a_hyphen_is_no_flag(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    clean = SimpleNamespace(audit=SimpleNamespace(crossings=[], near_leak=False))
    words = words_of(next_step("audit", AuditImages(data=name), clean))
    assert words[:2] == ["run", f"./{name}"]
