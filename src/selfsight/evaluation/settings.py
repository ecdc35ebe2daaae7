"""The settings of the verb `evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from pydantic import Field, field_validator, model_validator

from selfsight.data.splits import LabelFraction
from selfsight.evaluation.subject import Representation
from selfsight.fitting.probes import PROBES
from selfsight.fitting.recipe import FineTuning
from selfsight.runs.request import RunData
from selfsight.settings import unknown


class Evaluate(RunData):
    """Measure what representations are worth, beside controls: a run's, or --features."""

    run: tyro.conf.Positional[str] = ""
    """The folder of a finished run, or of a model."""
    features: str | None = None
    """Representations made elsewhere, instead of a run: a table or .npz with row ids, a target, a
    split and a group, and a column of lists or numbered columns."""
    control: tuple[str, ...] = ()
    """Other representations of the same rows, matched by row id, that --features stand beside."""

    fractions: tuple[LabelFraction, ...] = (0.01, 0.1, 1.0)
    """Shares of the labels of the train split."""
    draws: Annotated[int, Field(ge=1)] | None = None
    """Draws of labels at each share below 1; None: 5, or, where the run was trained on a part of
    the labels, that part alone."""
    probes: tuple[str, ...] = ("knn", "linear")
    """Among knn, linear and mlp; each is used for the targets it can predict."""
    balanced: bool = False
    """Rare classes and labels count more in the linear and MLP probes, by inverse frequency."""
    controls: tuple[str, ...] = ("start", "untrained", "pixels")
    """What results stand beside: start (the weights the training began with, where they were not
    random), untrained, pixels, and folders of other runs."""
    replicates: tuple[str, ...] = ()
    """Folders of runs that differ from RUN in the seed of the training alone: one row, and
    intervals that cover seeds, label draws and test images."""
    representation: Representation = "run"
    """Of every subject alike: the network's output, the same standardised (mean), or three stages;
    run: the run's; auto: mean or stages, as each probe chooses inside its labels."""
    clusters: bool = True
    """Also compare clusters, found without labels, with the classes."""
    corruptions: bool = False
    """Also score the linear probe on test images with blur, noise, JPEG and less light, each at
    three strengths."""
    finetune: bool = False
    """Also fine-tune the backbone and its start, and train the same network from scratch; this
    takes long."""
    finetuning: FineTuning = FineTuning()
    """How that training is done and what it tries."""
    split: Literal["auto", "test", "validation"] = "auto"
    """Where results are read; auto: test, or validation where there is no test split."""
    out: str | None = None
    """Folder of the results and caches, for a run that can only be read; by default the run's."""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Evaluate:
        if self.features is None and self.control:
            raise ValueError("control: it stands beside --features; other runs go to --controls")
        images = self.finetune or self.corruptions or self.data is not None
        if self.features is not None and images:
            raise ValueError(
                "features: they are only probed; leave out DATA, --finetune and --corruptions"
            )
        return self

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if not fractions:
            raise ValueError("name at least one share, above 0 and at most 1")
        return tuple(sorted(set(fractions)))

    @field_validator("probes")
    @classmethod
    def _known_probes(cls, probes: tuple[str, ...]) -> tuple[str, ...]:
        for name in probes:
            if name not in PROBES:
                raise unknown("probe", name, PROBES)
        return tuple(dict.fromkeys(probes))
