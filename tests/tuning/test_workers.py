"""Several workers of one command: whatever ends one of them is said."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfsight.tuning.record import counts, trial_rows
from selfsight.tuning.study import open_study

TOY = Path(__file__).with_name("toy_workers.py")


def started(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TOY), str(folder), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(folder: Path) -> list[dict[str, object]]:
    toy = runpy.run_path(str(TOY.with_name("toy.py")))
    return trial_rows(open_study(toy["problem"](folder, trials=8)), toy["SPACE"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("kill", "Worker 1 was killed (SIGKILL, as the system does when memory runs out); 1 still"),
        ("exit", "Worker 1 failed of SystemExit: 0"),
        ("type", "Worker 1 failed of TypeError: no trial fails of this"),
    ],
)
def test_one_ends_and_the_other_finishes_the_study(tmp_path: Path, how: str, said: str) -> None:
    out, err = started(tmp_path, how).communicate(timeout=300)
    assert said in err
    assert out.strip() == "8 trials were made"
    rows = rows_of(tmp_path)
    assert sum(row["state"] == "complete" for row in rows) >= 8 - (how == "type")
    if how == "kill":
        assert counts(rows)["killed"] == 1
        assert "it is run again" in err


def test_when_all_are_killed_the_command_says_so_and_can_go_on(tmp_path: Path) -> None:
    process = started(tmp_path, "both")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "no worker of the study is left (worker 0 was killed (SIGKILL" in err
    assert "the same command goes on" in err
    process = started(tmp_path, "kill")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert out.strip() == "8 trials were made"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_takes_its_workers_along(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = started(tmp_path, "hang")
    deadline = time.monotonic() + 200
    while not (tmp_path / "hangs").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(number)
    # The hanging worker holds its standard error too: this returns when both have ended.
    _, err = process.communicate(timeout=100)
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert "Stopping the workers; what is finished is kept" in err
        assert "selfsight: stopped by SIGTERM" in err
        assert "Traceback" not in err
    else:
        assert "Worker 1: the command that started it is gone" in err
