"""The run folder: names of its files, atomic writes, reading one back."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfsight.settings import read_yaml


class RunFolder:
    """One folder that holds everything one training produced.

    ======================== =======================================================
    ``settings.yaml``         everything, resolved
    ``environment.json``      versions, device, commit, fingerprint of the data
    ``splits.parquet``        row id, split, group, target
    ``metrics.csv``           one row every few steps, one at the end of each epoch
    ``checkpoints/``          ``last.ckpt``, for resuming
    ``samples.npz``           images and their views, as the report shows them
    ``backbone.safetensors``  weights, with the network's settings in the header
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
        self.metrics = self.path / "metrics.csv"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples.npz"
        self.backbone = self.path / "backbone.safetensors"
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


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.touch()
    mode = temporary.stat().st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(mode)  # some writers make files that only their owner can read
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Raises ``ValueError`` that names the file when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``, made by ``make(temporary)`` unless it is there."""
    if not path.exists():
        with replacing(path) as temporary:
            make(temporary)
    return path
