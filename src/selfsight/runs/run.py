"""A finished run: its settings, its network, its notes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selfsight.console import counted
from selfsight.data.options import Data
from selfsight.data.sources import is_there
from selfsight.data.statistics import Statistics
from selfsight.files import read_json
from selfsight.markup import block, facts
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import load_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import BackboneSpec
from selfsight.networks.weights import read_weights
from selfsight.runs.checkpoint import read_record
from selfsight.runs.folder import RunFolder, is_model, is_run
from selfsight.runs.places import RecordedPlace
from selfsight.settings import sentence
from selfsight.views.settings import View

LAST = {
    "loss": "final loss",
    "knn": "final kNN on validation",
    "effective_rank": "final effective rank",
}
"""What a display shows of the last line of ``metrics.csv``."""
LABELS_READ = "The training reads"
"""How the note begins that says which labels trained a backbone."""


@dataclass(frozen=True)
class Run:
    """A finished run. Reading one imports no code: the method's file is not opened.

    Attributes:
        folder: its files.
        settings: where the images came from.
        plain: all of ``settings.yaml``.
        statistics: of the channels, on train.
        spec: of the network.
    """

    folder: RunFolder
    settings: Data
    plain: dict[str, Any]
    statistics: Statistics
    spec: BackboneSpec

    def __str__(self) -> str:
        return str(self.folder.path)

    def _repr_html_(self) -> str:
        """What was trained on what, and where it ended, for notebooks."""
        network = f"{self.spec.name}, {counted(self.spec.channels, 'channel')}"
        about: dict[str, object] = {
            "method": self.method,
            "images": self.settings.data,
            "backbone": network.removesuffix("s") if self.spec.channels == 1 else network,
            "epochs": self.plain.get("epochs"),
            "seed": self.plain.get("seed"),
            "folder": self.folder.path,
            "evaluated": "yes" if self.folder.results.is_file() else "not yet",
        }
        if self.folder.metrics.is_file():
            for name, column in self.folder.read_metrics().items():
                known = [value for value in column if value is not None]
                if name in LAST and known:
                    about[LAST[name]] = f"{known[-1]:.4g}"
        return block(f"run {self.name}", facts(about))

    @property
    def name(self) -> str:
        """How pages and tables call it; two runs may have the same."""
        return self.folder.path.name

    @property
    def path(self) -> Path:
        """Its identity, with the hash of its weights: no two runs have the same."""
        return self.folder.path.resolve()

    @property
    def method(self) -> str:
        return str(self.plain.get("method", {}).get("name", "?"))

    @property
    def views(self) -> tuple[View, ...]:
        """The views of the training, sizes in pixels; none where the settings name none."""
        try:
            return tuple(View(**view) for view in self.plain.get("views") or ())
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.folder.settings}: its views are not valid ({error})."
            ) from None

    @property
    def labels_read(self) -> str | None:
        """The sentence on the labels that trained the backbone; None where there were none."""
        notes: list[str] = self.environment.get("notes", [])
        return next((note for note in notes if note.startswith(LABELS_READ)), None)

    def backbone(self, *, allow_code: bool = False) -> Backbone:
        """The trained weights, in eval mode and fp32."""
        backbone, _ = load_backbone(self.folder.backbone, allow_code=allow_code)
        return backbone.eval()

    @property
    def started_published(self) -> bool:
        """Whether its training, or one that it goes on from, began with published weights."""
        if self.environment.get("start") is not None:
            return True
        weights = RecordedPlace.of(self.folder.path).found(str(self.plain.get("weights", "none")))
        if is_model(weights):
            run = str(RunFolder(weights).read_settings().get("run"))
            weights = RecordedPlace.of(weights).found(run)
        return is_run(weights) and load_run(weights).started_published

    def untrained(self, seed: int) -> Backbone:
        """The same network with fresh weights, a function of the seed, in eval mode."""
        return build_backbone(self.spec, seed=seed).eval()

    @cached_property
    def environment(self) -> dict[str, Any]:
        return dict(read_json(self.folder.environment))


def load_run(path: str | Path) -> Run:
    """A finished run.

    Raises:
        ValueError: there is none, it has not finished, or its files are damaged.
    """
    folder = RunFolder.existing(path)
    if is_model(path):
        own = folder.read_settings().get("run")
        raise ValueError(
            f"{path} is a model of `finetune`, not a run; name the run"
            f"{f' that it was fitted on: {own}' if own else ' that it was fitted on'}."
        )
    spec, statistics = _header(folder)
    plain = folder.read_settings()
    if "data" not in plain:
        raise ValueError(f"{folder.settings}: it does not name the data.")
    try:
        data = Data(**{name: plain[name] for name in Data.model_fields if name in plain})
    except ValidationError as error:
        raise ValueError(f"{folder.settings} is damaged: {sentence(error)}.") from None
    return Run(folder, _placed(data, folder), plain, statistics, spec)


def _placed(data: Data, folder: RunFolder) -> Data:
    """The images, with paths that hold in this working directory."""
    place = RecordedPlace.of(folder.path)
    names = {name: getattr(data, name) for name in ("labels", "splits", "root")}
    found = {name: place.found(path) for name, path in names.items() if path is not None}
    found["data"] = place.found(data.data, is_there)
    changed = {name: path for name, path in found.items() if path != getattr(data, name)}
    return data.updated(changed) if changed else data


def run_of_checkpoint(path: str | Path) -> Run:
    """The run, finished or not, in whose folder a checkpoint lies.

    Raises:
        ValueError: there is no such checkpoint, or it is damaged.
    """
    record = read_record(path)
    plain: dict[str, Any] = record["settings"]
    data = Data(**{name: plain[name] for name in Data.model_fields if name in plain})
    given = record["statistics"]
    statistics = Statistics(mean=tuple(given["mean"]), std=tuple(given["std"]))
    folder = RunFolder(Path(path).resolve().parents[1])
    return Run(folder, _placed(data, folder), plain, statistics, BackboneSpec(**record["spec"]))


def _header(folder: RunFolder) -> tuple[BackboneSpec, Statistics]:
    _, header = read_weights(folder.backbone)
    folder.check(dict(header["extra"].get("files", {})))
    try:
        given = header["extra"]["statistics"]
        statistics = Statistics(mean=tuple(given["mean"]), std=tuple(given["std"]))
        return BackboneSpec(**header["spec"]), statistics
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder.backbone}: its header is not valid ({error!r}).") from None
