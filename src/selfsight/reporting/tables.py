"""The full table of results, the facts of a run, the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from selfsight.reporting.questions import Question
from selfsight.reporting.reading import Difference, RunContents, Value
from selfsight.reporting.wording import (
    difference_text,
    duration,
    fraction_text,
    interval_text,
    method_name,
    metric_name,
    number,
    probe_name,
    share_text,
    unit_of_difference,
    value_text,
    weights_name,
)


@dataclass(frozen=True)
class Cell:
    """A number, its interval below it, and what it is called where it is no gain."""

    main: str
    interval: str = ""
    verdict: str = ""
    tone: str = ""
    against: list[tuple[str, str]] = field(default_factory=list)
    """Differences to the controls and their tone, where they have no column of their own."""


@dataclass(frozen=True)
class Row:
    fraction: str
    labels: str
    draws: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Rows of one probe together, in the order of `columns`."""

    title: str
    columns: list[tuple[str, str]]
    """Heading and colour of each."""
    blocks: list[tuple[str, list[Row]]]
    differences: bool


def results_table(question: Question) -> Table:
    """A column for each weights; with one run, then one for the difference to each control."""
    runs = {run for series in question.series for run in series.runs}
    apart = len(runs) == 1
    columns = [(series.name, series.color) for series in question.series]
    if apart:
        columns += [(f"trained − {weights_name(control)}", "") for control in question.controls]
    blocks = []
    for probe in question.probes:
        rows = []
        for fraction in question.fractions:
            cells, draws = _value_cells(question, probe, fraction, apart)
            if not draws:
                continue
            if apart:
                cells += [
                    _difference_cell(question.difference(min(runs), control, probe, fraction))
                    for control in question.controls
                ]
            labels = number(question.labels(probe, fraction))
            shown = number(max(draws)) if max(draws) else "–"
            rows.append(Row(fraction_text(fraction), labels, shown, cells))
        if rows:
            blocks.append((probe_name(probe), rows))
    return Table(question_title(question), columns, blocks, bool(question.controls))


def question_title(question: Question) -> str:
    """``accuracy of "label" on cifar10, test``."""
    title = metric_name(question.metric)
    title = title[:1].upper() + title[1:]
    if question.target:
        title += f" of “{question.target}”"
    if question.data:
        title += f" on {question.data}"
    return f"{title}, {question.split}" if question.split else title


def _value_cells(
    question: Question, probe: str | None, fraction: float | None, apart: bool
) -> tuple[list[Cell], list[int]]:
    cells, draws = [], []
    for series in question.series:
        value = question.value(series, probe, fraction)
        if value is None:
            cells.append(Cell("–"))
            continue
        draws.append(value.draws or 0)
        against: list[tuple[str, str]] = []
        if series.trained and not apart:
            for control in question.controls:
                difference = question.difference(series.runs[0], control, probe, fraction)
                if difference is not None:
                    against.append(_against(difference))
        main = value_text(question.metric, value.mean)
        between = interval_text(question.metric, value.low, value.high)
        tone = "trained" if series.trained else ""
        cells.append(Cell(main, between, tone=tone, against=against))
    return cells, draws


