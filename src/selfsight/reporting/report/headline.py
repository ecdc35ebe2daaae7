"""The answer in words: what the trained representation is worth beside its controls."""

from __future__ import annotations

from markupsafe import Markup

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.records.results import Difference, Value
from selfsight.reporting.report.questions import Question, Series
from selfsight.reporting.words import (
    capital,
    labels_text,
    listed,
    unit_of_difference,
    with_article,
)
from selfsight.vocabulary import (
    amount,
    difference_text,
    in_percent,
    interval_text,
    value_text,
)

SINGLE_SEED = (
    "Each run is one pretraining with one seed: the intervals cover label draws and test images, "
    "not seeds, so a difference between runs supports no claim about methods."
)


def headline(question: Question) -> Markup:
    """With the fewest labels, the first probe of a fixed order, beside each control."""
    place = question.place()
    assert place is not None
    probe, fraction = place
    runs = [series for series in question.series if series.trained]
    start = Markup("{} {}, {} ").format(
        Markup("<strong>{}:</strong> with").format(question.target) if question.named else "With",
        _labels(question, probe, fraction),
        vocabulary.probe(probe).phrase,
    )
    if len(runs) == 1:
        value = question.value(runs[0], probe, fraction)
        name = runs[0].name  # of the run, where the page has several
        of = "trained representation" if name == "trained" else f"representation of {name}"
        return (
            start
            + f"on the {of} reaches "
            + _reached(question, value)
            + _where(question)
            + _against(question, runs[0], probe, fraction)
            + "."
            + _advice(question, runs[0], probe, fraction)
        )
    parts = [
        Markup("{} with {}").format(_number(question, value), series.name)
        for series in runs
        if (value := question.value(series, probe, fraction)) is not None
    ]
    title = with_article(vocabulary.metric(question.metric).title)
    return (
        start
        + Markup("reaches {} of ").format(title)
        + Markup(" and ").join([Markup(", ").join(parts[:-1]), parts[-1]])
        + f",{_where(question)}."
    )


def _advice(question: Question, series: Series, probe: str | None, fraction: float | None) -> str:
    """What to do where the training added nothing to the weights that it began with."""
    difference = question.difference(series.runs[0], "start", probe, fraction)
    if difference is None or difference.verdict not in ("no better than the control", "worse"):
        return ""
    return (
        " The training added nothing that these images show: use the weights as they were "
        "(--epochs 0), and try more or larger images, or another method."
    )


def further(question: Question) -> list[Markup]:
    """The same probe with all labels, and the other probes, one sentence each."""
    place = question.place()
    runs = [series for series in question.series if series.trained]
    if place is None or len(runs) != 1:
        return []
    first_probe, first = place
    last = question.ends[1]
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
            sentences.append(
                Markup("{} with {}{}: ").format(
                    capital(vocabulary.probe(probe).phrase),
                    _labels(question, probe, fraction),
                    f", for {question.target}" if question.named else "",
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


def _labels(question: Question, probe: str | None, fraction: float | None) -> str:
    """``1 % of the labels (15)``, and how many were read in all where that is more."""
    count, in_all = question.labels(probe, fraction), question.labels_in_all(probe, fraction)
    share, known = question.share(probe, fraction), question.known(probe, fraction)
    text = labels_text(share, count, known)
    if count is None or in_all is None or in_all <= count:
        return text
    return f"{text} for the probe and {counted(round(in_all), 'label')} read in all"


def _number(question: Question, value: Value) -> Markup:
    between = interval_text(question.metric, value.low, value.high)
    return Markup("<strong>{}</strong>{}").format(
        value_text(question.metric, value.mean), f" ({between})" if between else ""
    )


def _reached(question: Question, value: Value | None) -> Markup:
    assert value is not None
    title = vocabulary.metric(question.metric).title
    between = interval_text(question.metric, value.low, value.high)
    shown = Markup("<strong>{}</strong>").format(value_text(question.metric, value.mean))
    if not in_percent(question.metric):
        shown = Markup("{} of ").format(with_article(title)) + shown
    else:
        shown += f" {title}"
    return shown + (f" ({between})" if between else "")


def _where(question: Question) -> str:
    split = "" if question.split in (None, "test") else f" on {question.split}"
    way = f" ({question.way})" if question.way else ""
    where = f" on the test images of {question.data}" if question.data else " on test"
    return (split or where) + way


def _against(
    question: Question, series: Series, probe: str | None, fraction: float | None
) -> Markup:
    """``: 21.4 points above raw pixels, and no better than an untrained backbone (+0.3...)``."""
    run = series.runs[0]
    above: list[str] = []
    below: list[str] = []
    neither: list[str] = []
    unknown: list[str] = []
    for control in question.controls:
        difference = question.difference(run, control, probe, fraction)
        if difference is None:
            continue
        name = vocabulary.subject(control).phrase
        if difference.verdict == "no verdict":
            unknown.append(f"{name} ({difference.reason})")
        elif difference.verdict == "no better than the control":
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
    if unknown:
        parts.append(Markup("<em>no verdict beside</em> {}").format(listed(unknown)))
    if not parts:
        return Markup("")
    joined = parts[0]
    for part in parts[1:]:
        joined += Markup(", but " if above and joined is parts[0] else ", and ") + part
    return Markup(": ") + joined
