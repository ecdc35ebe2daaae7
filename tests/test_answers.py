"""`--json`: one object on standard output, everything else elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from selfsight.answers import json_text, plain
from selfsight.cli import main
from selfsight.data.imageset import ImageSet


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Holder:
    path: Path
    values: Any


def test_values_of_every_kind() -> None:
    import torch

    value = Holder(Path("x/y"), {1: Pair(np.float32(0.5), np.array([1, 2])), "t": torch.ones(2)})
    assert plain(value) == {
        "path": "x/y",
        "values": {"1": {"a": 0.5, "b": [1, 2]}, "t": [1.0, 1.0]},
    }
    assert plain([float("nan"), np.float64("inf"), None, True]) == [None, None, None, True]


def test_the_object_names_the_verb() -> None:
    assert json.loads(json_text("report", Path("a.html"))) == {"verb": "report", "path": "a.html"}
    assert json.loads(json_text("tune probe", None)) == {"verb": "tune probe"}
    assert json.loads(json_text("x", [1])) == {"verb": "x", "result": [1]}


def test_verbs_print_one_object(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    digits: ImageSet,
    make_run: Callable[..., Path],
) -> None:
    """A chain of verbs on one run; what each says goes to standard error."""
    run = str(make_run(digits))
    commands = [
        ["list-methods"],
        ["cache"],
        ["completion", "bash"],
        ["audit", "digits", "--no-near", "--out", str(tmp_path / "audit")],
        ["evaluate", run, "--fractions", "1", "--probes", "knn", "--no-clusters"],
        ["embed", run, "digits", "--out", str(tmp_path / "e.npz")],
        ["finetune", run, "--head-only", "linear", "--out", str(tmp_path / "model")],
        ["predict", str(tmp_path / "model"), "digits", "--out", str(tmp_path / "p.csv")],
        ["export", run, "--format", "torchvision", "--out", str(tmp_path / "x.pth")],
        ["report", run],
    ]
    for words in commands:
        code = main([*words, "--json", "--quiet"])
        printed = capsys.readouterr()
        if words[0] == "export" and code == 2:  # the backbone has no twin there
            continue
        assert code in (0, 1), printed.err
        value = json.loads(printed.out)
        assert value["verb"] == words[0] and len(value) > 1
        if words[0] == "evaluate":
            assert value["values"] and value["records"]


def test_a_print_of_a_library_goes_to_standard_error(tmp_path: Path) -> None:
    file = tmp_path / "count.py"
    file.write_text(
        "from selfsight.settings import Settings\n"
        "from selfsight.verbs import Verb\n"
        "class Count(Settings):\n    pass\n"
        "def count(settings):\n    print('noise')\n    return {'n': 3}\n"
        "VERB = Verb('count', '', Count, count, 'Counts.')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "selfsight", str(file), "--json"], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == {"verb": "count", "n": 3}
    assert "noise" in done.stderr
