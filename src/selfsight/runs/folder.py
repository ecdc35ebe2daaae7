"""The run folder: the names of its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsight.files import digest_of, not_a_folder
from selfsight.outputs import check_own_folder
from selfsight.settings import read_yaml

MODEL_CARD = "model.json"
"""What the folder of a model has, and that of a run has not."""
_RESOLVED = {"data", "method", "views", "memory_format", "normalise", "out"}
"""Settings that each run has in its settings.yaml; a file by hand hardly has all of them."""
_REMEDY = "Restore it from a copy, or delete the run folder and train again."


def is_model(folder: str | Path) -> bool:
    """Whether this is the folder of a model that `finetune` wrote."""
    return (Path(folder) / MODEL_CARD).is_file()


def is_run(folder: str | Path) -> bool:
    """Whether this is the folder of a run, finished or not."""
    return RunFolder(folder).settings.is_file() and not is_model(folder)


def run_around(weights: str | Path) -> RunFolder | None:
    """The folder of the finished run that a file of weights lies in, or in its checkpoints."""
    folder = Path(weights).parent
    if folder.name == RunFolder("").checkpoints.name:
        folder = folder.parent
    around = RunFolder(folder)
    return around if is_run(folder) and around.backbone.is_file() else None


def check_run_folder(path: str | Path) -> None:
    """Raises ``ValueError`` where a training would write into a folder of the user's.

    It may be missing, be empty but for hidden files and logs, or hold a run, finished or not.
    """
    folder = RunFolder(path)
    if is_model(path):
        raise ValueError(f"out {path}: it is the folder of a model; choose another --out.")
    names = [folder.environment.name, folder.start.name]
    if any(folder.checkpoints.glob("*.ckpt")):
        names.append(folder.checkpoints.name)
    if folder.settings.is_file() and folder.read_settings().keys() >= _RESOLVED:
        names.append(folder.settings.name)
    check_own_folder(path, names)


class RunFolder:
    """One folder that holds everything one training produced.

    ======================== =======================================================
    ``settings.yaml``         everything, resolved
    ``environment.json``      versions, device, commit, fingerprint of the data
    ``splits.parquet``        row id, split, group, target, digest of the pixels, label read or not
    ``pools.parquet``         source and digest of the images of further pools
    ``selection.parquet``     row ids whose labels chose this training among others
    ``metrics.csv``           one row every few steps, one at the end of each epoch
    ``trackers.json``         ids of the runs of W&B, MLflow, TensorBoard, where there are any
    ``checkpoints/``          ``last.ckpt``, for resuming, ``previous.ckpt``, kept backbones
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
        self.selection = self.path / "selection.parquet"
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
            raise ValueError(f"run {path}: {not_a_folder(path)}.")
        if not folder.settings.is_file():
            raise ValueError(f"run {path}: it has no settings.yaml, so it is not a run.")
        if not folder.backbone.is_file():
            raise ValueError(
                f"run {path}: it has no backbone.safetensors; its training has not finished. "
                "Start the same command again to resume it."
            )
        return folder

    def digests(self) -> dict[str, str]:
        """Name -> checksum of what a training writes; its backbone's header holds them."""
        paths = [
            self.settings,
            self.environment,
            self.splits,
            self.pools,
            self.metrics,
            self.samples,
            self.start,
        ]
        return {path.name: digest_of(path) for path in paths if path.is_file()}

    def digests_of_results(self) -> dict[str, str]:
        """Path inside the run -> checksum of what an evaluation writes beside its results."""
        paths = (self.predictions, self.representations / "map.npz")
        return {str(p.relative_to(self.path)): digest_of(p) for p in paths if p.is_file()}

    def digests_of_training(self) -> dict[str, str]:
        """`digests` as the header of the backbone holds them; none where it is not finished.

        Raises:
            ValueError: the file of the backbone is damaged.
        """
        if not self.backbone.is_file():
            return {}
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.backbone, framework="np") as file:
                header = json.loads(file.metadata()["selfsight"])
                return dict(header["extra"].get("files", {}))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{self.backbone} is damaged. {_REMEDY}") from None

    def check(self, digests: Mapping[str, str], *, remedy: str = _REMEDY) -> None:
        """Compares files of the run with their checksums.

        Args:
            digests: path inside the run -> checksum.
            remedy: a sentence on what to do.

        Raises:
            ValueError: one is missing, damaged, or of another run; names it.
        """
        for name, digest in digests.items():
            path = self.path / name
            if not path.is_file():
                raise ValueError(f"{path} is missing. {remedy}")
            if digest_of(path) != digest:
                raise ValueError(
                    f"{path} is damaged: it is not the file that was written. {remedy}"
                )

    def read_settings(self) -> dict[str, Any]:
        return read_yaml(self.settings)

    def read_metrics(self) -> dict[str, list[float | None]]:
        """Columns of ``metrics.csv``; an empty cell is None."""
        with open(self.metrics, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = rows[0].keys() if rows else []
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in names}
