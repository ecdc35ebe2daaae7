"""The verb `finetune`: a run and labels in, a predictor folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import duration, say
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.splits import few_labels
from selfsight.evaluation.controls import Material, subjects
from selfsight.fitting.finetune import FineTuning, Labelled, seconds_of_a_step
from selfsight.fitting.tasks import SHARES, TASKS
from selfsight.models.fitting import HeadOnly, Task, check_target, fit_all, fit_head, scored
from selfsight.models.predictor import Predictor, check_free
from selfsight.runs.run import Run, load_run
from selfsight.settings import Settings
from selfsight.training.device import choose_device


class Finetune(Settings):
    """Fit a run's backbone to labels and write a model folder for `predict` and `export`."""

    run: tyro.conf.Positional[str]
    """The folder of a finished run."""
    data: tyro.conf.Positional[str | None] = None
    """Images with labels; by default those of the run, with the run's splits."""
    out: str
    """The model's folder."""
    target: str | None = None
    """The target; by default the run's, or the only one."""
    labels: str | None = None
    """A table of targets (CSV, Parquet) that is joined to the images by row id."""
    group: str | None = None
    """The column that no fold may cut; for other data than the run's."""
    head_only: HeadOnly | None = None
    """Leave the backbone as it is and fit only a head, in seconds: linear (logistic regression;
    ridge for numbers) or mlp."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the labels of the train split, drawn as `evaluate` draws them."""
    finetuning: FineTuning = FineTuning()
    """How the weights are trained and what is tried."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the label draw, folds, order and views."""
    device: str = "auto"
    """auto, cpu, or cuda."""
    allow_code: bool = False
    """Run the file.py:build that the run's backbone may name."""


def finetune(settings: Finetune, images: ImageSet | None = None) -> Predictor:
    """Fits on the labels of the train split, scores on validation and writes the folder.

    Everything that is chosen (learning rates, steps, regularisation, thresholds) is chosen on a
    part held out of the train split; validation is only scored on; no label of test is read.

    Args:
        settings: see `Finetune`.
        images: an image set that is open already, instead of ``settings.data`` or the run's.

    Returns:
        The model; also in the folder ``settings.out``.

    Raises:
        ValueError: no such run, data or target, no labels, or a folder that is not empty.
    """
    check_free(Path(settings.out))
    run = load_run(settings.run)
    device = choose_device(settings.device)
    if images is None:
        images = run.images_of(
            settings.data,
            target=settings.target,
            group=settings.group,
            labels=settings.labels,
            seed=settings.seed,
        )
    if images.tile_of is not None:
        raise ValueError(
            f"{images.name} is cut into tiles, and a model takes whole images; name data without "
            "tiles, or use `evaluate`, which pools them."
        )
    target = _target(run, settings, images)
    candidates = _candidates(images, target)
    rows = few_labels(target, candidates, settings.fraction, settings.seed, images.groups)
    check_target(target, rows)
    about = {"run": run.name, "data": images.name}
    task = Task(images, target, rows, run.statistics, device, settings.seed, about)
    say(f"{images.name}, {target.name} ({target.kind}): {len(rows):,} labelled images")
    start = run.backbone(allow_code=settings.allow_code)
    if settings.head_only is None:
        say(_estimate(task, run, settings))
        predictor = fit_all(task, start, settings.finetuning)
    else:
        # The rows that `evaluate` represents, so that each reads what the other has kept.
        needed = np.union1d(images.rows("train", "validation", "test"), candidates)
        material = Material(run, images, needed, candidates, device, settings.allow_code)
        (trained,), _, notes = subjects(material, (), 1)
        for note in notes:
            say(note)
        predictor = fit_head(task, start, trained.at(0), settings.head_only)
    held = scored(predictor, images, target, images.rows("validation").tolist(), device)
    card = predictor.card.updated({"validation": held})
    predictor = Predictor(predictor.backbone, predictor.head, predictor.statistics, card)
    predictor = predictor.save(settings.out, settings.to_yaml())
    say(_said(predictor))
    return predictor


def _target(run: Run, settings: Finetune, images: ImageSet) -> Target:
    name = settings.target
    if name is None and run.settings.target in images.targets:
        name = run.settings.target
    target = choose_target(images, name)
    if target is None:
        raise ValueError(
            f"{images.name} has no labels; join some with --labels TABLE, or name labelled data."
        )
    return target


def _candidates(images: ImageSet, target: Target) -> NDArray[np.int64]:
    """Rows whose labels may be read: train, or the whole pool where train has none."""
    train = images.rows("train")
    return train if target.known[train].any() else images.pool


def _estimate(task: Task, run: Run, settings: Finetune) -> str:
    labelled = Labelled(
        task.images, task.target, task.rows, task.statistics, task.device, task.seed
    )
    start = run.backbone(allow_code=settings.allow_code)
    step = seconds_of_a_step(start, labelled, settings.finetuning)
    rates = len(settings.finetuning.rates)
    steps = settings.finetuning.steps(len(task.rows)) * (rates + 1)
    return (
        f"fine-tuning: {rates} pairs of learning rates, {steps:,} steps at most, "
        f"{duration(steps * step)} (--head-only linear takes seconds)"
    )


def _said(predictor: Predictor) -> str:
    headline = TASKS[predictor.card.kind].headline
    value = predictor.card.validation.get(headline)
    if value is None:
        return "There are no labelled validation images to score the model on."
    shown = f"{100 * value:.1f} %" if headline in SHARES else f"{value:.3g}"
    return f"{headline} on the validation images: {shown}"
