"""The words of results: title, unit, direction and order of each metric, probe and subject.

Pages, tables and sentences read them here; the module needs neither torch nor numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Metric:
    """The words of a metric.

    Attributes:
        title: as a table or an axis calls it.
        kinds: kinds of target that it is taken of; the first metric of a kind is its headline.
        unit: ``share``, a number from 0 to 1 that is shown in percent; ``plain``, a number without
            a unit; ``target``, in the unit of the target.
        higher_is_better: the direction; None: neither end is best.
        by_label: name and title of the metric of a single label, where it is a mean over labels.
        meaning: one line on what it tells.
    """

    title: str
    kinds: tuple[str, ...] = ()
    unit: Literal["share", "plain", "target"] = "share"
    higher_is_better: bool | None = True
    by_label: tuple[str, str] | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Probe:
    """The words of a probe.

    Attributes:
        title: as a table calls it.
        phrase: as a sentence calls it, with its article: "a linear probe".
        order: probes are listed, and the headline takes one, by this number.
    """

    title: str
    phrase: str
    order: int = 50


@dataclass(frozen=True)
class Subject:
    """The words of what a representation is of: the trained backbone or a control.

    Attributes:
        title: as a table calls it.
        phrase: as a sentence calls it: "an untrained backbone".
    """

    title: str
    phrase: str


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", ("class",)),
    "balanced_accuracy": Metric("balanced accuracy", ("class",)),
    "mAP": Metric("mean average precision", ("labels",)),
    "micro_f1": Metric("micro F1", ("labels",)),
    "macro_f1": Metric("macro F1", ("class", "labels")),
    "calibration_error": Metric("calibration error", ("class",), higher_is_better=False),
    "hamming": Metric("Hamming loss", ("labels",), higher_is_better=False),
    "average_precision": Metric("average precision"),
    "f1": Metric("F1"),
    "r2": Metric("R²", ("number",), unit="plain"),
    "mae": Metric("mean absolute error", ("number",), unit="target", higher_is_better=False),
    "rmse": Metric("root mean squared error", ("number",), unit="target", higher_is_better=False),
    "recall_at_1": Metric("recall at 1", ("identity",)),
    "map_at_r": Metric("mAP@R", ("identity",)),
    "nmi": Metric("normalised mutual information"),
    "ari": Metric("adjusted Rand index", unit="plain"),
    "purity": Metric("purity"),
    "cluster_accuracy": Metric("clustering accuracy"),
    "silhouette": Metric("silhouette", unit="plain"),
    "rankme": Metric(
        "RankMe",
        unit="plain",
        meaning="how many directions the representations use; 1: they collapsed to a line",
    ),
    "alpha_req": Metric(
        "alpha-ReQ",
        unit="plain",
        higher_is_better=None,
        meaning="how fast the variance falls from direction to direction; near 1 serves well, far "
        "above 1 a few directions carry everything",
    ),
    "uniformity": Metric(
        "uniformity",
        unit="plain",
        higher_is_better=False,
        meaning="how evenly the representations cover the sphere; 0: one point, lower: more even",
    ),
    "alignment": Metric(
        "alignment",
        unit="plain",
        higher_is_better=False,
        meaning="how far apart two views of an image lie on the sphere; 0: the same point",
    ),
}

PROBES: dict[str, Probe] = {
    "linear": Probe("linear probe", "a linear probe", 10),
    "knn": Probe("kNN", "kNN", 20),
    "mlp": Probe("MLP probe", "an MLP probe", 30),
    "finetune": Probe("fine-tuning", "fine-tuning", 40),
    "retrieval": Probe("retrieval", "the nearest image", 60),
    "k_means": Probe("k-means", "k-means", 70),
    "hdbscan": Probe("HDBSCAN", "HDBSCAN", 80),
}

SUBJECTS: dict[str, Subject] = {
    "trained": Subject("trained", "the trained backbone"),
    "start": Subject("start of the training", "the weights that the training began with"),
    "untrained": Subject("untrained backbone", "an untrained backbone"),
    "pixels": Subject("raw pixels", "raw pixels"),
    "scratch": Subject("trained from scratch", "the same network trained from scratch"),
    "chance": Subject("chance", "chance"),
}
"""In the order of tables; any other subject is a run, called by its name."""


def metric(name: str) -> Metric:
    """The words of a metric; one that is not known is called by its name."""
    return METRICS.get(name) or Metric(name.replace("_", " "), unit="plain")


def probe(name: str | None) -> Probe:
    """The words of a probe; one that is not known is called by its name."""
    plain = (name or "no probe").replace("_", " ")
    return PROBES.get(name or "") or Probe(plain, plain)


def subject(name: str) -> Subject:
    """The words of a subject; one that is not known is a run."""
    return SUBJECTS.get(name) or Subject(name, f"the run {name}")


def metrics_of(kind: str) -> list[str]:
    """Metrics of a kind of target, the headline first."""
    return [name for name, words in METRICS.items() if kind in words.kinds]


def headline(kind: str) -> str:
    """The metric of a kind of target that is shown first."""
    return metrics_of(kind)[0]


def in_percent(name: str) -> bool:
    """Whether a metric is shown in percent, and differences of it in points."""
    return metric(name).unit == "share"


def higher_is_better(name: str) -> bool:
    """The direction of a metric; higher where neither end is best."""
    return metric(name).higher_is_better is not False


def placed(name: str, order: Mapping[str, Any]) -> int:
    """Where a metric or a subject stands among `METRICS` or `SUBJECTS`; unknown ones are last."""
    return list(order).index(name) if name in order else len(order)


def amount(name: str, value: float | None) -> str:
    """The bare value of a metric: ``83.1`` for an accuracy of 0.831, ``0.831`` for an R²."""
    if value is None or not math.isfinite(value):
        return "–"
    if in_percent(name):
        text = f"{100 * value:.1f}"
    else:
        text = f"{value:.3f}" if abs(value) < 10 else f"{value:,.{1 if abs(value) < 1e4 else 0}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")  # a value that rounds to zero has no sign
    return text.replace("-", MINUS)


def value_text(name: str, value: float | None) -> str:
    """``83.1 %`` or ``0.831``."""
    text = amount(name, value)
    return f"{text}{NO_BREAK}%" if in_percent(name) and text != "–" else text


def difference_text(name: str, value: float | None) -> str:
    """A difference with its sign: ``+21.4`` points or ``−0.120``."""
    text = amount(name, value)
    return text if text == "–" or text.startswith(MINUS) else f"+{text}"


def interval_text(name: str, low: float | None, high: float | None, signed: bool = False) -> str:
    """``80.2–86.0``, or ``−0.4 to +1.2`` for a difference; empty where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if signed:
        return f"{difference_text(name, low)} to {difference_text(name, high)}"
    first, last = amount(name, low), amount(name, high)
    return f"{first} to {last}" if MINUS in first + last else f"{first}–{last}"
