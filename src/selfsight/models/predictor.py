"""`Predictor`: backbone and head with all that is needed to use them, and its folder.

========================== ==============================================================
``backbone.safetensors``    weights, with network and channel statistics in the header
``head.safetensors``        weights of the head
``training.safetensors``    unit representations of (some of) the training images, float16
``model.json``              target, names, thresholds, form of the images, hash of the weights
``labels.parquet``          row id and digest of the images whose labels it was fitted on
``settings.yaml``           how it was made, with the run that it was fitted to
========================== ==============================================================

Reading a folder runs no code that comes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet, TargetSpec
from selfsight.data.leaks import ReadLabels
from selfsight.data.statistics import Statistics
from selfsight.files import write_json, write_text
from selfsight.fitting.head import Head
from selfsight.fitting.novelty import distances_to, is_novel, lengths_of, unit
from selfsight.fitting.representation_cache import weights_key
from selfsight.fitting.representations import represent
from selfsight.markup import block, facts
from selfsight.models.card import Card, card_of
from selfsight.networks.backbone_files import load_backbone, save_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.weights import put_weights, read_weights, write_weights
from selfsight.runs.fitted import read_labels, write_labels
from selfsight.runs.folder import MODEL_CARD, is_model
from selfsight.runs.frame import Frame
from selfsight.runs.places import here

TRAINING = "training.safetensors"


@dataclass(frozen=True)
class Predictor:
    """Images to classes, labels or numbers.

    Attributes:
        backbone: in eval mode.
        head: on its representations.
        statistics: of the channels, unit scale.
        card: all the rest.
        training: ``(N, F)`` representations of training images, of length 1; None: not kept.
        folder: where it is kept; None: nowhere yet.
        labels: the images whose labels it was fitted on; None: unknown.
    """

    backbone: Backbone
    head: Head
    statistics: Statistics
    card: Card
    training: Tensor | None = None
    folder: Path | None = None
    labels: ReadLabels | None = None

    def __str__(self) -> str:
        return str(self.folder or f"a model of {self.card.target} that has not been saved")

    def _repr_html_(self) -> str:
        """What the model predicts, of which images, and how well, for notebooks."""
        card = self.card
        thresholds = card.thresholds or ()
        scores = (f"{name} {value:.3f}" for name, value in card.validation.items())
        about: dict[str, object] = {
            "predicts": f"{card.target} ({card.kind})",
            "names": ", ".join(card.names[:20]) + ", ..." * (len(card.names) > 20),
            "thresholds": ", ".join(f"{value:.3g}" for value in thresholds[:20]),
            "images": card.frame.words,
            "labels": f"{card.num_labels:,}",
            "on validation": ", ".join(scores),
            "allowed leaks": "; ".join(card.allowed_leaks),
            "from run": card.run,
            "folder": self.folder or "not saved",
        }
        return block(f"model of {card.target}", facts(about))

    @property
    def target(self) -> TargetSpec:
        return TargetSpec(self.card.target, self.card.kind, self.card.names)

    def output(
        self,
        images: ImageSet,
        rows: NDArray[np.int64] | None = None,
        *,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
    ) -> NDArray[np.float32]:
        """``(M, K)`` probabilities, or numbers in their unit; NaN where pixels are not finite.

        The arguments are those of `features`.
        """
        return self.output_of(self.features(images, rows, device=device, batch_size=batch_size))

    def features(
        self,
        images: ImageSet,
        rows: NDArray[np.int64] | None = None,
        *,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
    ) -> Tensor:
        """``(M, F)`` representations on the CPU.

        Args:
            images: of the form of ``card.frame``; see `Frame.open`.
            rows: ``(M,)`` rows of `images`; None: all.
            device: where the backbone runs.
            batch_size: images at once; None: see `selfsight.fitting.representations.represent`.

        Raises:
            ValueError: images of another form.
        """
        if Frame.of(images) != self.card.frame:
            raise ValueError(
                f"{images.name}: its images are {Frame.of(images).words}, and this model takes "
                f"{self.card.frame.words}."
            )
        rows = np.arange(len(images)) if rows is None else rows
        return represent(
            self.backbone, images, rows, self.statistics, device=device, batch_size=batch_size
        )

    def output_of(self, features: Tensor) -> NDArray[np.float32]:
        """``(M, K)`` as `output`, of representations ``(M, F)``."""
        with torch.no_grad():
            return self.head(features).numpy()  # type: ignore[no-any-return]

    def distances(self, features: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Distances ``(M,)`` of representations ``(M, F)`` to training, and which are novel.

        1 - cosine of the nearest training image, see `selfsight.fitting.novelty`; NaN where they
        are not finite, or where the model keeps no training images.
        """
        if self.training is None:
            return np.full(len(features), np.nan, np.float32), np.zeros(len(features), np.bool_)
        distances = distances_to(unit(features), self.training)
        return distances, is_novel(distances, lengths_of(features), self.card.novelty)

    def decide(self, output: NDArray[np.float32]) -> list[Any]:
        """Of each row of `output`: a class, a list of labels, or a list of numbers.

        None where the output is not finite.
        """
        names = self.card.names
        found: list[Any] = []
        for row in output:
            if not np.isfinite(row).all():
                found.append(None)
            elif self.card.kind == "class":
                found.append(names[int(row.argmax())])
            elif self.card.kind == "labels":
                found.append([names[k] for k in np.flatnonzero(row >= self.card.thresholds)])
            else:
                found.append(row.tolist())
        return found

    def save(self, folder: str | Path, settings: str) -> Predictor:
        """Writes the folder; ``model.json`` last, so that a part of one is no model.

        Returns:
            The same model, which knows its folder.

        Raises:
            ValueError: the folder holds a model, or something else.
        """
        folder = Path(folder)
        check_free(folder)
        mean, std = list(self.statistics.mean), list(self.statistics.std)
        extra = {"statistics": {"mean": mean, "std": std}}
        save_backbone(folder / "backbone.safetensors", self.backbone, extra)
        write_weights(folder / "head.safetensors", self.head, {"kind": self.card.kind})
        if self.training is not None:
            header = {"weights": self.card.weights}
            kept = {"training": self.training.half()}
            write_weights(folder / TRAINING, nn.Module(), header, kept)
        write_text(folder / "settings.yaml", settings)
        card = self.card.updated({"recorded": here(folder)})
        if self.labels is not None:
            card = card.updated({"labels": write_labels(folder, self.labels)})
        write_json(folder / MODEL_CARD, card.plain())
        return replace(self, card=card, folder=folder)

    @classmethod
    def load(cls, folder: str | Path, *, allow_code: bool = False) -> Predictor:
        """A model back from its folder, on the CPU.

        Args:
            folder: of `save`.
            allow_code: run the ``file.py:build`` that its backbone may name.

        Raises:
            ValueError: no such folder, a missing or damaged file, or weights of another model.
        """
        folder = Path(folder)
        card = card_of(folder)
        backbone, extra = load_backbone(folder / "backbone.safetensors", allow_code=allow_code)
        path = folder / "head.safetensors"
        tensors, _ = read_weights(path)
        with torch.device("meta"):
            head = Head(card.kind, backbone.features, len(card.names), card.head)
        put_weights(path, head, tensors)
        if hashed(backbone, head) != card.weights:
            raise ValueError(
                f"model {folder}: its weights are not those that {MODEL_CARD} was written for; "
                "copy the whole folder again."
            )
        if backbone.spec.channels != card.frame.channels:
            raise ValueError(
                f"model {folder}: channels of {MODEL_CARD} and of the backbone differ."
            )
        statistics = _statistics(folder, extra, card.frame.channels)
        training = _training(folder, card, backbone.features)
        labels = read_labels(folder, card.labels)
        return cls(backbone.eval(), head.finished(), statistics, card, training, folder, labels)


