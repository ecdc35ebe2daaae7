"""Several processes are one training: equal ends, one stop for all, two nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from selfsight.methods import method_names

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "equality.py"
YAML = """
monitor_images: 0
log_every: 2
network: {widths: [4, 8], depths: [1, 1]}
method: {name: simclr, projector: [16, 8]}
"""


@pytest.fixture(scope="module")
def equality() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import equality
    finally:
        sys.path.pop(0)
    return equality


def compared(equality: ModuleType, names: list[str], forms: list[str]) -> None:
    """Fails unless all processes give what one gives, and the control does not."""
    words = ["--methods", ",".join(names), "--forms", ",".join(forms), "--json"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers.keys() == set(names)
    for name, row in answers.items():
        assert row.keys() == set(forms)
        for form, differences in row.items():
            for dtype, value in differences.items():
                where = f"{name}, {form}, {dtype}: {value}"
                assert (value > equality.BOUNDS[dtype]) is (form == "control"), where


@pytest.mark.slow
def test_every_method_on_two_four_and_two_nodes(equality: ModuleType) -> None:
    compared(equality, method_names(), list(equality.FORMS))


def words_of(folder: Path, out: str, *more: str) -> list[str]:
    (folder / "small.yaml").write_text(YAML)
    words = ["pretrain", "simclr", "digits", "--settings", str(folder / "small.yaml")]
    words += ["--backbone", "resnet18", "--device", "cpu", "--precision", "fp32"]
    return [*words, "--out", str(folder / out), *more]


@pytest.mark.slow
def test_two_torchrun_agents_are_two_nodes(equality: ModuleType, tmp_path: Path) -> None:
    short = ("--epochs", "2", "--limit", "128", "--batch-size", "32")
    words = words_of(tmp_path, "two", *short, "--devices", "1", "--nodes", "2")
    for end in equality.agents(["-m", "selfsight", *words]):
        assert end.returncode == 0, end.stderr
    one = subprocess.run(
        [sys.executable, "-m", "selfsight", *words_of(tmp_path, "one", *short)],
        capture_output=True,
        timeout=300,
    )
    assert one.returncode == 0, one.stderr
    first, second = (load_file(tmp_path / n / "backbone.safetensors") for n in ("one", "two"))
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the first", "the second"])
def test_a_killed_process_ends_all_with_a_sentence(victim: str, tmp_path: Path) -> None:
    long = ("--epochs", "2000", "--devices", "2")
    training = subprocess.Popen(
        [sys.executable, "-m", "selfsight", *words_of(tmp_path, "run", *long)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        until(last.is_file, 120)
        children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
        second = int(children[0])
        os.kill(training.pid if victim == "the first" else second, signal.SIGKILL)
        began = time.monotonic()
        _, printed = training.communicate(timeout=60)  # the other process holds the pipe
        until(lambda: not alive(second), 60)
    finally:
        training.kill()
    assert time.monotonic() - began < 60
    assert "Another process of this training has ended" in printed
    assert "Traceback" not in printed and "did not foresee" not in printed
    assert training.returncode == (-signal.SIGKILL if victim == "the first" else 2)


def slurm_tasks(words: list[str], port: int) -> list[subprocess.Popen[str]]:
    """Two tasks with the variables that ``srun --ntasks-per-node=2`` gives them."""
    tasks = []
    for number in range(2):
        own = {"SLURM_PROCID": number, "SLURM_LOCALID": number, "SLURM_NODEID": 0}
        all_of_them = {
            "SLURM_NTASKS": 2,
            "SLURM_NTASKS_PER_NODE": 2,
            "SLURM_NNODES": 1,
            "SLURM_STEP_NUM_TASKS": 2,
            "SLURM_STEP_NUM_NODES": 1,
            "SLURM_JOB_ID": 4711,
            "SLURM_JOB_NAME": "train",
            "SLURM_NODELIST": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = {name: str(value) for name, value in {**all_of_them, **own}.items()}
        tasks.append(
            subprocess.Popen(
                [sys.executable, "-m", "selfsight", *words],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
            )
        )
    return tasks


@pytest.mark.slow
def test_slurm_tasks_stop_at_the_warning_and_go_on(
    equality: ModuleType, tmp_path: Path, heard_signals: None
) -> None:
    """What the `sbatch` script of docs/stops.md builds on: USR1 to all tasks, 138, start again."""
    words = words_of(tmp_path, "run", "--epochs", "40", "--limit", "128", "--devices", "2")
    tasks = slurm_tasks([*words, "--batch-size", "32"], equality.free_port())
    try:
        until((tmp_path / "run" / "checkpoints" / "last.ckpt").is_file, 120)
        for task in tasks:
            task.send_signal(signal.SIGUSR1)
        printed = [task.communicate(timeout=120)[1] for task in tasks]
        assert [task.returncode for task in tasks] == [138, 138], printed
        assert "stopped by SIGUSR1" in printed[0]
        assert not (tmp_path / "run" / "backbone.safetensors").exists()
        tasks = slurm_tasks([*words, "--batch-size", "32"], equality.free_port())
        printed = [task.communicate(timeout=300)[1] for task in tasks]
        assert [task.returncode for task in tasks] == [0, 0], printed
    finally:
        for task in tasks:
            task.kill()
    assert "Resuming from" in printed[0] and "Resuming" not in printed[1]
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    steps = [int(row.split(",")[1]) for row in rows[1:]]
    assert steps == sorted(steps)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(what: object, seconds: float) -> None:
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
