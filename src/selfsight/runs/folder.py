"""The run folder: the names of its files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from selfsight.settings import read_yaml


class RunFolder:
    """One folder that holds everything one training produced.

    ======================== =======================================================
    ``settings.yaml``         everything, resolved
    ``environment.json``      versions, device, commit, fingerprint of the data
    ``splits.parquet``        row id, split, group, target, digest of the pixels, label read or not
    ``pools.parquet``         source and digest of the images of further pools
    ``metrics.csv``           one row every few steps, one at the end of each epoch
    ``trackers.json``         ids of the runs of W&B, MLflow, TensorBoard, where there are any
    ``checkpoints/``          ``last.ckpt``, for resuming; kept backbones
    ``samples.npz``           images and their views, as the report shows them
    ``backbone.safetensors``  weights, with the network's settings in the header
    ``start.safetensors``     the same before the first step, unless it was random
    ``representations/``      computed once, keyed by weights and data
    ``predictions.parquet``   one row a prediction
    ``results.json``          one record a number, and the summary
    ``report.html``           one self-contained page
    ======================== =======================================================
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.yaml"
        self.environment = self.path / "environment.json"
        self.splits = self.path / "splits.parquet"
        self.pools = self.path / "pools.parquet"
        self.metrics = self.path / "metrics.csv"
        self.trackers = self.path / "trackers.json"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples.npz"
        self.backbone = self.path / "backbone.safetensors"
        self.start = self.path / "start.safetensors"
        self.representations = self.path / "representations"
        self.predictions = self.path / "predictions.parquet"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """The folder of a finished run.

        Raises:
            ValueError: there is no run, or it has not finished.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise ValueError(f"run {path}: there is no such folder.")
        if not folder.settings.is_file():
            raise ValueError(f"run {path}: it has no settings.yaml, so it is not a run.")
        if not folder.backbone.is_file():
            raise ValueError(
                f"run {path}: it has no backbone.safetensors; its training has not finished. "
                "Start the same command again to resume it."
            )
        return folder

    def read_settings(self) -> dict[str, Any]:
        return read_yaml(self.settings)

    def read_metrics(self) -> dict[str, list[float | None]]:
        """Columns of ``metrics.csv``; an empty cell is None."""
        with open(self.metrics, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = rows[0].keys() if rows else []
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in names}
