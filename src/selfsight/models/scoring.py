"""The verb `evaluate`, of runs and of models: a fitted model gets the same table as a probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from selfsight.console import counted, say
from selfsight.data import request
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.options import Images
from selfsight.evaluation import protocol
from selfsight.evaluation.measured import Measured, scored_split, source_of
from selfsight.evaluation.pooling import Pooling, by_image
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.evaluation.summary import Scores, record, summarise
from selfsight.files import check_output_folder
from selfsight.fitting.chance import base_rates
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.scores import score
from selfsight.models.predict import with_tiles
from selfsight.models.predictor import Predictor
from selfsight.outputs import check_not_the_data, check_own_folder
from selfsight.reporting.report import write_report
from selfsight.runs.fitted import FittedModel
from selfsight.runs.folder import RunFolder, is_model
from selfsight.runs.lineage import lineage_of
from selfsight.runs.request import images_of
from selfsight.runs.run import load_run
from selfsight.settings import read_yaml, unknown
from selfsight.training.device import choose_device


def evaluate(
    settings: Evaluate, images: Images | None = None, network: nn.Module | None = None
) -> Results:
    """Fits the probes, compares them with the controls and writes the results into the run.

    Args:
        settings: see `Evaluate`; ``run`` may be the folder of a model.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.
        network: see `selfsight.evaluation.protocol.evaluate`.

    Returns:
        The results; also in ``results.json`` and ``predictions.parquet`` of the run.

    Raises:
        ValueError: no such run, data, target or probe; the sentence says what to change.
    """
    check_output_folder(settings.out)
    check_not_the_data(settings.out, settings.data if images is None else images)
    check_own_folder(settings.out, ("results.json", "representations", "environment.json"))
    if network is None and settings.run and is_model(settings.run):
        return _of_model(settings, images)
    return protocol.evaluate(settings, images, network)


def _of_model(settings: Evaluate, images: Images | None) -> Results:
    """A model's predictions of the scored split, beside chance: the same table and page."""
    predictor = Predictor.load(settings.run, allow_code=settings.allow_code)
    card = predictor.card
    source, opened, notes = _images(settings, predictor, images)
    target = _target(opened, predictor, settings)
    opened = opened.changed(targets={target.name: target})
    split = scored_split(opened, settings.split)
    train = opened.rows("train")
    measured = Measured(
        RunFolder(settings.out or settings.run), opened, source, split, train, (), card.weights
    )
    results = Results(measured.folder.results, card.weights)
    results.notes += notes
    results.cautions += opened.cautions
    results.allowed_leaks += measured.leaks
    tiles = measured.scored[target.known[measured.scored]]
    pooling = Pooling.of(opened)
    rows = pooling.heads(tiles)
    if not len(rows):
        raise ValueError(f"{opened.name}: no test or validation image has a known {target.name}.")
    place = measured.enter(results, target, balanced=False, seed=0)
    known = place["known_labels"]
    place["known_labels"] = max(known, card.num_labels)
    say(f"{opened.name}, {target.name}: the model on {counted(len(rows), f'{split} image')}")
    output = predictor.output(opened, tiles, device=choose_device(settings.device))
    output = pooling.pooled(tiles, output, target.kind)
    outputs = {"trained": output}
    if known:
        rates = base_rates(Subset.drawn(opened, target, train, 1.0, 0))
        outputs["chance"] = np.tile(rates, (len(rows), 1))
    resampling = Resampling.of(groups_of(opened.groups, rows), seed=settings.seed)
    predictions = Predictions(by_image(opened))
    scores = []
    probe, fraction = str(card.choice.get("probe", "finetune")), _share(card.num_labels, known)
    for subject, output in outputs.items():
        here = Scores(probe, subject, fraction, card.num_labels)
        about = {**place, "probe": probe, "subject": subject, "label_fraction": fraction}
        about |= {"num_labels": card.num_labels, "label_seed": 0}
        limits = card.thresholds if subject == "trained" else None
        thresholds = None if limits is None else np.array(limits)
        values = score(target, output, rows, resampling.weights, thresholds)
        record(results, about, values)
        here.of_draw.append(values)
        predictions.add(about, rows, output, keep=True)
        if subject == "trained":
            results.choices.append({**about, "choice": {"chosen": True, **card.choice}})
        scores.append(here)
    summarise(results, place, scores, resampling)
    results.notes.append(
        "One fitted model: the interval covers test images, not other labels or another seed."
    )
    measured.keep(results, predictions)
    say(f"The report: {write_report([measured.folder.path])}")
    return results


def _share(count: int, known: int) -> float:
    return min(1.0, count / known) if known and count else 1.0


def _images(
    settings: Evaluate, predictor: Predictor, images: Images | None
) -> tuple[str, ImageSet, list[str]]:
    """Where the images are from, the images, and what could not be checked.

    Without data they are those that the model was fitted on, in the same splits.
    """
    made = read_yaml(Path(settings.run) / "settings.yaml")
    model = FittedModel(Path(settings.run))
    path = Path(model.run)
    run = load_run(path) if (path / "settings.yaml").is_file() else None
    labels, target = settings.labels or model.labels, settings.target or predictor.card.target
    if images is None and settings.data is None:
        if run is None:
            raise ValueError(
                f"{settings.run}: the run that it was fitted to ({path}) is not there; name the "
                "images."
            )
        own = ("group", "split_column", "tile", "validation", "test")
        same: dict[str, Any] = {name: made[name] for name in own if name in made}
        same["data"] = model.data
        wish = settings.updated({**same, "labels": labels, "target": target})
        return source_of(wish.data or run.settings.data), images_of(run, wish, model=model), []
    source = source_of(settings.data if images is None else images)
    settings = with_tiles(settings, predictor.card.tile, f"model {settings.run}")
    if run is not None:
        return source, images_of(run, settings, images, model=model), []
    scale = predictor.card.frame.scale(f"model {settings.run}")
    note = (
        f"What {settings.run} was trained on before it was fitted is not known here: its run "
        f"({path}) is gone."
    )
    seen = lineage_of([model]).seen
    return source, request.open(settings, images, scale=scale, seen=seen), [note]


def _target(images: ImageSet, predictor: Predictor, settings: Evaluate) -> Target:
    """The model's target in these images, with the model's names.

    Raises:
        ValueError: there is none of this name and kind, or it has a name that the model lacks.
    """
    card = predictor.card
    name = settings.target or card.target
    if name not in images.targets:
        raise unknown(f"target in {images.name} named", name, images.targets)
    target = images.targets[name]
    if target.kind != card.kind:
        raise ValueError(
            f"target {name!r}: {images.name} has a {target.kind} and {settings.run} predicts a "
            f"{card.kind}; say what it is with --kinds {name}:{card.kind}."
        )
    strange = [each for each in target.names if each not in card.names]
    if strange:
        raise ValueError(
            f"target {name!r}: {settings.run} does not know {strange[0]!r}, which {images.name} "
            "has."
        )
    place = [card.names.index(each) for each in target.names]
    if target.kind == "class":
        values = np.append(np.array(place, np.int64), -1)[target.values]  # -1 is the last one
    else:
        values = np.full((len(images), len(card.names)), np.nan, np.float32)
        values[:, place] = target.values
    return replace(target, values=values, names=card.names)
