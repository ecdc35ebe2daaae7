"""The method of CONTRIBUTING.md, in a file of one's own, is found everywhere without an edit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import selfsight
from selfsight.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def byol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"<!-- byol\.py.*?-->\n```python\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path_factory.mktemp("methods") / "byol.py"
    path.write_text(code)
    return path


def test_the_command_line_knows_its_flags(
    byol: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(byol.parent)
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "./byol.py", "--help"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    assert "--method.momentum" in help_text
    assert "Momentum of the teacher at the start" in help_text.replace("\n", " ")


def test_the_api_trains_it(byol: Path, tmp_path: Path) -> None:
    assert selfsight.METHODS[str(byol)].__name__ == "BYOL"
    run = selfsight.pretrain(
        str(byol),
        "digits",
        out=str(tmp_path / "run"),
        epochs=1,
        batch_size=32,
        limit=64,
        settings={"method.projector": (16, 8)},
    )
    assert run.method == str(byol)
    rows = run.folder.read_metrics()
    assert rows["step"] == [2.0]
    assert selfsight.load(run.folder.path).features == 64


def test_the_generic_tests_run_on_it(byol: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/methods/test_contract.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SELFSIGHT_TEST_METHODS": str(byol), "OMP_NUM_THREADS": "1"},
        timeout=250,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b7 passed", done.stdout)


def test_in_the_folder_it_is_a_name(byol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight import methods

    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(byol.parent)])
    assert "byol" in selfsight.METHODS
    assert selfsight.METHODS["byol"].__name__ == "BYOL"
    monkeypatch.delitem(sys.modules, "selfsight.methods.byol")
