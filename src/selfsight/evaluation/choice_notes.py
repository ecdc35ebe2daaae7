"""Notes on what probes chose inside their labels, or could not choose."""

from __future__ import annotations

from collections import Counter

from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results


def note_representations(results: Results, place: Row) -> None:
    """A note on which representation each probe chose for each subject."""
    together: dict[tuple[str, str], Counter[str]] = {}
    for row in results.choices:
        if row["target"] == place["target"] and "representation" in row["choice"]:
            counts = together.setdefault((row["probe"], row["subject"]), Counter())
            counts[row["choice"]["representation"]] += 1
    for probe in dict.fromkeys(probe for probe, _ in together):
        of_subject = ", ".join(
            f"{subject} stages in {counts['stages']} of {counts.total()}"
            for (of, subject), counts in together.items()
            if of == probe
        )
        results.notes.append(
            f"{place['target']}, {probe}: stages or mean, chosen inside the labels of each fit: "
            f"{of_subject}. Measures without labels are of the mean."
        )


def note_defaults(results: Results, place: Row) -> None:
    """A note where labels were too few to choose by."""
    fixed = sorted(
        {
            (row["probe"], row["label_fraction"])
            for row in results.choices
            if row["evaluation"] == place["evaluation"] and not row["choice"]["chosen"]
        }
    )
    for probe, fraction in fixed:
        results.notes.append(
            f"{place['target']}, {probe} at {100 * fraction:g} %: too few labels to choose by "
            "(fewer than two a class, or than ten, or one group); fixed defaults were used."
        )
