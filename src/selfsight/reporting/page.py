"""The report: one self-contained HTML file made of what one or several run folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from selfsight.reporting.facts import (
    differing_settings,
    differing_views,
    environment_rows,
    facts,
    method_of,
)
from selfsight.reporting.figures import results_figure
from selfsight.reporting.headline import SINGLE_SEED, further, headline, main_questions
from selfsight.reporting.labelfree import measure_tables, ranking
from selfsight.reporting.maps import map_section
from selfsight.reporting.outcomes import confusion_sections, number_sections
from selfsight.reporting.protocol import choices, protocol_sentences, readings
from selfsight.reporting.questions import Question, questions_of
from selfsight.reporting.reading import RunContents, read_run
from selfsight.reporting.rendering import write_page
from selfsight.reporting.sections import (
    Figures,
    Section,
    collapse_warning,
    curve_sections,
    data_section,
    views_section,
)
from selfsight.reporting.tables import label_tables, results_table
from selfsight.reporting.wording import listed, method_name, metric_name, probe_name, value_text
from selfsight.runs.folder import RunFolder

MAP_POINTS = 1500
SECTIONS = (
    ("what", "What was trained"),
    ("results", "Results"),
    ("training", "Training"),
    ("data", "Data"),
    ("views", "Views"),
    ("map", "Map"),
    ("protocol", "Protocol"),
    ("environment", "Environment"),
)


def write_report(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one HTML file that opens offline; several runs are compared.

    Args:
        runs: run folders; each of their files is optional.
        out: the HTML file; by default ``report.html`` in the (first) run, or
            ``comparison.html`` there for several.

    Returns:
        The path of the file.

    Raises:
        ValueError: no run is given, there is no such folder, or a file of one is damaged.
    """
    if not runs:
        raise ValueError("report: name at least one run folder.")
    folders = list(dict.fromkeys(Path(run) for run in runs))
    found = _with_own_names([read_run(folder) for folder in folders])
    if out is None:
        first = RunFolder(folders[0])
        out = first.report if len(folders) == 1 else first.path / "comparison.html"
    figures: Figures = {}
    blocks: dict[str, Any] = {}
    values = _values(found, figures, blocks)
    return write_page(Path(out), "template.html", figures, blocks, **values)


def _values(runs: list[RunContents], figures: Figures, blocks: dict[str, Any]) -> dict[str, Any]:
    several = len(runs) > 1
    questions = questions_of(runs, [run.name if several else "trained" for run in runs])
    answered = main_questions(questions)
    # the questions of the headline come first, then the others in the order of the files
    questions = answered + [question for question in questions if question not in answered]
    leaks = [(run.name, leak) for run in runs for leak in run.leaks]
    warnings = [
        (f"{run.name} has " if several else "The representations have ", warning)
        for run in runs
        if (warning := collapse_warning(run))
    ]
    data_runs = _distinct_data(runs)
    points = MAP_POINTS // len(runs)
    return {
        "title": _title(runs),
        "made": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "body_class": " ".join(
            name for name, holds in (("comparison", several), ("leaked", leaks)) if holds
        ),
        "comparison": several,
        "leaks": leaks,
        "warnings": warnings,
        "headlines": [headline(question) for question in answered] or [_unanswered(runs)],
        "further": []
        if several
        else [sentence for question in answered for sentence in further(question)],
        "single_seed": SINGLE_SEED,
        "sections": SECTIONS,
        "runs": [_about(run, index) for index, run in enumerate(runs)],
        "all_notes": _notes(runs),
        "fact_names": list(dict.fromkeys(name for run in runs for name in facts(run))),
        "differing": differing_settings(runs) if several else [],
        "differing_views": differing_views(runs) if several else [],
        "questions": [_drawn(question, at, figures) for at, question in enumerate(questions)],
        "of_labels": [table for run in runs for table in label_tables(run, several)],
        "confusions": confusion_sections(runs, figures),
        "predicted": number_sections(runs, figures),
        "measures": measure_tables(runs),
        "ranking": ranking(runs, questions),
        "missing_results": _missing_results(runs),
        "curves": curve_sections(runs, figures),
        "missing_curves": [
            f"{run.name}: there is no metrics.csv, so its curves are not known."
            if several
            else "There is no metrics.csv, so the curves are not known."
            for run in runs
            if not run.metrics
        ],
        "data": [data_section(run, str(at), figures) for at, run in enumerate(data_runs)],
        "views": [views_section(run, 4 if several else 8) for run in runs],
        "maps": [map_section(run, str(at), figures, blocks, points) for at, run in enumerate(runs)],
        "protocol": protocol_sentences(runs),
        "folders": listed([str(run.path) for run in runs]),
    }


