"""From scores of draws to means, differences, intervals and what they allow to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from selfsight import vocabulary
from selfsight.evaluation.intervals import Interval, difference, interval
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
from selfsight.evaluation.verdicts import give_verdicts
from selfsight.fitting.scored import Floats
from selfsight.fitting.scores import Values


@dataclass
class Scores:
    """Scores of one probe on one subject at one label fraction, a draw after another.

    Attributes:
        probe: its name.
        subject: its name.
        label_fraction: of the labels of train; 0 where none is read.
        num_labels: how many that were.
        of_draw: ``(1 + B,)`` values by metric and label, for each draw.
        seeds: training seeds: `of_draw` then holds all of them for the first draw, and so on.
        of_seeds: these are of several initialisations with one label draw instead.
    """

    probe: str
    subject: str
    label_fraction: float = 0.0
    num_labels: int = 0
    of_draw: list[Values] = field(default_factory=list)
    seeds: int = 1
    of_seeds: bool = False

    @property
    def draws(self) -> int:
        return 1 if self.of_seeds else len(self.of_draw) // self.seeds

    def stacked(self, key: tuple[str, str | None]) -> Floats:
        """``(S, D, 1 + B)`` of S seeds or initialisations and D label draws."""
        stacked = np.stack([values[key] for values in self.of_draw])
        return stacked.reshape(self.draws, -1, stacked.shape[-1]).swapaxes(0, 1)


def record(results: Results, about: Row, values: Values) -> None:
    """A record for each number, and the reading of the test split.

    Args:
        results: are added to.
        about: data, task, target, split, probe, subject, label_fraction, num_labels, label_seed,
            and the representation where one was chosen.
        values: by metric and label, the plain one first.
    """
    for (metric, label), value in values.items():
        if np.isfinite(value[0]):
            row = {**about, "metric": metric, "label": label, "value": float(value[0])}
            results.records.append(row)
    results.note_reading({name: v for name, v in about.items() if name != "representation"})


def summarise(
    results: Results, place: Row, scores: Sequence[Scores], resampling: Resampling
) -> None:
    """Means with intervals; differences trained - control, paired by draw and test image.

    See `selfsight.evaluation.verdicts` for the verdicts.

    Args:
        results: are added to.
        place: data, task, target, split.
        scores: of every probe, subject and fraction; those of one have the same draws.
        resampling: of the test split.
    """
    trained = {(s.probe, s.label_fraction): s for s in scores if s.subject == "trained"}
    values: list[Row] = []
    differences: list[Row] = []
    for found in scores:
        about = {
            **place,
            "probe": found.probe,
            "label_fraction": found.label_fraction,
            "num_labels": found.num_labels,
            "draws": found.draws,
        }
        ours = trained[found.probe, found.label_fraction]
        for key in found.of_draw[0]:
            stacked = found.stacked(key)
            if not np.isfinite(stacked[..., 0]).all():
                continue
            here = {**about, "metric": key[0], "label": key[1]}
            value = score_interval(key[0], stacked, resampling)
            seeds = {"seeds": found.seeds} if found.seeds > 1 else {}
            values.append({**here, "subject": found.subject, **seeds, **ends(value)})
            if found is ours or not np.isfinite(ours.stacked(key)[..., 0]).all():
                continue
            gap = difference_interval(key[0], ours.stacked(key), stacked, resampling)
            seeds = {"seeds": ours.seeds} if ours.seeds > 1 else {}
            row = {**here, "control": found.subject, **seeds, **ends(gap), "raw_p": gap.p}
            differences.append(row)
    give_verdicts(values, differences, {})
    results.values += values
    results.differences += differences


def score_interval(metric: str, scores: Floats, resampling: Resampling) -> Interval:
    """The interval of the mean of a metric's scores; see `selfsight.evaluation.intervals`."""
    words = vocabulary.metric(metric)
    return interval(
        scores,
        resampling,
        share=words.unit == "share",
        of_images=words.of_images,
        bounds=words.bounds,
    )


def difference_interval(
    metric: str, ours: Floats, other: Floats, resampling: Resampling
) -> Interval:
    """The interval of a metric's mean difference ours - other on the same images."""
    words = vocabulary.metric(metric)
    return difference(ours, other, resampling, of_images=words.of_images, bounds=words.bounds)


def ends(value: Interval) -> Row:
    """An interval as it is written: its ends may be None, with the reason."""
    row: Row = {"mean": value.mean, "low": value.low, "high": value.high}
    return {**row, "reason": value.reason} if value.reason else row
