"""The images of each split, and how the target is distributed over them."""

from __future__ import annotations

from collections.abc import Sequence

from selfsight.reporting.distributions import distribution_figure, together_figure
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import listed, number

ORDER = 60
TITLE = "Data"
HEADING = "The data and its splits"
USES = {
    "train": "pretraining and probes",
    "unlabelled": "pretraining",
    "validation": "watching the training",
    "test": "results; no choice depends on it",
}
UNCHANGED_USES = {**USES, "train": "probes", "unlabelled": "", "validation": ""}
"""Of a run that trained nothing."""
MOST_TOGETHER = 40
"""Labels above which the table of labels that occur together is left out."""


def values(contents: ReportContents, page: Page) -> Values:
    """Counts and a distribution for each data set."""
    runs = distinct_data(contents.runs)
    sets = [{"name": run.name, **_of_run(run, str(at), page)} for at, run in enumerate(runs)]
    return {"several": contents.several, "sets": sets}


def _without_target(run: RunContents) -> str:
    """Why no distribution is shown, with the targets that came with the evaluation."""
    values = run.results.summary.values if run.results else []
    later = list(dict.fromkeys(f"“{v.target}”" for v in values if v.target))
    text = "No image had a known target in the training, so there is no distribution to show"
    if not later:
        return f"{text}."
    return f"{text}; {listed(later)} came with the evaluation."


def distinct_data(runs: Sequence[RunContents]) -> list[RunContents]:
    """The runs whose data or splits differ; one stands for those with the same counts."""
    distinct: list[RunContents] = []
    for run in runs:
        print_of = run.about_data.get("fingerprint")
        same = [
            other
            for other in distinct
            if print_of
            and other.about_data.get("fingerprint") == print_of
            and other.splits
            and run.splits
            and other.splits.images == run.splits.images
        ]
        if not same:
            distinct.append(run)
    return distinct


def _of_run(run: RunContents, key: str, page: Page) -> Values:
    splits = run.splits
    if splits is None:
        missing = ["There is no splits.parquet, so the splits are not known."]
        return {"rows": [], "groups": False, "charts": [], "missing": missing}
    rows = [
        {
            "split": side,
            "images": number(count),
            "labelled": number(splits.labelled.get(side, 0)),
            "groups": number(splits.groups.get(side, 0)),
            "use": (UNCHANGED_USES if run.unchanged else USES).get(side, ""),
        }
        for side, count in splits.images.items()
    ]
    charts, missing = [], []
    drawn = distribution_figure(splits)
    if drawn is None:
        missing = [_without_target(run)]
    else:
        name = f"“{splits.target}”" if splits.target else "The target"
        title = f"{name}, as a share of each split"
        if splits.kind == "labels":
            title += " (an image may have several)"
        sides = [(f"--split-{side}", side) for side in splits.images if splits.labelled.get(side)]
        plot = page.plot(f"data-{key}", drawn, title)
        charts.append({"title": title, "legend": sides, "plot": plot, "open": True})
        if splits.kind == "labels" and 1 < len(splits.together) <= MOST_TOGETHER:
            title = "Which labels occur together in train"
            label = "Of the train images with a label, the share that has another label too"
            plot = page.plot(f"together-{key}", together_figure(splits.together), label)
            charts.append({"title": title, "legend": [], "plot": plot, "open": False})
    return {"rows": rows, "groups": bool(splits.groups), "charts": charts, "missing": missing}
