"""How the numbers were measured: what was chosen where, and each reading of test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfsight import vocabulary
from selfsight.records import ProbeChoice, Reading, variants
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.headline import SINGLE_SEED
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import fraction_text, listed, number, plural

ORDER = 90
TITLE = "Protocol"
HEADING = "How this was measured"


def values(contents: ReportContents, page: Page) -> Values:
    """Sentences, and two tables for each run: choices and readings of test."""
    return {
        "sentences": protocol_sentences(contents),
        "runs": [
            {"start": contents.start(run), "choices": choices(run), "readings": readings(run)}
            for run in contents.runs
        ],
    }


def protocol_sentences(contents: ReportContents) -> list[str]:
    """What was chosen where, how often test was read, and what the numbers do not say."""
    if not any(run.results for run in contents.runs):
        return ["Nothing has been measured on the test images yet."]
    sentences = [
        "Pretraining saw train and unlabelled images only. The last epoch counts; none was picked.",
        "Everything that a probe chooses (regularisation, neighbours, thresholds) was chosen by "
        "cross-validation inside its labelled subset, nothing on test. " + _label_count(contents),
    ]
    notes: list[str] = []
    for run in contents.runs:
        start = contents.start(run)
        if run.results is None:
            continue
        draws: dict[float, int] = {}
        for value in run.results.summary.values:
            if value.fraction is not None:
                count = value.draws or 0
                draws[value.fraction] = max(draws.get(value.fraction, 0), count)
        parts = [
            f"{number(count)} at {fraction_text(fraction)}"
            if fraction < 1
            else f"{number(count)} with all labels"
            for fraction, count in sorted(draws.items())
            if count
        ]
        if parts:
            sentences.append(f"{start}Draws of labels: {listed(parts)}.")
        times = len(run.results.test_readings)
        if times:
            sentences.append(
                f"{start}The test images were read {plural(times, 'time')}: once for each probe, "
                "representation, share and draw."
            )
        notes += [start + note for note in run.results.notes]
    sentences += notes
    if not any("pretraining seed" in sentence for sentence in sentences):
        sentences.append(SINGLE_SEED)
    return sentences


def _label_count(contents: ReportContents) -> str:
    """What the numbers of labels count, by whether a training has read some."""
    read = [
        run
        for run in contents.runs
        if any(str(n).startswith("The training reads") for n in _training_notes(run))
    ]
    if read:
        return (
            "The number of labels counts those that the probe read; the training has read labels "
            "too, as its notes say."
        )
    return "The number of labels counts every label that was read."


def _training_notes(run: RunContents) -> list[object]:
    notes = (run.environment or {}).get("notes")
    return notes if isinstance(notes, list) else []


def readings(run: RunContents) -> list[dict[str, str]]:
    """The log of test readings, counted by probe, subject and share of labels."""
    together: dict[tuple[str | None, str, float | None], list[Reading]] = {}
    for entry in run.results.test_readings if run.results else []:
        together.setdefault((entry.probe, entry.subject, entry.fraction), []).append(entry)
    return [
        {
            "probe": vocabulary.probe(probe).title,
            "subject": vocabulary.subject(subject).title,
            "fraction": fraction_text(fraction),
            "times": number(len(entries)),
            "first": _moment(min(entry.when for entry in entries)),
            "last": _moment(max(entry.when for entry in entries)),
        }
        for (probe, subject, fraction), entries in together.items()
    ]


def _moment(when: str) -> str:
    return when[:16].replace("T", " ")


def choices(run: RunContents) -> list[dict[str, str]]:
    """What each probe chose: over the label draws, by probe, subject and share."""
    together: dict[tuple[Any, ...], list[ProbeChoice]] = {}
    ways = variants(run.results.evaluations) if run.results else {}
    for entry in run.results.choices if run.results else []:
        way = ways.get(entry.evaluation)
        key = (entry.data, way, entry.target, entry.probe, entry.subject, entry.fraction)
        together.setdefault(key, []).append(entry)
    rows = []
    for (data, way, target, probe, subject, share), entries in together.items():
        of_draws = [entry.choice for entry in entries]
        names = [n for n in of_draws[0] if n not in ("chosen", "temperature", "thresholds")]
        texts = [f"{name} {_alike([_short(one.get(name)) for one in of_draws])}" for name in names]
        if not all(one.get("chosen", True) for one in of_draws):
            texts.append("(fixed default)")
        rows.append(
            {
                "of": " · ".join(str(part) for part in (target, data, way) if part),
                "probe": vocabulary.probe(probe).title,
                "subject": vocabulary.subject(subject).title,
                "fraction": fraction_text(share),
                "choice": " ".join(texts),
            }
        )
    return rows


def _alike(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _short(value: Any) -> str:
    return number(float(value)) if isinstance(value, int | float) else str(value)
