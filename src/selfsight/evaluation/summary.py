"""From scores of draws to means, differences, intervals and what they allow to be said."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from selfsight import vocabulary
from selfsight.evaluation.intervals import Interval, Resampling, difference, holm, interval
from selfsight.evaluation.results import Results, Row
from selfsight.fitting.metrics import Floats, Values
from selfsight.vocabulary import headline, higher_is_better, metrics_of


@dataclass
class Scores:
    """Scores of one probe on one subject at one label fraction, a draw after another.

    Attributes:
        probe: its name.
        subject: its name.
        label_fraction: of the labels of train; 0 where none is read.
        num_labels: how many that were.
        of_draw: ``(1 + B,)`` values by metric and label, for each draw.
        of_seeds: these are of several initialisations with one label draw instead.
    """

    probe: str
    subject: str
    label_fraction: float = 0.0
    num_labels: int = 0
    of_draw: list[Values] = field(default_factory=list)
    of_seeds: bool = False

    def stacked(self, key: tuple[str, str | None]) -> Floats:
        """``(S, D, 1 + B)`` of S initialisations and D label draws; one of the two is 1."""
        stacked = np.stack([values[key] for values in self.of_draw])
        return stacked[:, None] if self.of_seeds else stacked[None]


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
    if about["split"] == "test":
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        where = {name: value for name, value in about.items() if name != "representation"}
        results.test_readings.append({"when": now, **where})


def summarise(
    results: Results, place: Row, scores: Sequence[Scores], resampling: Resampling
) -> None:
    """Means with intervals; differences trained - control, paired by draw and test image.

    One difference is the primary one, fixed beforehand (see `_primary`): its verdict is that of
    its own interval. The verdicts of all others are Holm's, within the target and the control.

    Args:
        results: are added to.
        place: data, task, target, split.
        scores: of every probe, subject and fraction; those of one have the same draws.
        resampling: of the test split.
    """
    trained = {(s.probe, s.label_fraction): s for s in scores if s.subject == "trained"}
    primary = _primary(place["task"], scores)
    differences: dict[str, list[tuple[Row, Interval]]] = {}
    for found in scores:
        about = {
            **place,
            "probe": found.probe,
            "label_fraction": found.label_fraction,
            "num_labels": found.num_labels,
            "draws": 1 if found.of_seeds else len(found.of_draw),
        }
        ours = trained[found.probe, found.label_fraction]
        for key in found.of_draw[0]:
            stacked = found.stacked(key)
            if not np.isfinite(stacked[..., 0]).all():
                continue
            here = {**about, "metric": key[0], "label": key[1]}
            value = score_interval(key[0], stacked, resampling)
            results.values.append({**here, "subject": found.subject, **ends(value)})
            if found is ours or not np.isfinite(ours.stacked(key)[..., 0]).all():
                continue
            row = {**here, "control": found.subject}
            row["primary"] = primary == (found.probe, found.subject, found.label_fraction, *key)
            gap = difference_interval(key[0], ours.stacked(key), stacked, resampling)
            differences.setdefault(found.subject, []).append((row, gap))
    for rows in differences.values():
        family = [gap.p for row, gap in rows if gap.p is not None and not row["primary"]]
        adjusted = iter(holm(family))
        for row, gap in rows:
            p = gap.p if gap.p is None or row["primary"] else next(adjusted)
            higher = higher_is_better(row["metric"])
            verdict = gap.verdict(higher_is_better=higher, p=p)
            results.differences.append({**row, **ends(gap), "p": p, "verdict": verdict})


def _primary(kind: str, scores: Sequence[Scores]) -> tuple[str, str, float, str, str | None] | None:
    """Probe, control, fraction, metric and label of the verdict that was fixed beforehand.

    Trained - start where there is a start, else trained - untrained; the linear probe where it was
    used, else the first one; the largest fraction; the headline metric of the target.
    """
    names = {s.subject for s in scores}
    control = next((name for name in ("start", "untrained") if name in names), None)
    if control is None or not metrics_of(kind):
        return None
    theirs = [s for s in scores if s.subject == control]
    probe = next((s.probe for s in theirs if s.probe == "linear"), theirs[0].probe)
    fraction = max(s.label_fraction for s in theirs if s.probe == probe)
    return probe, control, fraction, headline(kind), None


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