def _about(run: RunContents, index: int) -> Section:
    missing = []
    if run.settings is None:
        missing.append("There is no settings.yaml, so the method and its settings are not known.")
    if run.environment is None:
        missing.append("There is no environment.json, so data, time and device are not known.")
    return {
        "name": run.name,
        "facts": facts(run),
        "missing_facts": missing,
        "readings": readings(run),
        "choices": choices(run),
        "environment": environment_rows(run),
        "settings": yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
        if run.settings
        else "",
    }


def _notes(runs: list[RunContents]) -> list[tuple[str, list[str]]]:
    """What was guessed, skipped or converted; runs with the same notes together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        notes: list[str] = []
        for holder in (run.about_data, run.environment or {}):
            found = holder.get("notes")
            notes += [str(note) for note in found] if isinstance(found, list) else []
        together.setdefault(tuple(dict.fromkeys(notes)), []).append(run.name)
    return [(listed(names), list(notes)) for notes, names in together.items() if notes]


def _drawn(question: Question, at: int, figures: Figures) -> Section:
    """A question's panels (one a probe) and its table."""
    panels = []
    title = metric_name(question.metric)
    if any(question.fractions):
        for place, probe in enumerate(question.probes):
            name = f"results-{at}-{place}"
            figures[name] = results_figure(question, probe)
            ends = []
            for series in question.series:
                values = [question.value(series, probe, f) for f in question.fractions]
                known = [value_text(question.metric, v.mean) for v in values if v is not None]
                if known:
                    ends.append(f"{series.name} {', '.join(known)}")
            alt = f"{title} over the number of labels, {probe_name(probe)}: {'; '.join(ends)}."
            panels.append({"id": name, "name": probe_name(probe), "alt": alt})
    table = results_table(question)
    return {"series": question.series, "panels": panels, "table": table}


def _missing_results(runs: list[RunContents]) -> list[str]:
    sentences = []
    for run in runs:
        start = f"{run.name}: " if len(runs) > 1 else ""
        if run.results is None:
            sentences.append(
                f"{start}There is no results.json: this run has not been evaluated. "
                f"`selfsight evaluate {run.path}` fits the probes and the controls."
            )
        elif not run.results.summary.values:
            sentences.append(f"{start}results.json holds no summary, so there is nothing to chart.")
    return sentences


def _unanswered(runs: list[RunContents]) -> str:
    if len(runs) > 1:
        return "None of these runs has been evaluated yet: what they are worth is not known."
    return "This run has not been evaluated yet: what its representation is worth is not known."


def _title(runs: list[RunContents]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs compared"
    run = runs[0]
    method = method_of(run)
    data = run.about_data.get("name") or run.setting("data")
    if not method or not data:
        return run.name
    return f"{method_name(method)} on {data}"


def _distinct_data(runs: list[RunContents]) -> list[RunContents]:
    """The runs whose data or splits differ; one stands for those with the same counts."""
    found: list[RunContents] = []
    for run in runs:
        print_of = run.about_data.get("fingerprint")
        same = [
            other
            for other in found
            if print_of
            and other.about_data.get("fingerprint") == print_of
            and other.splits
            and run.splits
            and other.splits.images == run.splits.images
        ]
        if not same:
            found.append(run)
    return found


def _with_own_names(runs: list[RunContents]) -> list[RunContents]:
    """Runs of folders of one name are told apart by the folder above."""
    from dataclasses import replace

    names = [run.name for run in runs]
    return [
        run
        if names.count(run.name) == 1
        else replace(run, name="/".join(run.path.resolve().parts[-2:]))
        for run in runs
    ]
