"""Reading a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.data.imageset import ImageSet
from selfsight.data.labels import join_labels
from selfsight.data.request import checked, open_data, with_splits
from selfsight.data.request import Data
from selfsight.data.sources import open_images
from selfsight.data.statistics import Statistics
from selfsight.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from selfsight.networks.weights import read_weights
from selfsight.files import read_json
from selfsight.runs.folder import RunFolder
from selfsight.views.settings import View

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

    @property
    def name(self) -> str:
        return self.folder.path.name

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

    def untrained(self, seed: int) -> Backbone:
        """The same network with fresh weights, a function of the seed, in eval mode."""
        return build_backbone(self.spec, seed=seed).eval()

    @cached_property
    def environment(self) -> dict[str, Any]:
        return dict(read_json(self.folder.environment))

    def images(self) -> ImageSet:
        """The run's images with the run's splits.

        Raises:
            ValueError: the images are gone, or are not those that the run was trained on.
        """
        data = self.settings
        images, _ = checked(open_data(data), data)
        if images.fingerprint() != self.environment["data"]["fingerprint"]:
            raise ValueError(
                f"{data.data}: its images are not those that {self.folder.path} was trained on; "
                "restore them, or name the data to evaluate on."
            )
        return with_splits(images, self._splits())

    def images_of(
        self,
        data: str | None,
        *,
        target: str | None = None,
        group: str | None = None,
        labels: str | None = None,
        seed: int = 0,
    ) -> ImageSet:
        """The run's images where ``data`` is None, else others, brought to their form.

        Args:
            data: what `open_images` takes.
            target, group, labels: as `open_images` takes them.
            seed: of splits that have to be cut.

        Raises:
            ValueError: the images cannot be read or do not fit, or a group is named for the run's
                own, whose splits are cut already.
        """
        if data is None:
            if group is not None:
                raise ValueError(
                    "group: the groups of the run's own images are fixed by its training; name "
                    "the data to use others."
                )
            images = self.images()
            return images if labels is None else join_labels(images, labels, target)
        try:
            about = self.environment["data"]
            shape = (0, int(about["height"]), int(about["width"]), int(about["channels"]))
            pixels = np.zeros(shape, about["dtype"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.folder.environment}: it does not say what images the run was trained on."
            ) from None
        like = ImageSet(self.name, pixels, np.zeros(0, "<U1"), np.zeros(0, "<U10"))
        return open_images(data, target=target, group=group, labels=labels, like=like, seed=seed)

    def _splits(self) -> dict[str, str]:
        import pyarrow.parquet as pq

        table = pq.read_table(self.folder.splits, columns=["row_id", "split"])
        return dict(zip(table["row_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def load_run(path: str | Path) -> Run:
    """A finished run.

    Raises:
        ValueError: there is none, it has not finished, or its files are damaged.
    """
    folder = RunFolder.existing(path)
    spec, statistics = _header(folder)
    plain = folder.read_settings()
    if "data" not in plain:
        raise ValueError(f"{folder.settings}: it does not name the data.")
    data = Data(**{name: plain[name] for name in Data.model_fields if name in plain})
    return Run(folder, data, plain, statistics, spec)


def _header(folder: RunFolder) -> tuple[BackboneSpec, Statistics]:
    _, header = read_weights(folder.backbone)
    folder.check(dict(header["extra"].get("files", {})))
    try:
        found = header["extra"]["statistics"]
        statistics = Statistics(mean=tuple(found["mean"]), std=tuple(found["std"]))
        return BackboneSpec(**header["spec"]), statistics
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder.backbone}: its header is not valid ({error!r}).") from None
