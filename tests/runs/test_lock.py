"""One process in a folder at a time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selfsight.console import first_process
from selfsight.runs.lock import HOLDER, locked
from selfsight.training.processes import check_processes
from selfsight.training.settings import Pretrain

HOLDING = """
import sys
from selfsight.runs.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(ValueError, match=f"in use by process {process.pid} on {platform.node()}"),
        locked(tmp_path / "run"),
    ):
        pass
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert (tmp_path / "run" / HOLDER).exists()
    with locked(tmp_path / "run"), locked(tmp_path / "run"):  # the system has let go of it
        assert str(os.getpid()) in (tmp_path / "run" / HOLDER).read_text()
    assert not (tmp_path / "run" / HOLDER).exists()


def test_one_that_waits_gets_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = HOLDING.replace("sys.stdin.read()", "__import__('time').sleep(1.5)")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with locked(tmp_path, wait=True):
        assert process.wait() == 0
    process.stdout.close()
    assert f"in use by process {process.pid}" in "".join(capsys.readouterr())


def test_containers_with_one_name_do_not_share_temporary_files(tmp_path: Path) -> None:
    """Both are process 1 of a machine of the same name, and write the same file at once."""
    prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this machine gives no process its own process numbers")
    code = """
import os, sys
from selfsight.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text(str(os.getpid()))
    print("open", flush=True)
    sys.stdin.read()
"""
    both = []
    for _ in range(2):
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, str(tmp_path / "file")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        both.append(process)
    assert len(list(tmp_path.glob("*.tmp"))) == 2
    for process in both:
        process.communicate("")
        assert process.returncode == 0
    assert (tmp_path / "file").read_text() == "1"


def test_other_processes_of_a_training_do_not_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with locked(tmp_path / "run"):
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("started", "on_each", "devices", "nodes", "way"),
    [
        (2, 2, 1, 1, "give --devices 2 --nodes 1"),
        (8, 4, 4, 1, "give --devices 4 --nodes 2"),
        (4, 4, 4, 1, ""),
        (1, 1, 2, 1, ""),
    ],
)
def test_launched_processes_are_compared_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, started: int, on_each: int, devices: int, nodes: int, way: str
) -> None:
    settings = Pretrain(method="simclr", data="digits", devices=devices, nodes=nodes)  # type: ignore[arg-type]
    torchrun = {"WORLD_SIZE": started, "LOCAL_WORLD_SIZE": on_each}
    slurm = {"SLURM_STEP_NUM_TASKS": started, "SLURM_STEP_NUM_NODES": max(1, started // on_each)}
    for launcher in (torchrun, slurm):
        with monkeypatch.context() as environment:
            for name, value in launcher.items():
                environment.setenv(name, str(value))
            if way:
                with pytest.raises(ValueError, match=way):
                    check_processes(settings)
            else:
                check_processes(settings)


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, True),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, True),
    ],
)
def test_one_process_is_the_first(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], first: bool
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert first_process() is first
