"""Checkpoints that are whole, finite, of this training, and complete with their rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.networks import specs
from selfsight.runs.checkpoint import backbone_of, read_record, whole
from selfsight.training import device
from selfsight.training import pretrain as training
from selfsight.training.checkpoints import LAST, PREVIOUS, NotFiniteError, newest_whole
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import FREE, Pretrain


def settings_of(out: Path, **changes: Any) -> Pretrain:
    plain: dict[str, Any] = {
        "data": "digits",
        "limit": 160,
        "batch_size": 32,
        "epochs": 2,
        "log_every": 1,
        "monitor_images": 1,
        "checkpoint_steps": 1,
        "device": "cpu",
        "precision": "fp32",
        "backbone": "resnet18",
        "network": {"widths": [4, 8], "depths": [1, 1]},
        "method": {"name": "simclr", "projector": [16, 8]},
        "out": str(out),
    }
    return Pretrain(**{**plain, **changes})


class CrashError(Exception):
    """Stands for the end of a process."""


class Crash(pl.Callback):
    """Ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if module.step == self.step:
            raise CrashError


def crashed(out: Path, step: int, **changes: Any) -> Path:
    with pytest.raises(CrashError):
        pretrain(settings_of(out, **changes), watching=[Crash(step)])
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 epochs of 5 steps."""
    out = tmp_path_factory.mktemp("finished") / "run"
    pretrain(settings_of(out))
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "backbone.safetensors")


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    rows = [(run / "metrics.csv").read_text() for run in (a, b)]
    return rows[0] == rows[1] and all(torch.equal(one[name], other[name]) for name in one)


DAMAGE = {
    "flip": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 16
    return bytes(changed)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = crashed(tmp_path / "run", 7)
    folder = run / "checkpoints"
    assert whole(folder / LAST) and whole(folder / PREVIOUS)
    content = (folder / LAST).read_bytes()
    for damage in DAMAGE.values():
        (folder / LAST).write_bytes(content)
        damage(folder / LAST)
        assert newest_whole(folder) == folder / PREVIOUS
        assert f"{folder / LAST} is damaged or missing: going on" in capsys.readouterr().err
    pretrain(settings_of(run))
    assert same(run, finished)


def test_two_damaged_checkpoints_stop_it(tmp_path: Path) -> None:
    run = crashed(tmp_path / "run", 3)
    for name in (LAST, PREVIOUS):
        DAMAGE["flip"](run / "checkpoints" / name)
    with pytest.raises(ValueError, match=r"last\.ckpt and .*previous\.ckpt: damaged"):
        pretrain(settings_of(run))


@pytest.mark.parametrize("step", [6, 8])
def test_rows_come_from_the_checkpoint(finished: Path, tmp_path: Path, step: int) -> None:
    run = crashed(tmp_path / "run", step)
    metrics = run / "metrics.csv"
    if step == 8:
        metrics.unlink()
    else:
        metrics.write_text("\n".join(metrics.read_text().splitlines()[:1]) + "\n0,0")
    pretrain(settings_of(run))
    assert same(run, finished)


@pytest.mark.parametrize(("steps", "crash"), [(1, 4), pytest.param(3, 9, marks=pytest.mark.slow)])
def test_checkpoints_wait_for_the_end_of_a_window(tmp_path: Path, steps: int, crash: int) -> None:
    changes: dict[str, Any] = {"accumulate_batches": 2, "checkpoint_steps": steps}
    pretrain(settings_of(tmp_path / "whole", **changes))
    run = crashed(tmp_path / "run", crash, **changes)
    pretrain(settings_of(run, **changes))
    assert same(run, tmp_path / "whole")


def test_a_short_window_has_the_right_scale(tmp_path: Path) -> None:
    """Five batches in windows of two: the gradients of the fifth are divided by one."""
    scales: list[float] = []

    class Look(pl.Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            # What Lightning gives to callbacks is divided by the full window.
            scales.append(float(outputs["loss"] / module.losses["loss"].detach()))

    pretrain(settings_of(tmp_path / "run", accumulate_batches=2), watching=[Look()])
    assert scales == pytest.approx([0.5, 0.5, 0.5, 0.5, 1.0] * 2)


class Poison(pl.Callback):
    """Makes the weights NaN before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if module.step == self.step - 1:
            with torch.no_grad():
                next(module.method.backbone.parameters()).fill_(float("nan"))


