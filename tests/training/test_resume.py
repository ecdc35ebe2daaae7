"""A training that is killed and started again ends with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("killed.py")

SETTINGS = """
log_every: 1
monitor_images: 60
checkpoint_steps: 2
optimizer: {max_grad_norm: 1.0}
network: {widths: [4, 8], depths: [1, 1]}
"""

CASES = {
    "simclr": "precision: fp32\nmethod: {name: simclr, projector: [16, 8]}\n",
    "dino": "precision: bf16\nmethod: {name: dino, prototypes: 16, hidden: 16, bottleneck: 8}\n",
}

PARAMS = ["simclr", pytest.param("dino", marks=pytest.mark.slow)]
KILLS = {
    "in every way": [
        ["at_step", 1], ["SIGTERM", 3], ["SIGINT", 5], ["at_step", 6], ["while_saving", 1],
        ["SIGHUP", 8], ["SIGUSR1", 9], ["at_step", 11],
    ],
    "while saving": [["while_saving", 2], ["while_saving", 1]],
}  # fmt: skip


@pytest.fixture(scope="module", params=PARAMS)
def trainings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, heard_signals: None
) -> Path:
    """3 epochs of 4 steps: one training that nobody killed, and one for each way of killing."""
    folder = tmp_path_factory.mktemp(request.param)
    yaml = folder / "settings.yaml"
    yaml.write_text(SETTINGS + CASES[request.param])
    words = ["pretrain", request.param, "digits", "--settings", str(yaml), "--limit", "128"]
    words += ["--epochs", "3", "--batch-size", "32", "--backbone", "resnet18", "--device", "cpu"]
    jobs = [["never", 0, [*words, "--out", str(folder / "whole")]]] * 2
    for name, kills in KILLS.items():
        out = [*words, "--out", str(folder / name)]
        jobs += [[*kill, out] for kill in kills] + [["never", 0, out]]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(jobs)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes == [code_of(how) for how, _, _ in jobs], done.stderr
    for how, step, _ in jobs:
        if how.startswith("SIG"):
            assert f"stopped by {how}. {folder}/in every way/checkpoints/last.ckpt" in done.stderr
            assert f"holds step {step}; start the same command again to go on." in done.stderr
    assert "Traceback" not in done.stderr
    assert "nothing to do" in done.stderr
    return folder


def code_of(how: str) -> int:
    """What a shell sees: 143 after SIGTERM, 130 after Ctrl-C."""
    if how.startswith("SIG"):
        return 128 + signal.Signals[how]
    return 0 if how == "never" else -signal.SIGKILL


@pytest.mark.parametrize("kills", KILLS)
def test_same_bytes(trainings: Path, kills: str) -> None:
    expected, found = trainings / "whole", trainings / kills
    assert (found / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()
    assert len((found / "metrics.csv").read_text().splitlines()) == 13
    a = load_file(expected / "backbone.safetensors")
    b = load_file(found / "backbone.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert kills == "while saving" or not list(found.rglob("*.tmp"))


def test_checkpoints_hold_no_code(trainings: Path) -> None:
    path = trainings / "whole" / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["state_dict"]
