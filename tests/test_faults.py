"""Errors of disks and of libraries are sentences with path and remedy; unknown ones are saved."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from selfsight.cli import guarded
from selfsight.console import shown
from selfsight.faults import REMEDIES, sentence_of
from selfsight.files import read_json, remove_leftovers, replacing, write_json, write_text


def savez(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(1 << 16))


WRITERS = {
    "torch": lambda path: torch.save({"a": torch.zeros(1 << 16)}, path),
    "safetensors": lambda path: save_file({"a": torch.zeros(1 << 16)}, path),
    "numpy": savez,
    "parquet": lambda path: pq.write_table(
        pa.table({"a": np.random.default_rng(0).random(1 << 16)}), path
    ),
    "text": lambda path: Path(path).write_text("x" * (1 << 19)),
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_has_one_sentence_whoever_writes(
    library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file-size limit of the process stands for a disk that fills up while a file is written."""
    target = tmp_path / "file.bin"
    target.write_text("old")

    def command() -> int:
        with replacing(target) as path:
            WRITERS[library](path)
        return 0

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        code = guarded(command, ["embed"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    printed = capfd.readouterr().err
    assert code == 2, printed
    assert printed.startswith(f"selfsight: {target}: ")
    assert len(printed.splitlines()) == 1
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def failing(error: Exception) -> Any:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize("number", REMEDIES)
def test_each_error_of_a_disk_names_path_and_remedy(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number), "/some/where")
    assert guarded(failing(error), ["embed"]) == 2
    assert capsys.readouterr().err == f"selfsight: /some/where: {REMEDIES[number]}.\n"


def test_real_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for path, what in (
        (tmp_path / "file" / "results.json", "a file stands where a folder is needed"),
        (tmp_path / ("n" * 300), "too long"),
        (tmp_path, "a folder stands where a file is needed"),
        (Path("/proc/results.json"), "/proc"),
    ):
        assert guarded(lambda p=path: write_text(p, "text") or 0, ["report"]) == 2
        printed = capsys.readouterr().err
        assert what in printed and "Traceback" not in printed and str(path.parent)[:4] in printed


def test_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: len(np.zeros(1 << 50)), ["embed"]) == 2
    assert guarded(lambda: len(torch.zeros(1 << 50)), ["embed"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("not enough memory" in line for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "[gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:51120: Connection reset by peer.",
        "NCCL error in: ProcessGroupNCCL.cpp:1691, remote process exited or there was a network "
        "error, NCCL version 2.27.5 ncclRemoteError: A call failed possibly due to a network error",
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer",
    ],
)
def test_a_lost_process(text: str) -> None:
    sentence = sentence_of(RuntimeError(text))
    assert sentence is not None and sentence.startswith("Another process of this training")
    assert sentence_of(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_an_unknown_error_saves_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert guarded(failing(KeyError("statistics")), ["evaluate", "runs/x"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("selfsight: evaluate failed with an error that selfsight did not")
    saved = Path(re.search(r"traceback is in (\S+\.txt)", printed)[1])  # type: ignore[index]
    assert "KeyError: 'statistics'" in saved.read_text()
    assert "selfsight evaluate runs/x" in saved.read_text()
    assert "Traceback" not in printed


def test_a_sentence_of_another_library_is_no_sentence_of_ours() -> None:
    """``embedded null byte`` says neither what is wrong nor where."""
    for make in (
        lambda: Path("a\0b").read_text(),
        lambda: int("x"),
        lambda: np.zeros(3).reshape(2),
    ):
        with pytest.raises(ValueError) as caught:
            make()
        assert sentence_of(caught.value) is None
    with pytest.raises(ValueError) as ours:
        read_json("/no/such.json")
    assert sentence_of(ours.value) == "/no/such.json: No such file or directory."


def test_a_closed_pipe_ends_in_silence() -> None:
    code = (
        "import sys; from selfsight.cli import guarded\n"
        "def command():\n    for i in range(100000): print('a line', i)\n    return 0\n"
        "sys.exit(guarded(command, ['report']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 141
    process.stderr.close()


def test_escapes_of_a_terminal_are_shown() -> None:
    assert shown("a\x1b[2Jb\nc\x9b\ud800é") == "a\\x1b[2Jb\nc\\x9b\\ud800é"
    assert shown("safe\u202egnp.exe") == "safe\\u202egnp.exe"


def test_json_is_compared_with_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    value = {"records": [{"value": 0.799, "name": "é"}], "n": 1}
    write_json(path, value)
    assert read_json(path) == value
    path.write_text(path.read_text().replace("0.799", "0.999"))
    with pytest.raises(ValueError, match=r"results\.json is damaged: its content does not match"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"results\.json is damaged: it is not valid JSON"):
        read_json(path)


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with replacing(tmp_path / "own.txt") as own:
        own.write_text("mine")
        inner = tmp_path / "inner"
        inner.mkdir()
        leftover = inner / own.name.replace(str(os.getpid()), str(dead.pid))
        other = inner / own.name.replace("-", "0-")  # of another machine
        leftover.write_text("half")
        other.write_text("half")
        remove_leftovers(inner, below=True)
        assert own.exists()
    assert not leftover.exists()
    assert other.exists()
