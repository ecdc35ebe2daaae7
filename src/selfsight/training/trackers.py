"""Weights & Biases, MLflow and TensorBoard: a copy of what a run writes, as far as each takes it.

A training has one tracker run, whose id stands in ``trackers.json`` of the run folder: a training
that is resumed, and the evaluation after it, go on with the same. A tracker that fails is reported
once and left; it never stops a training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.console import first_process, say
from selfsight.files import read_json, write_json
from selfsight.reporting.page import Figure
from selfsight.reporting.report import figures_of
from selfsight.runs.folder import RunFolder

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard"}
COLUMNS = [
    *("data", "target", "probe", "subject", "label_fraction", "num_labels"),
    *("metric", "label", "mean", "low", "high"),
]
"""Of the table of results: a mean over label draws, and its 95 % interval."""
EPOCH_COLUMNS = ("knn", "effective_rank", "spread")
"""Of ``metrics.csv``, once an epoch."""


def check_packages(names: Sequence[str]) -> None:
    """Raises a ``ValueError`` where the package of a tracker is not installed."""
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ValueError(f"track: {name} is not installed; pip install 'selfsight[{name}]'.")


class Trackers:
    """The trackers of one run, through Lightning's loggers.

    Args:
        names: of `PACKAGES`.
        folder: of the run.
    """

    def __init__(self, names: Sequence[str], folder: RunFolder) -> None:
        self.folder = folder
        self.loggers: dict[str, Any] = {}
        ids = dict(read_json(folder.trackers)) if folder.trackers.is_file() else {}
        for name in names if first_process() else ():
            self._try(name, partial(self._open, name, ids.get(name)))

    def _open(self, name: str, number: str | None) -> None:
        logger, number = _OPEN[name](self.folder, number)
        self.loggers[name] = logger
        ids = dict(read_json(self.folder.trackers)) if self.folder.trackers.is_file() else {}
        write_json(self.folder.trackers, {**ids, name: number})

    def settings(self, plain: Mapping[str, Any]) -> None:
        """All settings, with their dotted paths."""
        flat = dict(_flat(plain))
        self._each(lambda name, logger: logger.log_hyperparams(flat))

    def row(self, row: Mapping[str, float]) -> None:
        """A row of ``metrics.csv``: losses by step, measures by epoch."""
        values = {name: value for name, value in row.items() if name != "step"}
        self._each(lambda name, logger: logger.log_metrics(values, int(row["step"])))

    def views(self) -> None:
        """The images and their views of ``samples.npz``."""
        if not self.folder.samples.is_file():
            return
        with np.load(self.folder.samples) as file:
            pictures = {name: file[name] for name in file.files}
        self._each(lambda name, logger: _PICTURES[name](logger, pictures))

    def backbone(self) -> None:
        """The trained weights as an artifact."""
        self._each(lambda name, logger: _FILE[name](logger, self.folder.backbone, "model"))

    def results(self) -> None:
        """The table of results with its intervals, and ``results.json``."""
        if self.folder.results.is_file():
            rows = read_json(self.folder.results).get("summary", {}).get("values", [])
            table = [[row.get(column) for column in COLUMNS] for row in rows]
            self._each(lambda name, logger: _TABLE[name](logger, table))
            self._each(lambda name, logger: _FILE[name](logger, self.folder.results, "results"))

    def page(self) -> None:
        """The report, which opens offline, and its figures."""
        if self.folder.report.is_file() and self.loggers:
            figures = figures_of(self.folder.path)
            self._each(lambda name, logger: _FIGURES[name](logger, figures))
            self._each(lambda name, logger: _FILE[name](logger, self.folder.report, "report"))

    def close(self, state: str) -> None:
        """Ends the tracker runs: ``success`` or ``failed``."""
        self._each(lambda name, logger: _close(name, logger, state))
        self.loggers.clear()

    def _each(self, action: Callable[[str, Any], None]) -> None:
        for name, logger in list(self.loggers.items()):
            self._try(name, partial(action, name, logger))

    def _try(self, name: str, action: Callable[[], None]) -> None:
        # A server, a disk, a login, a version: anything may be wrong with a tracker.
        try:
            action()
        except Exception as error:
            self.loggers.pop(name, None)
            lines = str(error).strip().splitlines()
            why = f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
            say(
                f"Warning: tracker {name} failed and is left out ({why}). "
                f"{self.folder.metrics.name} and the report hold all of it."
            )


@contextmanager
def tracked(names: Sequence[str], folder: RunFolder) -> Iterator[Trackers]:
    """`Trackers` that are closed with the right state, whatever happens inside."""
    trackers = Trackers(names, folder)
    state = "failed"
    try:
        yield trackers
        state = "success"
    finally:
        trackers.close(state)


def publish(folder: RunFolder) -> None:
    """Sends results and report of a finished run to the trackers that its training had."""
    if folder.trackers.is_file():
        with tracked(list(read_json(folder.trackers)), folder) as trackers:
            trackers.results()
            trackers.page()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            yield prefix + name, value
        else:
            yield prefix + name, str(value)


def _open_wandb(folder: RunFolder, number: str | None) -> tuple[Any, str]:
    from lightning.pytorch.loggers import WandbLogger

    # Its own default is to wait 90 seconds for an unreachable server.
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")
    project = os.environ.get("WANDB_PROJECT", "selfsight")
    logger = WandbLogger(
        name=folder.path.name, save_dir=folder.path, project=project, id=number, resume="allow"
    )
    for column in EPOCH_COLUMNS:
        logger.experiment.define_metric(column, step_metric="epoch")
    return logger, str(logger.experiment.id)


def _open_mlflow(folder: RunFolder, number: str | None) -> tuple[Any, str]:
    # Its own default is to try an unreachable server for many minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from lightning.pytorch.loggers import MLFlowLogger

    place = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "selfsight")
    logger = MLFlowLogger(name, run_name=folder.path.name, tracking_uri=place, run_id=number)
    logger.experiment.update_run(logger.run_id, status="RUNNING")
    return logger, str(logger.run_id)


def _open_tensorboard(folder: RunFolder, number: str | None) -> tuple[Any, str]:
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(folder.path, name="tensorboard", version="", default_hp_metric=False)
    logger.experiment  # noqa: B018 - opens the files
    return logger, "tensorboard"


def _wandb_table(logger: Any, rows: list[list[Any]]) -> None:
    import wandb

    logger.experiment.log({"results": wandb.Table(columns=COLUMNS, data=rows)})


def _mlflow_table(logger: Any, rows: list[list[Any]]) -> None:
    # Not log_table, which would append the rows of a second evaluation to those of the first.
    client, run, path = logger.experiment, logger.run_id, "results_table.json"
    client.log_dict(run, {"columns": COLUMNS, "data": rows}, path)
    client.set_tag(run, "mlflow.loggedArtifacts", json.dumps([{"path": path, "type": "table"}]))


def _tensorboard_table(logger: Any, rows: list[list[Any]]) -> None:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([_cell(value) for value in row] for row in rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    logger.experiment.add_text("results", text)
    # The results figure in its own form: a mean with its interval over the number of labels.
    charts: dict[str, list[Any]] = {}
    for row in rows:
        value = dict(zip(COLUMNS, row, strict=True))
        if value["label"] is not None or not value["label_fraction"] or value["mean"] is None:
            continue
        name = "/".join(str(value[key]) for key in ("target", "metric", "probe", "subject"))
        tags = [f"results/{name}{end}" for end in ("", "/low", "/high")]
        charts[name] = ["Margin", tags]
        for tag, end in zip(tags, ("mean", "low", "high"), strict=True):
            height = value["mean"] if value[end] is None else value[end]
            logger.experiment.add_scalar(tag, height, int(value["num_labels"]))
    logger.experiment.add_custom_scalars({"results": charts})
    logger.experiment.flush()


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _wandb_pictures(logger: Any, pictures: Mapping[str, Any]) -> None:
    import wandb

    named = {
        f"views/{name}": [wandb.Image(one.squeeze()) for one in v] for name, v in pictures.items()
    }
    logger.experiment.log(named)


def _mlflow_pictures(logger: Any, pictures: Mapping[str, Any]) -> None:
    for name, several in pictures.items():
        row = np.concatenate(list(several), axis=1)
        logger.experiment.log_image(logger.run_id, row, artifact_file=f"views/{name}.png")


def _tensorboard_pictures(logger: Any, pictures: Mapping[str, Any]) -> None:
    for name, several in pictures.items():
        logger.experiment.add_images(f"views/{name}", several, dataformats="NHWC")


def _wandb_figures(logger: Any, figures: Mapping[str, Figure]) -> None:
    import plotly.graph_objects as go
    import wandb

    drawn = {f"figures/{name}": wandb.Plotly(go.Figure(one)) for name, one in figures.items()}
    logger.experiment.log(drawn)


def _mlflow_figures(logger: Any, figures: Mapping[str, Figure]) -> None:
    import plotly.graph_objects as go

    for name, one in figures.items():
        logger.experiment.log_figure(logger.run_id, go.Figure(one), f"figures/{name}.html")


def _tensorboard_figures(logger: Any, figures: Mapping[str, Figure]) -> None:
    """TensorBoard draws its own figures from the scalars of curves and results."""


def _wandb_file(logger: Any, path: Path, kind: str) -> None:
    import wandb

    if kind == "report":
        logger.experiment.log({"report": wandb.Html(path.read_text("utf-8"), inject=False)})
    artifact = wandb.Artifact(f"{kind}-{logger.experiment.id}", type=kind)
    artifact.add_file(str(path))
    logger.experiment.log_artifact(artifact)


def _mlflow_file(logger: Any, path: Path, kind: str) -> None:
    logger.experiment.log_artifact(logger.run_id, str(path), kind)


def _tensorboard_file(logger: Any, path: Path, kind: str) -> None:
    """TensorBoard keeps no files; its folder lies in the run's, beside them."""
    logger.experiment.add_text(kind, f"`{path.name}` in the run's folder")
    logger.experiment.flush()


def _close(name: str, logger: Any, state: str) -> None:
    logger.finalize(state)
    if name == "wandb":
        logger.experiment.finish(exit_code=0 if state == "success" else 1)


_OPEN: dict[str, Callable[[RunFolder, str | None], tuple[Any, str]]] = {
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
    "tensorboard": _open_tensorboard,
}
_TABLE = {"wandb": _wandb_table, "mlflow": _mlflow_table, "tensorboard": _tensorboard_table}
_PICTURES = {
    "wandb": _wandb_pictures,
    "mlflow": _mlflow_pictures,
    "tensorboard": _tensorboard_pictures,
}
_FIGURES = {
    "wandb": _wandb_figures,
    "mlflow": _mlflow_figures,
    "tensorboard": _tensorboard_figures,
}
_FILE = {"wandb": _wandb_file, "mlflow": _mlflow_file, "tensorboard": _tensorboard_file}
