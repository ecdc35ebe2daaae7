"""The verb `finetune`: a run and labels in, a model folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

import selfsight
from selfsight.console import counted, progress, say, warn
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.leaks import ReadLabels
from selfsight.data.options import Images
from selfsight.data.reading import guesses_of, recorded
from selfsight.data.splits import LabelFraction
from selfsight.evaluation.controls import subjects
from selfsight.evaluation.material import Material
from selfsight.evaluation.pooling import Pooling
from selfsight.fitting.finetune import Start
from selfsight.fitting.labelled import Rows, Subset, target_of
from selfsight.fitting.probes import PROBES, mlp
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.representations import Representations
from selfsight.fitting.scores import score
from selfsight.fitting.search import estimate, fine_tune
from selfsight.fitting.stack import Classifier
from selfsight.models.base_rate import base_rate, no_better
from selfsight.models.card import Card
from selfsight.models.predictor import Predictor, check_free, hashed
from selfsight.models.training_images import with_training_images
from selfsight.runs.frame import Frame
from selfsight.runs.labels_read import LabelsRead
from selfsight.runs.lineage import lineage_of
from selfsight.runs.request import RunData, images_of, reading_of
from selfsight.runs.run import Run, load_run
from selfsight.training.device import choose_device
from selfsight.vocabulary import headline, value_text


class Finetune(RunData):
    """Fit a run's backbone to labels and write a model folder for `predict` and `export`.

    `--settings OUT/best.yaml` fits what `tune probe` or `tune finetune` found.
    """

    out: str
    """The model's folder."""
    head_only: Literal["linear", "mlp"] | None = None
    """Leave the backbone as it is and fit only a head, in seconds: linear (logistic regression;
    ridge for numbers) or mlp."""
    label_fraction: LabelFraction = 1.0
    """Share of the labels that may be read, drawn as `evaluate` draws them; here those of train."""
    balanced: bool = False
    """Rare classes and labels count more, by inverse frequency; classes are then chosen by
    balanced accuracy."""
    finetuning: FineTuning = FineTuning()
    """How the weights are trained and what is tried."""
    probe: Classifier = Classifier()
    """The network of --head-only mlp, and how it is trained."""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Finetune:
        if self.probe != Classifier() and self.head_only != "mlp":
            raise ValueError("probe: its settings are those of --head-only mlp; add it")
        return self


def finetune(settings: Finetune, images: Images | None = None) -> Predictor:
    """Fits on the labels of the train split, scores on validation and writes the folder.

    Everything that is chosen (learning rates, steps, regularisation, thresholds) is chosen on a
    part held out of the train split; validation is only scored on; no label of test is read.

    Args:
        settings: see `Finetune`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        The model; also in the folder ``settings.out``.

    Raises:
        ValueError: no such run, data or target, no labels, or a folder that is not empty.
    """
    device = choose_device(settings.device)
    check_free(Path(settings.out))
    run = load_run(settings.run)
    given = images
    images = images_of(run, settings, images)
    for caution in images.cautions:
        warn(caution)
    tile = _tile_of(images, given, settings, run)
    pooling = Pooling.of(images)
    target = target_of(images, settings.target, run.settings.target)
    candidates = _candidates(images, target)
    subset = Subset.drawn(images, target, candidates, settings.label_fraction, settings.seed)
    subset = replace(subset, balanced=settings.balanced)
    subset.check()
    tiles = f" in {counted(len(subset), 'tile')}" if pooling.tiles else ""
    count = len(pooling.heads(subset.rows))
    say(f"{images.name}, {target.name} ({target.kind}): {counted(count, 'labelled image')}{tiles}")
    start = Start.of_run(run, device, allow_code=settings.allow_code)

    @cache
    def represented() -> Representations:
        # The rows that `evaluate` represents, so that each reads what the other has kept.
        needed = np.union1d(images.rows("train", "validation", "test"), candidates)
        material = Material(run, images, needed, candidates, device, settings.allow_code)
        (trained,), _, _, notes = subjects(material, ())
        for note in notes:
            warn(note)
        return trained.at(0)

    how: FineTuning | Classifier | None = settings.finetuning
    if settings.head_only is not None:
        how = settings.probe if settings.head_only == "mlp" else None
    else:
        longest = estimate(start, subset, settings.finetuning, [len(subset)])
        say(f"fine-tuning: {longest}; --head-only linear takes seconds")
    with progress("fitting the model"):
        predictor = fit_model(
            start, subset, how, represented, {"run": run.name, "data": images.name}
        )
    rows = images.rows("validation")

    @cache
    def of_validation() -> torch.Tensor:
        return predictor.features(images, rows, device=device)

    validation = scores(predictor, images, target, rows, of_validation)
    before = LabelsRead.by(lineage_of([run]), images, target.name)
    read = before.with_rows(subset.rows, images.tile_of)
    reading = reading_of(run) | recorded(settings, guesses_of(images))
    card = predictor.card.updated(
        {
            "validation": validation,
            "allowed_leaks": images.leaks,
            "tile": tile,
            "num_labels": read,
            "reading": reading,
        }
    )
    predictor = replace(predictor, card=card)

    def features(wanted: Rows) -> torch.Tensor:
        # A backbone that is left as it is has been asked for most rows already.
        if settings.head_only is not None and np.isin(wanted, represented().rows).all():
            return represented().at(wanted)
        if target.known[rows].any() and np.isin(wanted, rows).all():
            return of_validation()[torch.from_numpy(np.searchsorted(rows, wanted))]
        return predictor.features(images, wanted, device=device)

    predictor = with_training_images(predictor, images, features, seed=settings.seed)
    predictor = predictor.save(settings.out, settings.to_yaml())
    metric = headline(card.kind)
    if metric in validation:
        shown = value_text(metric, validation[metric])
        say(f"{metric} on the validation images: {shown}")
        base = base_rate(target, pooling.heads(rows))
        if warning := no_better(target.kind, validation[metric], base):
            warn(warning)
    else:
        say("There are no labelled validation images to score the model on.")
    return predictor


