"""One target of an evaluation: probes fitted on each draw of labels, for every subject alike."""

from __future__ import annotations

from dataclasses import replace

from selfsight.console import progress
from selfsight.data.imageset import Target
from selfsight.evaluation.choice_notes import note_defaults, note_representations
from selfsight.evaluation.corruptions import corrupted
from selfsight.evaluation.fits import Fits
from selfsight.evaluation.measured import Measured
from selfsight.evaluation.pooling import Pooling
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.evaluation.subject import Subject
from selfsight.evaluation.summary import summarise
from selfsight.evaluation.without_labels import clustered, retrieved
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.recipe import FineTuning


def evaluate_target(
    settings: Evaluate,
    results: Results,
    measured: Measured,
    target: Target,
    predictions: Predictions,
) -> None:
    """Adds the records of a target to the results, and its predictions.

    Args:
        settings: see `Evaluate`.
        results: are added to.
        measured: the images and the subjects.
        target: of the images.
        predictions: are added to.
    """
    tiles = measured.scored[target.known[measured.scored]]
    pooling = Pooling.of(measured.images)
    rows = pooling.heads(tiles)
    if not len(rows) or measured.split is None:
        results.notes.append(f"{target.name}: no test or validation image has a known value.")
        return
    train = measured.images.rows("train")
    place = measured.enter(
        results,
        target,
        balanced=settings.balanced,
        seed=settings.seed,
        finetuning=_own(settings.finetuning) if settings.finetune else "",
    )
    whole = [Subject(s.name, tuple(map(pooling.represented, s.of_draw))) for s in measured.found]
    if target.kind == "identity":
        retrieved(results, place, target, whole, rows, seed=settings.seed)
        return
    groups = groups_of(measured.images.groups, rows)
    resampling = Resampling.of(groups, seed=settings.seed)
    fits = Fits(settings, results, measured, target, predictions, place, tiles, pooling, resampling)
    summarise(results, place, fits.scores(), resampling)
    if settings.corruptions and measured.images.tile_of is None:
        most, seed = max(settings.fractions), settings.seed
        subset = Subset.drawn(measured.images, target, train, most, seed)
        subset = replace(subset, balanced=settings.balanced)
        corrupted(results, place, measured, subset, rows, resampling)
    note_defaults(results, place)
    note_representations(results, place)
    if target.kind == "class" and settings.clusters:
        with progress("clusters"):
            clustered(
                results,
                place,
                target,
                whole,
                pooling.heads(train),
                rows,
                groups,
                draws=fits.draws,
                seed=settings.seed,
            )


def _own(finetuning: FineTuning) -> str:
    """The settings that are not the defaults."""
    default = FineTuning().plain()
    own = {n: v for n, v in finetuning.plain().items() if v != default[n]}
    return ", ".join(f"{name}={value}" for name, value in sorted(own.items()))
