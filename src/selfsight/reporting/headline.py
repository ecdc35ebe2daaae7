"""The answer in words: what the trained representation is worth beside its controls."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from selfsight.reporting.questions import Question, Series
from selfsight.reporting.reading import Difference, Value
from selfsight.reporting.wording import (
    NO_BREAK,
    amount,
    difference_text,
    in_percent,
    interval_text,
    labels_text,
    listed,
    metric_name,
    number,
    subject_name,
    unit_of_difference,
    value_text,
)
from selfsight.vocabulary import headline as headline_metric

PRIMARY = tuple(map(headline_metric, ("class", "labels", "number", "identity")))
"""Metrics that the headline takes first: fixed by the kind of the target, never the best one."""
WITH_PROBE = {
    "linear": "a linear probe",
    "knn": "kNN",
    "ridge": "ridge regression",
    "mlp": "an MLP probe",
    "finetune": "fine-tuning",
    "retrieval": "the nearest image",
}
SINGLE_SEED = (
    "Each run is one pretraining seed: the intervals are over label draws and test images, and a "
    "difference between runs supports no claim between methods."
)


def main_questions(questions: Sequence[Question]) -> list[Question]:
    """One for each data set, target and split: the primary metric where there is one."""
    best: dict[tuple[object, ...], Question] = {}
    for question in questions:
        key = (question.data, question.target, question.task, question.split)
        if key not in best or (question.metric in PRIMARY and best[key].metric not in PRIMARY):
            best[key] = question
    on_test = [question for question in best.values() if question.split in ("test", None)]
    return [question for question in on_test or best.values() if _answer(question)]


def headline(question: Question) -> Markup:
    """With the fewest labels, the first probe of a fixed order, beside each control."""
    found = _answer(question)
    assert found is not None
    probe, fraction = found
    runs = [series for series in question.series if series.trained]
    start = Markup("With {}, {} ").format(
        _labels(question, probe, fraction), WITH_PROBE.get(probe or "", probe)
    )
    if len(runs) == 1:
        value = question.value(runs[0], probe, fraction)
        of = "trained representation"
        if runs[0].name != "trained":  # one of several runs on the page
            of = f"representation of {runs[0].name}"
        return (
            start
            + f"on the {of} reaches "
            + _reached(question, value)
            + _where(question)
            + _against(question, runs[0], probe, fraction)
            + "."
        )
    parts = [
        Markup("{} with {}").format(_number(question, value), series.name)
        for series in runs
        if (value := question.value(series, probe, fraction)) is not None
    ]
    title = f" {metric_name(question.metric)}" if question.metric else ""
    return (
        start
        + Markup("reaches{}{} of ").format(_where(question), f" a{_vowel(title)}{title}")
        + Markup(" and ").join([Markup(", ").join(parts[:-1]), parts[-1]])
        + "."
    )


def further(question: Question) -> list[Markup]:
    """The same probe with all labels, and the other probes, one sentence each."""
    found = _answer(question)
    runs = [series for series in question.series if series.trained]
    if found is None or len(runs) != 1:
        return []
    first_probe, first = found
    last = _fractions(question)[-1]
    places = [(first_probe, last)] if last != first else []
    places += [
        (probe, fraction)
        for probe in question.probes
        if probe != first_probe
        for fraction in dict.fromkeys((first, last))
    ]
    sentences = []
    for probe, fraction in places:
        value = question.value(runs[0], probe, fraction)
        if value is not None:
            name = WITH_PROBE.get(probe or "", str(probe))
            sentences.append(
                Markup("{} with {}: ").format(
                    name[:1].upper() + name[1:] if name != "kNN" else name,
                    _labels(question, probe, fraction),
                )
                + _number(question, value)
                + _against(question, runs[0], probe, fraction)
                + "."
            )
    return sentences


def verdict_text(difference: Difference) -> str:
    """``21.4 points above`` or ``0.4 below``; a control's name follows."""
    size = amount(difference.metric, abs(difference.mean or 0.0))
    side = "above" if (difference.mean or 0.0) >= 0 else "below"
    return f"{size}{unit_of_difference(difference.metric)} {side}"


def _answer(question: Question) -> tuple[str | None, float | None] | None:
    for series in question.series:
        if series.trained:
            for probe in question.probes:
                for fraction in _fractions(question):
                    value = question.value(series, probe, fraction)
                    if value is not None and value.mean is not None:
                        return probe, fraction
    return None


def _fractions(question: Question) -> list[float | None]:
    return [fraction for fraction in question.fractions if fraction] or [None]


def _labels(question: Question, probe: str | None, fraction: float | None) -> str:
    if fraction is None:
        return "no labels"
    count = question.labels(probe, fraction)
    if fraction < 1:
        text = labels_text(fraction, count)
        return text.replace(f"{NO_BREAK}%", f"{NO_BREAK}% of the labels", 1)
    return "all labels" if count is None else f"all {number(count)} labels"


def _number(question: Question, value: Value) -> Markup:
    between = interval_text(question.metric, value.low, value.high)
    return Markup("<strong>{}</strong>{}").format(
        value_text(question.metric, value.mean), f" ({between})" if between else ""
    )


def _reached(question: Question, value: Value | None) -> Markup:
    assert value is not None
    title = metric_name(question.metric)
    between = interval_text(question.metric, value.low, value.high)
    shown = Markup("<strong>{}</strong>").format(value_text(question.metric, value.mean))
    if not in_percent(question.metric):
        shown = Markup("a{} {} of ").format(_vowel(f" {title}"), title) + shown
    else:
        shown += f" {title}"
    return shown + (f" ({between})" if between else "")


def _where(question: Question) -> str:
    split = "" if question.split in (None, "test") else f" on {question.split}"
    return split or (f" on the test images of {question.data}" if question.data else " on test")


def _against(
    question: Question, series: Series, probe: str | None, fraction: float | None
) -> Markup:
    """``: 21.4 points above raw pixels and no better than the untrained backbone (+0.3...)``."""
    run = series.runs[0]
    above: list[str] = []
    below: list[str] = []
    neither: list[str] = []
    for control in question.controls:
        difference = question.difference(run, control, probe, fraction)
        if difference is None:
            continue
        name = f"the {subject_name(control)}" if control == "untrained" else subject_name(control)
        if difference.verdict == "no better than the control":
            between = interval_text(question.metric, difference.low, difference.high, signed=True)
            shown = difference_text(question.metric, difference.mean)
            shown += unit_of_difference(question.metric)
            neither.append(f"{name} ({shown}{', ' + between if between else ''})")
        else:
            (below if difference.verdict == "worse" else above).append(
                f"{verdict_text(difference)} {name}"
            )
    parts = []
    if above:
        parts.append(Markup("{}").format(listed(above)))
    if below:
        parts.append(Markup("<em>{}</em>").format(listed(below)))
    if neither:
        parts.append(Markup("<em>no better than</em> {}").format(listed(neither, "or")))
    if not parts:
        return Markup("")
    joined = parts[0]
    for part in parts[1:]:
        joined += Markup(", but " if above and joined is parts[0] else ", and ") + part
    return Markup(": ") + joined


def _vowel(words: str) -> str:
    return "n" if words.strip()[:1].lower() in "aeiou" or words.strip() == "R²" else ""
