"""Trackers: what each holds of a run, read back by its own library; and that none can do harm."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

import selfsight
from selfsight.files import read_json
from selfsight.runs.folder import RunFolder
from selfsight.training import trackers
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain
from selfsight.training.trackers import Trackers, check_packages, publish

BLOCK = 32768
pytestmark = pytest.mark.filterwarnings("default")  # of the trackers' own packages


class KilledError(Exception):
    """Stands for a training that ended in the middle."""


class Killer(pl.Callback):
    """Ends the training after its first epoch, once the checkpoint is written."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.current_epoch == 1:
            raise KilledError


def settings(out: Path, *names: str) -> Pretrain:
    return Pretrain.model_validate(
        {
            "data": "digits",
            "method": "simclr",
            "backbone": "resnet20",
            "network": {"widths": (4, 8), "depths": (1, 1)},
            "limit": 200,
            "epochs": 2,
            "batch_size": 32,
            "log_every": 2,
            "out": str(out),
            "track": names,
        }
    )


def whole(out: Path, name: str) -> RunFolder:
    """A training that is killed, resumed and evaluated, with a tracker."""
    with pytest.raises(KilledError):
        pretrain(settings(out, name), watching=[Killer()])
    pretrain(settings(out, name))
    selfsight.evaluate(str(out), fractions=(1.0,), probes=("knn",), clusters=False)
    folder = RunFolder(out)
    selfsight.report(str(out))
    publish(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_mlflow_with_sqlite(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    folder = whole(tmp_path / "run", "mlflow")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("selfsight")
    (run,) = client.search_runs([experiment.experiment_id])  # one, also after the kill
    assert run.info.run_id == json.loads(folder.trackers.read_text())["mlflow"]
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.name"] == "adamw" and run.data.params["epochs"] == "2"
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "loss")]
    rows = folder.read_metrics()
    assert sorted(set(steps)) == [int(step or 0) for step in rows["step"]]
    assert len(client.get_metric_history(run.info.run_id, "effective_rank")) == 2
    names = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert {"model", "report", "results", "results_table.json", "views"} <= names
    (weights,) = client.list_artifacts(run.info.run_id, "model")
    assert weights.file_size == folder.backbone.stat().st_size
    table = json.loads(
        Path(
            client.download_artifacts(run.info.run_id, "results_table.json", str(tmp_path))
        ).read_text()
    )
    assert table["columns"] == trackers.COLUMNS
    summary = json.loads(folder.results.read_text())["summary"]["values"]
    assert len(table["data"]) == len(summary) and any(row[-1] is not None for row in table["data"])
    figures = {f.path for f in client.list_artifacts(run.info.run_id, "figures")}
    assert {"figures/results-0-0.html", "figures/curve-loss.html", "figures/map-0.html"} <= figures


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = whole(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "knn", "effective_rank"} <= set(tags["scalars"])
    assert max(event.step for event in events.Scalars("loss")) == max(
        int(step or 0) for step in folder.read_metrics()["step"]
    )
    assert any(tag.startswith("views/") for tag in tags["images"])
    assert "results/text_summary" in tags["tensors"]
    (value,) = [
        row
        for row in json.loads(folder.results.read_text())["summary"]["values"]
        if (row["probe"], row["subject"], row["metric"]) == ("knn", "trained", "accuracy")
        and row["label"] is None
    ]
    for end, name in (("", "mean"), ("/low", "low"), ("/high", "high")):
        event = events.Scalars(f"results/digit/accuracy/knn/trained{end}")[-1]
        assert event.step == value["num_labels"]
        assert event.value == pytest.approx(value[name], abs=1e-6)
    assert (folder.path / "tensorboard" / "hparams.yaml").is_file() or "hparams" in str(tags)


