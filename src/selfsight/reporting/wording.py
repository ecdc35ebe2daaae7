"""Numbers and names as people read them; the page and the terminal say them alike."""

from __future__ import annotations

import math

from selfsight import vocabulary

TITLES = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "mAP": "mean average precision",
    "map_at_r": "mAP@R",
    "recall_at_1": "recall at 1",
    "cluster_accuracy": "clustering accuracy",
    "hamming": "Hamming loss",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "nmi": "normalised mutual information",
    "ari": "adjusted Rand index",
    "rankme": "RankMe",
    "alpha_req": "alpha-ReQ",
}
PROBES = {
    "knn": "kNN",
    "linear": "linear probe",
    "mlp": "MLP probe",
    "ridge": "ridge regression",
    "finetune": "fine-tuning",
    "retrieval": "retrieval",
    "kmeans": "k-means",
    "hdbscan": "HDBSCAN",
}
SUBJECTS = {
    "trained": "trained",
    "untrained": "untrained backbone",
    "pixels": "raw pixels",
    "scratch": "trained from scratch",
}
METHODS = {
    "simclr": "SimCLR",
    "vicreg": "VICReg",
    "barlow_twins": "Barlow Twins",
    "dino": "DINO",
    "moco_v2": "MoCo v2",
    "moco_v3": "MoCo v3",
    "swav": "SwAV",
    "byol": "BYOL",
    "mae": "MAE",
    "i_jepa": "I-JEPA",
    "ijepa": "I-JEPA",
    "fixmatch": "FixMatch",
}
SPLITS = {"train": "train", "validation": "validation", "test": "test", "unlabelled": "unlabelled"}
MINUS, THIN, NO_BREAK = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"


def metric_name(metric: str) -> str:
    return TITLES.get(metric, metric.replace("_", " "))


def in_percent(metric: str) -> bool:
    """Whether people read it in per cent, and differences in points."""
    return vocabulary.in_percent(metric)


def probe_name(probe: str | None) -> str:
    return PROBES.get(probe or "", probe or "no probe")


def subject_name(weights: str) -> str:
    return SUBJECTS.get(weights, weights)


def method_name(method: object) -> str:
    return METHODS.get(str(method), str(method))


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits, thousands apart by commas; an en dash for what is not a number."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    elif abs(value) < 1e-4:
        text = f"{value:.{digits}g}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def amount(metric: str, value: float | None) -> str:
    """A metric's bare value: ``83.1`` for an accuracy of 0.831, ``0.831`` for an R²."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{100 * value:.1f}" if in_percent(metric) else _plain(value)
    if not text.strip("-0."):
        text = text.lstrip("-")  # what rounds to zero has no sign
    return text.replace("-", MINUS)


def value_text(metric: str, value: float | None) -> str:
    """``83.1 %`` or ``0.831``."""
    text = amount(metric, value)
    return f"{text}{NO_BREAK}%" if in_percent(metric) and text != "–" else text


def difference_text(metric: str, value: float | None) -> str:
    """With its sign: ``+21.4`` points or ``−0.120``."""
    text = amount(metric, value)
    return text if text == "–" or text.startswith(MINUS) else f"+{text}"


def interval_text(metric: str, low: float | None, high: float | None, signed: bool = False) -> str:
    """``80.2–86.0``, or ``−0.4 to +1.2`` for a difference; empty where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if signed:
        return f"{difference_text(metric, low)} to {difference_text(metric, high)}"
    first, last = amount(metric, low), amount(metric, high)
    return f"{first} to {last}" if MINUS in first + last else f"{first}–{last}"


def unit_of_difference(metric: str) -> str:
    return " points" if in_percent(metric) else ""


def fraction_text(fraction: float | None) -> str:
    """``1 %``; ``all`` for 1."""
    if not fraction:
        return "–"
    return "all" if fraction >= 1 else f"{number(100 * fraction)}{NO_BREAK}%"


def labels_text(fraction: float | None, count: float | None) -> str:
    """``1 % (15 labels)``."""
    if not fraction:
        return "no labels"
    return fraction_text(fraction) + (f" ({number(count)} labels)" if count is not None else "")


def share_text(fraction: float | None) -> str:
    """``1 % of the labels``, ``all labels``, ``no labels``."""
    if not fraction:
        return "no labels"
    return "all labels" if fraction >= 1 else f"{fraction_text(fraction)} of the labels"


def duration(seconds: float | None) -> str:
    """``21.7 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


def listed(parts: list[str], last: str = "and") -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _plain(value: float) -> str:
    return (
        f"{value:.3f}"
        if abs(value) < 10
        else f"{value:,.1f}"
        if abs(value) < 1e4
        else f"{value:,.0f}"
    )
