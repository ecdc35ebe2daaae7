"""The verb `report`: one self-contained page on one run folder, or on several side by side.

``--to wandb`` also sends it to Weights & Biases.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from selfsight.console import counted, progress
from selfsight.outputs import check_output
from selfsight.reporting.figures import with_colors
from selfsight.reporting.page import Figure, Page, sections_of, write_page
from selfsight.reporting.report.contents import RunContents, read_run, with_own_names
from selfsight.reporting.report.headline import SINGLE_SEED, further, headline
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.report.training import collapse_warning
from selfsight.reporting.report.wandb_report import Published, check_packages, publish
from selfsight.reporting.report.what import data_name, method_title
from selfsight.reporting.words import listed
from selfsight.runs.folder import RunFolder
from selfsight.settings import Settings

MOST_LEAKS = 8


class Report(Settings):
    """Write one self-contained page on one run, or on several side by side."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of finished runs."""
    out: str | None = None
    """The page; by default report.html in the run, or comparison.html in the first of several."""
    to: Literal["wandb"] | None = None
    """Also make a report at Weights & Biases, in the project WANDB_PROJECT (else selfsight)."""


def report(settings: Report) -> Path | Published:
    """Writes one HTML file that opens offline; several runs are compared.

    Args:
        settings: see `Report`.

    Returns:
        The path of the file; with ``settings.to`` also where it was published.

    Raises:
        ValueError: no run is given, there is no such folder, a file of one is damaged, or Weights &
            Biases is not installed or cannot be used.
    """
    if settings.out is not None:
        check_output(settings.out, settings)
    if settings.to is not None:
        check_packages()
    path, contents, page = _written(settings.runs, settings.out)
    if settings.to is None:
        return path
    with progress("sending the report to Weights & Biases"):
        return publish(path, contents, page)


def write_report(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes the page of `report`.

    Args:
        runs: run folders; each of their files is optional.
        out: the HTML file; by default ``report.html`` in the (first) run, or
            ``comparison.html`` there for several.

    Returns:
        The path of the file.

    Raises:
        ValueError: no run is given, there is no such folder, or a file of one is damaged.
    """
    return _written(runs, out)[0]


def figures_of(run: str | Path) -> dict[str, Figure]:
    """The figures of a run's page by their ids, in the colours of the light theme.

    Raises:
        ValueError: there is no such folder, or a file of it is damaged.
    """
    contents = ReportContents.of(with_own_names([read_run(run)]))
    page = _header(contents)
    for section in sections_of(sys.modules[__name__]):
        section.values(contents, page)
    return {name: with_colors(figure) for name, figure in page.figures.items()}


def _written(
    runs: Sequence[str | Path], out: str | Path | None
) -> tuple[Path, ReportContents, Page]:
    if not runs:
        raise ValueError("report: name at least one run folder.")
    named: dict[Path, Path] = {}
    for run in runs:
        named.setdefault(Path(run).resolve(), Path(run))
    folders = list(named.values())
    contents = ReportContents.of(with_own_names([read_run(folder) for folder in folders]))
    if out is None:
        first = RunFolder(folders[0])
        out = first.report if len(folders) == 1 else first.path / "comparison.html"
    page = _header(contents)
    return write_page(Path(out), sys.modules[__name__], contents, page), contents, page


def _header(contents: ReportContents) -> Page:
    runs, several = contents.runs, contents.several
    leaks = [contents.start(run) + leak for run in runs for leak in run.leaks]
    if len(leaks) > MOST_LEAKS:
        more = f"and {len(leaks) - MOST_LEAKS} more, in environment.json and results.json"
        leaks = [*leaks[:MOST_LEAKS], more]
    alarm = (
        "A leak between the splits was allowed: these results are better than the representation "
        "deserves. Do not quote them."
    )
    warnings = [
        (f"{run.name if several else 'The representations'} collapsed.", warning)
        for run in runs
        if (warning := collapse_warning(run))
    ]
    cautions = [contents.start(run) + caution for run in runs for caution in run.cautions]
    warnings += [("Read these results with care.", sentence) for sentence in cautions]
    lines = [sentence for question in contents.answered for sentence in further(question)]
    classes = [name for name, holds in (("comparison", several), ("leaked", leaks)) if holds]
    several_seeds = [] if all(run.unchanged for run in runs) else [SINGLE_SEED]
    return Page(
        kind="report",
        title=_title(runs),
        source=listed([str(run.path) for run in runs]),
        answers=[headline(question) for question in contents.answered] or [_unanswered(runs)],
        further=several_seeds if several else lines,
        alarm=(alarm, leaks) if leaks else None,
        warnings=warnings,
        classes=classes,
    )


def _unanswered(runs: Sequence[RunContents]) -> str:
    """Why there is no headline: nothing was evaluated, or nothing that reads a label."""
    measured = [run for run in runs if run.results is not None and run.results.records]
    if measured:
        splits = {r.split for run in measured if run.results for r in run.results.records}
        where = "the test images" if "test" in splits else "images"
        return (
            f"No probe was scored on {where}: what was measured needs no label, and does not say "
            "what the representation is worth for a task."
        )
    if len(runs) > 1:
        return "None of these runs has been evaluated yet, so nobody knows what they are worth."
    return "This run has not been evaluated yet, so nobody knows what its representation is worth."


def _title(runs: Sequence[RunContents]) -> str:
    if len(runs) > 1:
        return f"{counted(len(runs), 'run')} compared"
    method, data = method_title(runs[0]), data_name(runs[0])
    return f"{method} on {data}" if method and data else runs[0].name
