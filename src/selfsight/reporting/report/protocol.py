"""How the numbers were measured: what was chosen where, and each reading of test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.records.results import ProbeChoice, Reading, variants
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.headline import SINGLE_SEED
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import fraction_text, listed, number

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
        *training_sentences(contents),
        "Everything that a probe chooses (regularisation, neighbours, thresholds) was chosen by "
        "cross-validation inside its labelled subset, nothing on test.",
        *label_sentences(contents),
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
                f"{start}The test images were read {counted(times, 'time')}: once for each probe, "
                "representation, share and draw."
            )
        notes += [start + note for note in run.results.notes]
    sentences += notes
    trained = not all(run.unchanged for run in contents.runs)
    if trained and not any("pretraining seed" in sentence for sentence in sentences):
        sentences.append(SINGLE_SEED)
    return sentences


def training_sentences(contents: ReportContents) -> list[str]:
    """What the trainings saw; some runs took weights as they were."""
    unchanged = [run for run in contents.runs if run.unchanged]
    sentences = [
        f"{contents.start(run)}Nothing was trained on these images: the weights are as they were."
        for run in unchanged
    ]
    if len(unchanged) < len(contents.runs):
        sentences.insert(
            0,
            "Pretraining saw train and unlabelled images only. The last epoch counts; none was "
            "picked.",
        )
    return sentences


def label_sentences(contents: ReportContents) -> list[str]:
    """Which labels the numbers count, as far as the results say so."""
    sentences = []
    for run in contents.runs:
        values = run.results.summary.values if run.results else []
        counts: dict[tuple[str | None, str | None, float], dict[str, float]] = {}
        for value in values:
            if value.fraction is not None and value.num_labels is not None:
                place = counts.setdefault((value.target, value.probe, value.fraction), {})
                place[value.subject] = value.num_labels
        more = [
            (fraction, found["trained"], min(found.values()))
            for (_, _, fraction), found in counts.items()
            if found.get("trained", 0) > min(found.values())
        ]
        start = contents.start(run)
        if more:
            fraction, in_all, of_probe = min(more)
            sentences.append(
                f"{start}The training, what it began with or the choice between trainings read "
                f"labels too: at {fraction_text(fraction)} the probe read {number(of_probe)}, and "
                f"{number(in_all)} were read in all, each counted once."
            )
        elif counts:
            sentences.append(
                f"{start}Labels were read by the probes alone; each number of labels counts all "
                "that were read."
            )
    return sentences


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