def test_wandb_offline(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    wandb.teardown()  # it remembers the environment of its first run
    folder = whole(tmp_path / "run", "wandb")
    wandb.teardown()  # its own process has then written everything
    number = json.loads(folder.trackers.read_text())["wandb"]
    files = sorted((folder.path / "wandb").glob("offline-run-*/*.wandb"))
    assert files and all(file.stem == f"run-{number}" for file in files)
    records = [record for file in files for record in read_wandb(file)]
    config = {
        item.key or "/".join(item.nested_key): item.value_json
        for record in records
        for item in [*record.run.config.update, *record.config.update]
    }
    assert json.loads(config["optimizer.name"]) == "adamw"
    history = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    keys = {key.removesuffix("/path") for row in history for key in row}
    assert {"loss", "epoch", "effective_rank", "results", "report"} <= keys
    assert any(key.startswith("views/") for key in keys)
    assert {"figures/results-0-0", "figures/curve-loss", "figures/map-0"} <= keys
    losses = {json.loads(row["trainer/global_step"]) for row in history if "loss" in row}
    assert losses == {int(step or 0) for step in folder.read_metrics()["step"]}
    name = [json.loads(row["results/path"]) for row in history if "results/path" in row][-1]
    file = next((folder.path / "wandb").glob(f"offline-run-*/files/{name}"))
    table = json.loads(file.read_text())
    assert table["columns"] == trackers.COLUMNS
    summary = json.loads(folder.results.read_text())["summary"]["values"]
    assert [row[-3] for row in table["data"]] == [row["mean"] for row in summary]
    artifacts = {
        record.request.log_artifact.artifact.type or record.artifact.type
        for record in records
        if record.WhichOneof("record_type") in ("artifact", "request")
    }
    assert {"model", "results", "report"} <= artifacts
    ends = [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"]
    assert 1 in ends and ends.count(0) >= 2


def read_wandb(path: Path) -> list[Any]:
    """The records of an offline run: W&B's protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts, records = path.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # no header fits in what is left of the block
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


class Dropper(pl.Callback):
    """Takes the table of metrics from MLflow's database in the middle of a training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.current_epoch == 1:
            with sqlite3.connect(self.path) as database:
                database.execute("DROP TABLE metrics")


def test_a_dropped_table_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    dropper = Dropper(tmp_path / "mlflow.db")
    run = pretrain(settings(tmp_path / "run", "mlflow"), watching=[dropper])
    assert run.folder.backbone.is_file()
    assert capsys.readouterr().err.count("Warning: tracker mlflow failed") == 1


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:////proc/nowhere/mlflow.db"}),
        ("wandb", {"WANDB_MODE": "online"}),
    ],
    ids=["no server", "no folder", "no key"],
)
def test_a_tracker_that_cannot_be_reached_stops_nothing(
    name: str,
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "wandb":
        package.teardown()  # it remembers the environment of its first run
    monkeypatch.setenv("HOME", str(tmp_path))  # no key of this machine's user
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    run = pretrain(settings(tmp_path / "run", name))
    assert run.folder.backbone.is_file() and not run.folder.trackers.exists()
    assert capsys.readouterr().err.count(f"Warning: tracker {name} failed") == 1


class Fragile:
    """A tracker that fails at one of its calls."""

    def __init__(self, fails: str) -> None:
        self.fails, self.calls = fails, list[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> None:
            self.calls.append(name)
            if name == self.fails:
                raise ConnectionError("the server is gone\nand a long trace")

        return call


@pytest.mark.parametrize("fails", ["open", "log_hyperparams", "log_metrics", "finalize", ""])
def test_a_tracker_that_fails_is_reported_once(
    fails: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fragile = Fragile(fails)

    def opened(folder: RunFolder, number: str | None) -> tuple[Any, str]:
        if fails == "open":
            raise sqlite3.OperationalError("no such table: runs")
        return fragile, number or "first"

    monkeypatch.setitem(trackers._OPEN, "tensorboard", opened)
    for table in (trackers._TABLE, trackers._PICTURES, trackers._FILE):
        monkeypatch.setitem(table, "tensorboard", lambda *arguments: None)
    monkeypatch.setitem(trackers.PACKAGES, "tensorboard", "json")
    run = pretrain(settings(tmp_path / "run", "tensorboard"))
    assert run.folder.backbone.is_file()
    printed = capsys.readouterr().err
    assert printed.count("Warning: tracker tensorboard failed") == bool(fails)
    assert "long trace" not in printed
    if not fails:
        assert fragile.calls.count("log_metrics") == len(run.folder.read_metrics()["step"])
        assert fragile.calls[-1] == "finalize"
    if fails != "open":
        assert read_json(run.folder.trackers) == {"tensorboard": "first"}


def test_a_training_that_fails_ends_its_tracker_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []

    class Watched(Fragile):
        def finalize(self, state: str) -> None:
            states.append(state)

    monkeypatch.setitem(trackers._OPEN, "wandb", lambda folder, number: (Watched(""), "x"))
    with pytest.raises(RuntimeError), trackers.tracked(["wandb"], RunFolder(tmp_path)):
        raise RuntimeError
    assert states == ["failed"]


def test_an_absent_package_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.PACKAGES, "wandb", "no_such_package")
    with pytest.raises(ValueError, match=r"pip install 'selfsight\[wandb\]'"):
        pretrain(settings(tmp_path / "run", "wandb"))
    assert not (tmp_path / "run").exists()
    check_packages([])


def test_a_run_without_trackers_publishes_nothing(tmp_path: Path) -> None:
    publish(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())
    assert Trackers((), RunFolder(tmp_path)).loggers == {}
