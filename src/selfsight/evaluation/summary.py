"""From scores of draws to means, differences, intervals and what they allow to be said."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from selfsight.evaluation.intervals import interval
from selfsight.evaluation.results import Results, Row
from selfsight.fitting.metrics import Floats, Values
from selfsight.vocabulary import higher_is_better


@dataclass
class Scores:
    """Scores of one probe on one subject at one label fraction, a draw after another.

    Attributes:
        probe: its name.
        subject: its name.
        label_fraction: of the labels of train; 0 where none is read.
        num_labels: how many that were.
        of_draw: ``(1 + B,)`` values by metric and label, for each draw.
    """

    probe: str
    subject: str
    label_fraction: float = 0.0
    num_labels: int = 0
    of_draw: list[Values] = field(default_factory=list)

    def stacked(self, key: tuple[str, str | None]) -> Floats:
        """``(D, 1 + B)``."""
        return np.stack([values[key] for values in self.of_draw])


def record(results: Results, about: Row, values: Values) -> None:
    """A record for each number, and the reading of the test split.

    Args:
        results: are added to.
        about: data, task, target, split, probe, weights, label_fraction, num_labels, label_seed.
        values: by metric and label, the plain one first.
    """
    for (metric, label), value in values.items():
        if np.isfinite(value[0]):
            row = {**about, "metric": metric, "label": label, "value": float(value[0])}
            results.records.append(row)
    if about["split"] == "test":
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        results.test_readings.append({"when": now, **about})


def summarise(results: Results, place: Row, scores: Sequence[Scores], groups: int) -> None:
    """Means with intervals; differences trained - control, paired by draw and test image.

    Args:
        results: are added to.
        place: data, task, target, split.
        scores: of every probe, subject and fraction; those of one have the same draws.
        groups: how many test groups the bootstrap draws from.
    """
    trained = {(s.probe, s.label_fraction): s for s in scores if s.subject == "trained"}
    for found in scores:
        about = {
            **place,
            "probe": found.probe,
            "label_fraction": found.label_fraction,
            "num_labels": found.num_labels,
            "draws": len(found.of_draw),
        }
        ours = trained[found.probe, found.label_fraction]
        for key in found.of_draw[0]:
            stacked = found.stacked(key)
            if not np.isfinite(stacked[:, 0]).all():
                continue
            here = {**about, "metric": key[0], "label": key[1]}
            results.values.append(
                {**here, "subject": found.subject, **asdict(interval(stacked, groups))}
            )
            if found is ours or not np.isfinite(ours.stacked(key)[:, 0]).all():
                continue
            difference = interval(ours.stacked(key) - stacked, groups)
            verdict = difference.verdict(higher_is_better=higher_is_better(key[0]))
            results.differences.append(
                {**here, "control": found.subject, **asdict(difference), "verdict": verdict}
            )