def _difference_cell(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell("–")
    metric = difference.metric
    verdict = difference.verdict or ""
    return Cell(
        difference_text(metric, difference.mean) + unit_of_difference(metric),
        interval_text(metric, difference.low, difference.high, signed=True),
        "" if verdict == "better" else verdict,
        _tone(difference),
    )


def _tone(difference: Difference) -> str:
    return {"better": "better", "worse": "worse"}.get(difference.verdict or "", "neither")


def _against(difference: Difference) -> tuple[str, str]:
    name = weights_name(difference.control)
    if _tone(difference) == "neither":
        return f"no better than {name}", "neither"
    return f"{difference_text(difference.metric, difference.mean)} vs {name}", _tone(difference)


@dataclass(frozen=True)
class LabelTable:
    """What each label reaches with the most labels: a row a label, a column a weights."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def label_tables(run: RunContents, named: bool) -> list[LabelTable]:
    """One table for each metric and probe that is given by label, at its largest share."""
    values = [v for v in run.results.summary.values if v.label is not None] if run.results else []
    together: dict[tuple[str | None, ...], list[Value]] = {}
    for value in values:
        key = (value.data, value.target, value.probe, value.metric, value.split)
        together.setdefault(key, []).append(value)
    tables = []
    for (data, target, probe, metric, split), group in together.items():
        most = max(value.label_fraction or 0.0 for value in group)
        group = [value for value in group if (value.label_fraction or 0.0) == most]
        weights = list(dict.fromkeys(value.weights for value in group))
        cells = {(value.label, value.weights): value for value in group}
        rows = [
            (str(label), [_label_cell(cells.get((label, weight))) for weight in weights])
            for label in dict.fromkeys(value.label for value in group)
        ]
        title = metric_name(str(metric))
        parts = [target, data, split, probe_name(probe), share_text(most)]
        title = f"{title[:1].upper()}{title[1:]}: {', '.join(part for part in parts if part)}"
        title = f"{run.name}: {title}" if named else title
        tables.append(LabelTable(title, [weights_name(weight) for weight in weights], rows))
    return tables


def _label_cell(value: Value | None) -> Cell:
    if value is None:
        return Cell("–")
    tone = "trained" if value.weights == "trained" else ""
    between = interval_text(value.metric, value.low, value.high)
    return Cell(value_text(value.metric, value.mean), between, tone=tone)


def facts(run: RunContents) -> dict[str, str]:
    """What was trained on what, as name -> text; what is not known is left out."""
    environment, data = run.environment or {}, run.about_data
    shape = ""
    if {"height", "width", "channels"} <= data.keys():
        channels = data["channels"]
        shape = f"{data['height']} × {data['width']} pixels, {channels} channel"
        shape += ("s" if channels != 1 else "") + f", {data.get('dtype', '')}".rstrip(", ")
    pool = ""
    if run.splits is not None:
        seen = [(side, run.splits.images.get(side, 0)) for side in ("train", "unlabelled")]
        pool = " and ".join(f"{number(count)} {side}" for side, count in seen if count) + " images"
    optimizer = run.setting("optimizer.name")
    rate = run.setting("optimizer.lr")
    seconds, speed = environment.get("seconds"), environment.get("images_per_second")
    found = {
        "Method": _method(run),
        "Paper": paper_of(run),
        "Backbone": _text(run.setting("backbone")),
        "Data": " · ".join(filter(None, [_text(data.get("name") or run.setting("data")), shape])),
        "Pretrained on": pool,
        "Epochs": _text(run.setting("epochs")),
        "Batch size": _text(run.setting("batch_size")),
        "Optimizer": f"{optimizer}, learning rate {rate}" if optimizer else "",
        "Seed": _text(run.setting("seed")),
        "Time": duration(float(seconds)) if isinstance(seconds, int | float) else "",
        "Speed": f"{number(float(speed))} images/s" if isinstance(speed, int | float) else "",
        "Device": _text(environment.get("device")),
    }
    return {name: text for name, text in found.items() if text}


def method_of(run: RunContents) -> str | None:
    """The name of the method in the settings."""
    method = run.setting("method")
    name = method.get("name") if isinstance(method, dict) else method
    return str(name) if name else None


def paper_of(run: RunContents) -> str:
    """Where a built-in method is from; a user's file is not run for a report."""
    from selfsight.methods import METHODS, method_names

    named = (run.environment or {}).get("paper")
    if named:
        return str(named)
    name = method_of(run)
    return METHODS[name].paper if name in method_names() else ""


def environment_rows(run: RunContents) -> list[tuple[str, str]]:
    """Versions, commit, fingerprint and command."""
    environment = run.environment or {}
    rows = [
        (name, _text(environment.get(name)))
        for name in ("selfsight", "python", "torch", "lightning", "numpy", "device", "threads")
    ]
    rows.append(("commit", _text(environment.get("commit"))))
    rows.append(("data fingerprint", _text(run.about_data.get("fingerprint"))))
    command = environment.get("command")
    if isinstance(command, list):
        rows.append(("command", " ".join(map(str, command))))
    return [(name, text) for name, text in rows if text]


Differing = list[tuple[str, list[str]]]
"""Dotted name of a setting and its value in each run."""


def differing_settings(runs: Sequence[RunContents]) -> Differing:
    """The settings that are not all alike; of the views only how many there are of each size."""
    flat = []
    for run in runs:
        settings = {name: value for name, value in (run.settings or {}).items() if name != "out"}
        views = settings.pop("views", None)
        flat.append(_flat(settings) | {"views": _sizes(views) or _text(views)})
    return _unlike(flat)


def differing_views(runs: Sequence[RunContents]) -> Differing:
    """The settings that are not alike of the views that all runs have."""
    of_runs = [run.setting("views") for run in runs]
    views = [v if isinstance(v, list) else [] for v in of_runs]
    common = min(map(len, views), default=0)
    return _unlike([_flat({"views": v[:common]}) for v in views])


def _sizes(views: Any) -> str:
    """``2 of 96 px, 8 of 40 px``."""
    if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
        return ""
    sizes = [view.get("size") for view in views]
    counts = {size: sizes.count(size) for size in dict.fromkeys(sizes)}
    return ", ".join(f"{count} of {_text(size)} px" for size, count in counts.items())


def _unlike(flat: Sequence[dict[str, Any]]) -> Differing:
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [(name, [_text(settings.get(name)) or "–" for settings in flat]) for name in names]
    return [(name, texts) for name, texts in rows if len(set(texts)) > 1]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names; a list of settings counts from 1."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(at + 1): item for at, item in enumerate(value)}
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _method(run: RunContents) -> str:
    name = method_of(run)
    return method_name(name) if name else ""


def _text(value: Any) -> str:
    if value is None or value == "" or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    return str(value)
