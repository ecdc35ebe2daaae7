"""Numbers, shares and lists as people read them; the words of metrics are in `vocabulary`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from selfsight.console import counted
from selfsight.vocabulary import MINUS, NO_BREAK, in_percent


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits, thousands separated by commas; an en dash for what is not a number."""
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


def unit_of_difference(metric: str) -> str:
    """Points, where the metric is shown in percent."""
    return " points" if in_percent(metric) else ""


def fraction_text(fraction: float | None) -> str:
    """``1 %``; ``all`` for 1."""
    if not fraction:
        return "–"
    return "all" if fraction >= 1 else f"{number(100 * fraction)}{NO_BREAK}%"


def share_text(fraction: float | None) -> str:
    """``1 % of the labels``, ``all labels``, ``no labels``."""
    if not fraction:
        return "no labels"
    return "all labels" if fraction >= 1 else f"{fraction_text(fraction)} of the labels"


def labels_text(share: float | None, count: float | None, known: float | None = None) -> str:
    """``13.5 % of the labels (140 of 1,034)``, ``all 1,437 labels``, ``no labels``."""
    if share and share >= 1 and count is not None:
        return f"all {counted(round(count), 'label')}"
    text = share_text(share)
    if not share or count is None or share >= 1:
        return text
    return f"{text} ({number(count)}{f' of {number(known)}' if known else ''})"


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


def listed(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def capital(text: str) -> str:
    """With a capital first letter, unless the first word has capitals of its own (kNN, mAP@R)."""
    first = text.split(" ")[0]
    return text if first != first.lower() else text[:1].upper() + text[1:]


def with_article(words: str) -> str:
    """``an accuracy``, ``a macro F1``."""
    vowel = words[:1].lower() in "aeiou" or words.startswith(("F1", "R²"))
    return f"a{'n' if vowel else ''} {words}"