def test_a_divergence_keeps_the_last_good_checkpoint(tmp_path: Path, digits: ImageSet) -> None:
    run = tmp_path / "run"
    # Rows are written every 4 steps: step 6 goes wrong and step 8 notices it.
    settings = settings_of(run, log_every=4)
    with pytest.raises(NotFiniteError, match="not finite at step 6") as caught:
        pretrain(settings, watching=[Poison(6)])
    last = run / "checkpoints" / LAST
    assert newest_whole(run / "checkpoints") == last
    assert f"--weights {last} --out ANOTHER" in str(caught.value)
    tensors = backbone_of(last)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    content = json.loads((run / "not_finite.json").read_text())
    assert content["step"] == 6
    assert len(set(content["row_ids"])) == 32
    assert set(content["row_ids"]) <= set(digits.row_ids.tolist())
    own = {"weights": str(last), "epochs": 1, "backbone": "auto", "network": {}}
    other = pretrain(settings_of(tmp_path / "other", **own))
    assert "starts from the weights of" in (other.folder.environment).read_text()
    assert read_record(last)["settings"]["method"]["name"] == "simclr"


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss of the step was finite; its update was not."""

    class Late(pl.Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if module.step == 3:
                with torch.no_grad():
                    next(module.method.parameters())[0].fill_(float("inf"))

    run = tmp_path / "run"
    with pytest.raises(NotFiniteError, match="The weights are not finite at step 3"):
        pretrain(settings_of(run), watching=[Late()])
    state = torch.load(run / "checkpoints" / LAST, weights_only=True)
    assert state["global_step"] == 2


def inverted(images: ImageSet) -> ImageSet:
    return replace(images, pixels=np.ascontiguousarray(16 - images.pixels))


def test_changed_images_are_noticed(finished: Path, tmp_path: Path, digits: ImageSet) -> None:
    run = tmp_path / "run"
    with pytest.raises(CrashError):
        pretrain(settings_of(run), digits, watching=[Crash(7)])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"last\.ckpt is of .* the images have changed"):
        pretrain(settings_of(run), inverted(digits))
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert before == after
    pretrain(settings_of(run), digits)
    with pytest.raises(ValueError, match="the images have changed"):
        pretrain(settings_of(run), inverted(digits))


def test_changed_code_of_a_method_is_noticed(tmp_path: Path) -> None:

    import selfsight.methods.simclr as simclr

    method = tmp_path / "mine.py"
    shutil.copy(simclr.__file__, method)
    run = tmp_path / "run"
    crashed(run, 3, method={"name": str(method), "projector": [16, 8]})
    method.write_text(method.read_text() + "\n# another version\n")
    with pytest.raises(ValueError, match="the file of the method has changed"):
        pretrain(settings_of(run, method={"name": str(method), "projector": [16, 8]}))


def test_more_epochs_are_refused_with_the_way_that_works(finished: Path) -> None:
    with pytest.raises(ValueError, match=f"--weights {finished} --out ANOTHER"):
        pretrain(settings_of(finished, epochs=3))


def test_a_checkpoint_of_another_run_is_refused(finished: Path, tmp_path: Path) -> None:
    run = crashed(tmp_path / "run", 3, seed=5)
    shutil.copy(finished / "checkpoints" / LAST, run / "checkpoints" / LAST)
    with pytest.raises(ValueError, match=r"last\.ckpt holds a run with other settings \(seed"):
        pretrain(settings_of(run, seed=5))
    (run / "settings.yaml").unlink()
    with pytest.raises(ValueError, match=r"last\.ckpt holds a run with other settings \(seed"):
        pretrain(settings_of(run, seed=5))


def test_what_changes_no_batch_may_change(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = crashed(tmp_path / "run", 7)
    pretrain(settings_of(run, checkpoint_steps=4))
    assert "checkpoint_steps: 4 instead of 1; batches" in capsys.readouterr().err
    assert same(run, finished)


def test_what_may_change_are_settings() -> None:
    assert set(FREE) <= set(Pretrain.model_fields)


def test_a_tracker_may_be_added_or_left_out(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "check_packages", lambda names: None)
    pretrain(settings_of(finished, track=["tensorboard"]))
    assert "nothing to do" in capsys.readouterr().err


def test_another_number_of_threads_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, threads = crashed(tmp_path / "run", 7), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        pretrain(settings_of(run))
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().err
    before, after = counted(threads, "thread"), counted(threads + 1, "thread")
    assert f"written with {before}, and goes on with {after}" in said
    assert f"OMP_NUM_THREADS={threads} gives the same bytes" in said


def test_a_training_goes_on_on_another_processor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the precision that "auto" chose, and says that its last bits differ."""
    monkeypatch.setattr(device, "fast_bf16", lambda _: False)
    run = crashed(tmp_path / "run", 7, precision="auto")
    monkeypatch.setattr(device, "fast_bf16", lambda _: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    capsys.readouterr()
    with pytest.raises(ValueError, match=r"other settings \(precision\)"):
        pretrain(settings_of(run, precision="bf16"))
    pretrain(settings_of(run, precision="auto"))
    said = capsys.readouterr().err
    assert "goes on with a CPU with NEON: sums are rounded" in said
    assert "backbone in fp32 (as it began)" in said and "OMP_NUM_THREADS" not in said
    assert "precision: fp32" in (run / "settings.yaml").read_text()


def test_a_finished_training_is_known_on_a_machine_that_would_choose_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, auto = tmp_path / "run", {"precision": "auto", "backbone": "auto", "epochs": 1}
    pretrain(settings_of(run, **auto))
    before = (run / "settings.yaml").read_text()
    fast = device.fast_bf16(torch.device("cpu"))
    monkeypatch.setattr(device, "fast_bf16", lambda _: not fast)
    monkeypatch.setattr(specs, "_auto", lambda *_: ("resnet34", "on a GPU"))
    pretrain(settings_of(run, **auto))
    assert "holds this very training, finished" in capsys.readouterr().err
    assert (run / "settings.yaml").read_text() == before
