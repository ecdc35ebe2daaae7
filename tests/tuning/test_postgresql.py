"""A study in a real PostgreSQL server, with a worker killed in mid-trial."""

from __future__ import annotations

import getpass
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfsight.tuning.record import counts, trial_rows
from selfsight.tuning.study import open_study

pytestmark = pytest.mark.slow
TOY = Path(__file__).with_name("toy.py")
_TOY = runpy.run_path(str(TOY))
SPACE, height, problem = _TOY["SPACE"], _TOY["height"], _TOY["problem"]
TRIALS = 24


def program(name: str) -> str:
    """Debian keeps them outside of the PATH."""
    found = [str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    return max(found, default=shutil.which(name) or "")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the test's own, on loopback."""
    pytest.importorskip("psycopg")
    if not program("initdb"):
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    folder = Path("/tmp") / f"selfsight-postgresql-{os.getpid()}"
    user = getpass.getuser()
    prefix: list[str] = []
    if user == "root":  # the server refuses to run as root
        prefix, user = ["runuser", "-u", "postgres", "--"], "postgres"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run = {"check": True, "cwd": "/", "stdout": subprocess.DEVNULL}
    initdb = [program("initdb"), "-D", str(folder), "-A", "trust", "-U", "tuner", "--no-sync"]
    subprocess.run([*prefix, *initdb], **run)  # type: ignore[call-overload]
    control = [*prefix, program("pg_ctl"), "-D", str(folder), "-w"]
    log = ["-l", str(folder / "log")]
    subprocess.run([*control, *log, "-o", options, "start"], **run)  # type: ignore[call-overload]
    try:
        yield f"postgresql://tuner@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)


def test_four_workers_one_killed(server: str, tmp_path: Path) -> None:
    open_study(problem(tmp_path, storage=server, heartbeat=1))
    workers = []
    for number in range(4):
        hang = 2 if number == 3 else -1
        words = [tmp_path, TRIALS, number, server, 0.5, hang]
        workers.append(subprocess.Popen([sys.executable, str(TOY), *map(str, words)]))
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "hangs").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        killed = int((tmp_path / "hangs").read_text())
        os.kill(workers[3].pid, signal.SIGKILL)
        assert [worker.wait(timeout=200) for worker in workers[:3]] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    study = open_study(problem(tmp_path, storage=server, heartbeat=1))
    rows = trial_rows(study, SPACE)
    assert [row["number"] for row in rows] == list(range(len(rows)))  # each number once
    assert rows[killed]["state"] == "killed"
    complete = [row for row in rows if row["state"] == "complete"]
    assert TRIALS <= len(complete) == counts(rows)["made"] < TRIALS + 4
    assert all(row["value"] == pytest.approx(height(row)) for row in complete)
    again = [row for row in rows if row["retry_of"] == killed]
    assert [row["state"] for row in again] == ["complete"]
    assert {name: again[0][name] for name in SPACE} == {n: rows[killed][n] for n in SPACE}
    assert len({row["worker"] for row in complete}) >= 3


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match="storage: the database cannot be used"):
        open_study(problem(tmp_path, storage="postgresql://nobody@127.0.0.1:9/none"))