def fit_model(
    start: Start,
    subset: Subset,
    how: FineTuning | Classifier | None,
    represented: Callable[[], Representations],
    about: Mapping[str, str],
) -> Predictor:
    """A predictor fitted on a labelled subset, with the fits of `evaluate`.

    Args:
        start: backbone, statistics and device.
        subset: what may be read.
        how: fine-tuning of all weights, a classifier on the frozen backbone, or None: the linear
            probe (logistic regression; ridge for numbers).
        represented: the subset's representations by the start; called where the backbone is left
            as it is.
        about: ``run`` and ``data`` of the card.
    """
    backbone, target = start.backbone, subset.target
    if isinstance(how, FineTuning):
        tuned = fine_tune(start, subset, how)
        # In memory as a file gives it back, so that a model and its saved copy give the same bits.
        backbone = tuned.backbone.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        backbone.bf16 = False
        head, thresholds = tuned.head, tuned.thresholds
        choice = {"probe": "finetune", **tuned.choice}
    else:
        if how is None:
            name, fitted = "linear", PROBES["linear"](subset, represented())
        else:
            name, fitted = "mlp", mlp.fit(subset, represented(), how)
        head, thresholds, choice = fitted.head, fitted.thresholds, {"probe": name, **fitted.choice}
    head = head.cpu()
    card = Card.model_validate(
        {
            "target": target.name,
            "kind": target.kind,
            "names": target.names,
            "thresholds": None if thresholds is None else thresholds.tolist(),
            "head": head.shape,
            "frame": Frame.of(subset.images),
            "weights": hashed(backbone, head),
            "num_labels": len(subset),
            "choice": choice,
            "selfsight": selfsight.__version__,
            **about,
        }
    )
    content = subset.images.content.take(subset.rows)
    read = ReadLabels(
        target.name,
        subset.images.row_ids[subset.rows],
        np.where(content.blank, np.uint64(0), content.digests),
    )
    return Predictor(backbone.eval(), head, start.statistics, card, labels=read)


def scores(
    predictor: Predictor,
    images: ImageSet,
    target: Target,
    rows: Rows,
    features: Callable[[], torch.Tensor],
) -> dict[str, float]:
    """Metrics over all labels of the rows whose target is known; empty where none is.

    Of whole images where the rows are tiles.

    Args:
        predictor: whose predictions are scored.
        images, target: of the rows.
        rows: ``(M,)``.
        features: gives ``(M, F)`` of the rows; called where a target is known.
    """
    known = rows[target.known[rows]]
    if not len(known):
        return {}
    pooling = Pooling.of(images)
    output = predictor.output_of(features()[torch.from_numpy(target.known[rows])])
    output, known = pooling.pooled(known, output, target.kind), pooling.heads(known)
    given = predictor.card.thresholds
    thresholds = None if given is None else np.array(given)
    return {
        metric: float(value[0])
        for (metric, label), value in score(target, output, known, None, thresholds).items()
        if label is None and np.isfinite(value[0])
    }


def _tile_of(images: ImageSet, given: Images | None, settings: Finetune, run: Run) -> int | None:
    """The side of the tiles that the images were cut into; None: they are whole."""
    if images.tile_of is None:
        return None
    cut_before = isinstance(given, ImageSet) and given.tile_of is not None
    tile = settings.tile or (None if cut_before else run.settings.tile)
    if tile is None:
        raise ValueError(
            f"{images.name} is cut into tiles already, and nothing says how large they are in the "
            "image: name their side with --tile, so that the model can cut later images."
        )
    return tile


def _candidates(images: ImageSet, target: Target) -> NDArray[np.int64]:
    """Rows whose labels may be read: train, or the whole pool where train has none."""
    train = images.rows("train")
    return train if target.known[train].any() else images.pool