def hashed(backbone: Backbone, head: Head) -> str:
    """16 hexadecimal digits over all weights."""
    return weights_key(nn.ModuleList([backbone, head]))


def check_free(folder: Path) -> None:
    """Raises ``ValueError`` unless a model can be written here without loss."""
    if is_model(folder):
        raise ValueError(f"{folder}: there is a model already; remove it or choose another --out.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; choose another --out.")


def _training(folder: Path, card: Card, width: int) -> Tensor | None:
    """The kept training images; a model whose threshold needs them must have them."""
    path = folder / TRAINING
    if card.novelty is None and not path.is_file():
        return None
    tensors, header = read_weights(path)
    training = tensors.get("training")
    if training is None or training.shape[1:] != (width,) or header.get("weights") != card.weights:
        raise ValueError(f"{path}: it does not belong to this model; copy the whole folder again.")
    return training.float()


def _statistics(folder: Path, extra: dict[str, Any], channels: int) -> Statistics:
    try:
        found = extra["statistics"]
        mean, std = (tuple(float(v) for v in found[name]) for name in ("mean", "std"))
        if len(mean) == len(std) == channels and min(std) > 0 and np.isfinite(mean + std).all():
            return Statistics(mean, std)
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError(f"{folder / 'backbone.safetensors'}: its channel statistics are not valid.")
