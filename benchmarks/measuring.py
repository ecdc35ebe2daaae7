"""How every benchmark here measures: interleaved rounds, medians, peak memory of a fresh process.

A ratio is of medians over rounds in which every contestant ran once, one after the other. On a
machine that is shared, wall time says how long a step waited for others; single-threaded work is
therefore compared by processor time, and a line says which.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "runs" / "bench"


@dataclass(frozen=True)
class Seconds:
    """Medians over rounds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Line:
    """One line of the table: what was measured, and what issue it is held against.

    Attributes:
        what: the job.
        case: its size.
        peer: against what.
        faster: ratio of times, above 1 in selfsight's favour.
        clock: which time the ratio is of.
        target: smallest ratio wanted; None where there is none.
        less: ratio of peak memory, above 1 in selfsight's favour.
        less_target: smallest one wanted.
        ours: what selfsight took, in words.
        theirs: what the peer took.
    """

    what: str
    case: str
    peer: str
    faster: float
    clock: str
    target: float | None
    ours: str
    theirs: str
    less: float | None = None
    less_target: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What the line is of; behind the semicolon of a case stands what was seen."""
        return self.what, self.case.partition(";")[0], self.peer

    def row(self) -> str:
        held = [(self.faster, self.target), (self.less, self.less_target)]
        judged = [value >= wanted for value, wanted in held if value is not None and wanted]
        verdict = "" if not judged else "yes" if all(judged) else "no"
        cells = [
            self.what,
            self.case,
            self.peer,
            f"{_times(self.faster)} ({self.clock})",
            _times(self.target),
            _times(self.less),
            _times(self.less_target),
            verdict,
            self.ours,
            self.theirs,
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| what | case | peer | faster | at least | less memory | at least | reached | selfsight "
    "| its own |\n" + "| --- " * 10 + "|"
)


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x" if value < 10 else f"{value:.0f}x"


def interleaved(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, warm: bool = True
) -> dict[str, Seconds]:
    """Each job once a round, in turn.

    Args:
        jobs: what is timed, by name; one that gives `Seconds` back has timed itself.
        rounds: that are counted.
        warm: one more round comes first and is not counted; not worth its time where a job takes
            minutes.
    """
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(0 if warm else 1, rounds + 1):
        for name, job in jobs.items():
            taken = timed(job)
            if number:
                wall[name].append(taken.wall)
                cpu[name].append(taken.cpu)
    return {
        name: Seconds(statistics.median(wall[name]), statistics.median(cpu[name])) for name in jobs
    }


def timed(job: Callable[[], Any]) -> Seconds:
    """How long a job takes, or says that it took."""
    before = time.perf_counter(), time.process_time()
    said = job()
    if isinstance(said, Seconds):
        return said
    return Seconds(time.perf_counter() - before[0], time.process_time() - before[1])


class Contestant:
    """A job in a process of its own, which stands still with all its workers between its turns.

    So none has the other's allocator, and no worker makes batches for its next turn, or takes a
    core, while another is timed. Call it for one turn.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._said()  # ready
        except BaseException:
            self.close()
            raise
        os.killpg(self.process.pid, signal.SIGSTOP)

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self) -> Seconds:
        assert self.process.stdin is not None
        os.killpg(self.process.pid, signal.SIGCONT)
        print("turn", file=self.process.stdin, flush=True)
        wall, cpu = map(float, self._said().split())
        os.killpg(self.process.pid, signal.SIGSTOP)
        return Seconds(wall, cpu)

    def _said(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(SAID):
                return line.removeprefix(SAID)
        raise SystemExit(f"{' '.join(map(str, self.process.args))}: it ended.")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def in_turn(asked: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Seconds]:
    """`interleaved` contestants, each started with its script and arguments."""
    with ExitStack() as stack:
        jobs = {name: stack.enter_context(Contestant(*words)) for name, words in asked.items()}
        return interleaved(jobs, rounds)


SAID = "contestant: "


def serve(job: Callable[[], Any]) -> None:
    """The other end of `Contestant`: runs the job once to warm up, then once for each turn."""
    job()
    print(f"{SAID}ready", flush=True)
    for _ in sys.stdin:
        taken = timed(job)
        print(f"{SAID}{taken.wall} {taken.cpu}", flush=True)


def apart(script: str, *arguments: str) -> Any:
    """What ``script ARGUMENTS`` prints last, as JSON, from a process of its own."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def restart_peak() -> float:
    """Peak resident set of this process from now on, MiB at this moment.

    What the process has freed goes back to the kernel first: a job would take its memory from there
    unseen.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Peak resident set of this process, MiB (getrusage would tell its parent's)."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def machine() -> str:
    """The processor, its cores and the versions, in one line."""
    import torch

    found = re.findall(r"model name\s+: (.+)", _read("/proc/cpuinfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = re.findall(r"avx512_bf16|amx_bf16", _read("/proc/cpuinfo"))
    parts = [
        f"{found[0] if found else platform.processor() or platform.machine()}, {cores} of "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
        + (f", {flags[0]}" if flags else ", no bf16 products"),
        f"Python {platform.python_version()}",
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    for name in ("torch", "torchvision", "lightly", "kornia", "scikit-learn", "selfsight"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ""


def keep(name: str, lines: list[Line]) -> None:
    """Prints the table and keeps it, with the machine, for `benchmarks/table.py`.

    Lines that an earlier command measured on the same machine and this one did not stay.
    """
    print(f"\n{machine()}\n\n{HEAD}")
    for line in lines:
        print(line.row())
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine(), "command": f"benchmarks/{Path(sys.argv[0]).name}"}
    facts["load"] = f"{os.getloadavg()[0]:.1f}"
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.is_file() else {"machine": None}
    table = {line.key: asdict(line) for line in lines}
    if before["machine"] == facts["machine"]:
        table = {**{Line(**line).key: line for line in before["lines"]}, **table}
    path.write_text(json.dumps({**facts, "lines": list(table.values())}, indent=1) + "\n")
