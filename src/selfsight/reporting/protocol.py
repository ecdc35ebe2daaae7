"""How the numbers were come by: what was chosen where, and each reading of test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfsight.reporting.headline import SINGLE_SEED
from selfsight.reporting.reading import RunContents
from selfsight.reporting.wording import fraction_text, listed, number, probe_name, subject_name


def protocol_sentences(runs: Sequence[RunContents]) -> list[str]:
    """What was chosen where, how often test was read, and what the numbers do not say."""
    if not any(run.results for run in runs):
        return ["Nothing has been measured on the test images yet."]
    sentences = [
        "Pretraining saw train and unlabelled images only; the last epoch counts, none was picked.",
        "Whatever was chosen for a probe (regularisation, neighbours, thresholds) was chosen by "
        "cross-validation inside its labelled subset, none of it on test. The number of labels "
        "counts every label that was read.",
    ]
    notes: list[str] = []
    for run in runs:
        start = f"{run.name}: " if len(runs) > 1 else ""
        results = run.results
        if results is None:
            continue
        draws: dict[float | None, int] = {}
        for value in results.summary.values:
            fraction = value.label_fraction
            draws[fraction] = max(draws.get(fraction, 0), value.draws or 0)
        parts = [
            f"{number(count)} at {fraction_text(fraction)}" if (fraction or 0) < 1
            else f"{number(count)} with all labels"
            for fraction, count in sorted(draws.items(), key=lambda pair: pair[0] or 0)
            if fraction is not None and count
        ]  # fmt: skip
        if parts:
            sentences.append(f"{start}Draws of labels: {listed(parts)}.")
        times = len(results.test_readings)
        if times:
            sentences.append(
                f"{start}The test images were read {number(times)} "
                f"time{'s' if times != 1 else ''}, once for each probe, weights, share and draw."
            )
        notes += [start + note for note in results.notes]
    sentences += notes
    if not any("One pretraining seed" in sentence for sentence in sentences):
        sentences.append(SINGLE_SEED)
    return sentences


def readings(run: RunContents) -> list[dict[str, str]]:
    """The log of test readings, counted by probe, weights and share of labels."""
    if run.results is None:
        return []
    together: dict[tuple[Any, ...], list[str]] = {}
    for entry in run.results.test_readings:
        key = tuple(entry.get(name) for name in ("probe", "subject", "label_fraction"))
        together.setdefault(key, []).append(str(entry.get("when", "")))
    return [
        {
            "probe": probe_name(None if probe is None else str(probe)),
            "subject": subject_name(str(weights)),
            "fraction": fraction_text(fraction) if isinstance(fraction, int | float) else "–",
            "times": number(len(times)),
            "first": _moment(min(times)),
            "last": _moment(max(times)),
        }
        for (probe, weights, fraction), times in together.items()
    ]


def _moment(when: str) -> str:
    return when[:16].replace("T", " ")


def choices(run: RunContents) -> list[dict[str, str]]:
    """What each probe chose: over the label draws, by probe, weights and share."""
    together: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in run.results.choices if run.results else []:
        key = tuple(
            entry.get(name) for name in ("data", "target", "probe", "subject", "label_fraction")
        )
        chosen = entry.get("choice")
        if isinstance(chosen, dict):
            together.setdefault(key, []).append(chosen)
    rows = []
    for (data, target, probe, weights, share), made in together.items():
        names = [n for n in made[0] if n not in ("chosen", "temperature", "thresholds")]
        texts = [f"{name} {_alike([_short(one.get(name)) for one in made])}" for name in names]
        if not all(one.get("chosen", True) for one in made):
            texts.append("(fixed default)")
        rows.append(
            {
                "of": " · ".join(str(part) for part in (target, data) if part),
                "probe": probe_name(probe),
                "subject": subject_name(str(weights)),
                "fraction": fraction_text(share),
                "choice": " ".join(texts),
            }
        )
    return rows


def _alike(texts: list[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _short(value: Any) -> str:
    return number(float(value)) if isinstance(value, int | float) else str(value)
