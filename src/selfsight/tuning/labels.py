"""A study of trainings on labels: what its trials may read, and the part that is held out.

Trials see labelled train and validation images alone; test is read once, by the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.splits import LabelFraction
from selfsight.fitting.labelled import Rows, Subset, target_of
from selfsight.fitting.stopping import Mode, Stopping, mode_of
from selfsight.runs.labels_read import LabelsRead
from selfsight.runs.lineage import lineage_of
from selfsight.runs.request import RunData
from selfsight.runs.run import Run
from selfsight.settings import Settings, unknown
from selfsight.training.device import choose_device
from selfsight.tuning.space import read_space, value_of
from selfsight.tuning.study import Outcome

_LEAST = 20  # labelled validation images that can tell trials apart at all


class LabelStudy(RunData):
    """What every study of trainings on labels is told."""

    metric: str | None = None
    """What trials are compared by: a metric of the target, or loss; by default accuracy, mAP or
    r2, as in the report."""
    label_fraction: LabelFraction = 1.0
    """Share of the labels that may be read; here those of train and validation."""
    stopping: Stopping = Stopping(patience=10)
    """When a trial is ended early, in looks at the images held out."""


@dataclass(frozen=True)
class Labels:
    """The labels of a study.

    Attributes:
        settings: of the study: a `LabelStudy` that is a `Search`.
        run: that the study is of.
        subset: labelled rows of train and validation, or a share of them.
        folds: ``(n,)`` which fold holds each row out; -1: none.
        metric: trials are compared by.
        mode: its direction.
        note: a sentence on what is held out.
    """

    settings: Any
    run: Run
    subset: Subset
    folds: Rows
    metric: str
    mode: Mode
    note: str

    @property
    def held(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``(n,)`` rows that some fold holds out."""
        return self.folds >= 0

    def outcome(self, trained: Any) -> Outcome:
        """A training that was looked at, as the outcome of a trial.

        Raises:
            ValueError: the metric is not defined on the rows held out.
        """
        looks = trained.looks
        if not np.isfinite(looks.value):
            raise ValueError(
                f"{self.metric} is not defined on the held-out images of {self.subset.target.name}."
            )
        return Outcome(looks.value, looks.curve, looks.best, looks.stopped, trained)

    def problem(
        self, part: str, default: Mapping[str, str], of_labels: Mapping[str, str], **about: Any
    ) -> dict[str, Any]:
        """What the problems of these studies have in common, as arguments of `Problem`.

        Args:
            part: the setting that is searched, such as ``probe``.
            default: the default space, for every kind of target.
            of_labels: its part for classes and several labels.
            about: what else a trial's value depends on; ``verb`` among it.

        Raises:
            ValueError: a space that the settings do not allow.
        """
        settings, images = self.settings, self.subset.images
        own = {} if self.subset.kind == "number" else of_labels
        space = read_space(settings.search, {**default, **own})
        for name in space:
            if not name.startswith(f"{part}."):
                example = next(each for each in default if each.endswith("lr"))
                raise ValueError(
                    f"search {name}: this study searches {part}.SETTING, as in {example}."
                )
        space = space.fitted(settings.updated)
        about = {
            **about,
            "name": self.run.name,
            "images": images.fingerprint(self.subset.rows),
            "target": self.subset.target.name,
            "metric": self.metric,
            "label_fraction": settings.label_fraction,
            "folds": int(self.folds.max()) + 1,
            "stopping": settings.stopping.plain(),
            part: getattr(settings, part).plain(),
            "space": space.plain(),
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "seed": settings.seed,
            "device": choose_device(settings.device).type,
        }
        return {
            "settings": settings,
            "about": about,
            "space": space,
            "first": space.params_of({name: value_of(settings, name) for name in space}),
            "metric": self.metric,
            "mode": self.mode,
            "notes": (
                self.note,
                *images.cautions,
                *(f"Allowed: {leak}" for leak in images.leaks),
            ),
            "seed": settings.seed,
            "fraction": settings.label_fraction,
            "labels": self,
        }

    def best_yaml(self, **best: Any) -> dict[str, Any]:
        """Settings of the verb `finetune`: run and data, their options, and the best."""
        defaults = {name: f.default for name, f in DataOptions.model_fields.items()}
        names = ("run", "data", *defaults)
        given = {name: getattr(self.settings, name) for name in names}
        given["target"] = self.subset.target.name
        return {n: value for n, value in given.items() if value != defaults.get(n)} | best

    def facts(self, best: Settings, **more: Any) -> dict[str, Any]:
        """What ``tuning.json`` says of the study and its best settings."""
        return {
            "target": self.subset.target.name,
            "run": str(self.run.folder.path),
            "data": self.subset.images.name,
            "task": self.subset.kind,
            "num_labels": LabelsRead.by(
                lineage_of([self.run]), self.subset.images, self.subset.target.name
            ).with_rows(self.subset.rows),
            "best": {**more, "settings": best.plain()},
        }


def labels_of(settings: LabelStudy, run: Run, images: ImageSet, folds: int | None) -> Labels:
    """What the trials may read, and which part of it is held out.

    Args:
        settings: of the study.
        run: names the target where the settings do not.
        images: with their splits and groups.
        folds: of a cross-validation; 1: the validation split, or a fifth of the labels where fewer
            than 20 of them are in it; None: 5 up to 2,000 labels, else 1.

    Raises:
        ValueError: no such target or metric, or labels that are too few to choose by.
    """
    target = target_of(images, settings.target, run.settings.target)
    metrics = vocabulary.metrics_of(target.kind)
    metric = settings.metric or metrics[0]
    if metric not in (*metrics, "loss"):
        raise unknown(f"metric of a {target.kind} target", metric, metrics)
    rows = images.rows("train", "validation")
    subset = Subset.drawn(images, target, rows, settings.label_fraction, settings.seed)
    subset.check()
    held, note = _held_out(subset, folds)
    return Labels(settings, run, subset, held, metric, mode_of(metric), note)


def _held_out(subset: Subset, folds: int | None) -> tuple[Rows, str]:
    images, one = subset.images, folds == 1 or (folds is None and subset.many)
    validation = np.isin(subset.rows, images.rows("validation"))
    if one and validation.sum() >= _LEAST and not validation.all():
        held = np.where(validation, 0, -1).astype(np.int64)
    else:
        held = subset.folds(1 if one else folds)
    if held.max() < 0:
        raise ValueError(
            f"{subset.target.name}: {len(subset)} labelled train and validation images in "
            f"{counted(len(np.unique(subset.groups)), 'group is', 'groups are')} too few to "
            "choose by: it takes "
            f"{subset.least}, in two groups."
        )
    by = f", by {images.group_name or 'group'}" if images.groups is not None else ""
    if not one:
        return held, (
            f"Trials are compared by {int(held.max()) + 1}-fold cross-validation inside "
            f"{len(subset):,} labelled train and validation images{by}."
        )
    others = "validation images" if np.array_equal(held >= 0, validation) else f"others{by}"
    return held, (
        f"Trials are trained on {int((held < 0).sum()):,} labelled images and compared on "
        f"{int((held >= 0).sum()):,} {others}."
    )
