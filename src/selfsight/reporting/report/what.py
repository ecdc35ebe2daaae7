"""What was trained on what, the notes of the run, and the settings that differ between runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfsight.console import counted
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import duration, listed, number

ORDER = 10
TITLE = "Overview"
HEADING = "Weights, training and data"

Differing = list[tuple[str, list[str]]]
"""Dotted name of a setting and its value in each run."""


def values(contents: ReportContents, page: Page) -> Values:
    """The facts of each run, side by side where there are several."""
    runs = contents.runs
    of_runs = [facts(run) for run in runs]
    names = list(dict.fromkeys(name for one in of_runs for name in one))
    missing = {
        "settings.yaml": "the method and its settings are not known",
        "environment.json": "data, time and device are not known",
    }
    return {
        "several": contents.several,
        "runs": [run.name for run in runs],
        "facts": [(name, [one.get(name, "–") for one in of_runs]) for name in names],
        "differing": differing_settings(runs),
        "differing_views": differing_views(runs),
        "notes": _notes(runs),
        "missing": [
            f"{contents.start(run)}There is no {name}, so {what}."
            for run in runs
            for name, what in missing.items()
            if (run.settings if name == "settings.yaml" else run.environment) is None
        ],
    }


def facts(run: RunContents) -> dict[str, str]:
    """What was trained on what, as name -> text; what is not known is left out."""
    environment, data = run.environment or {}, run.about_data
    shape = ""
    if {"height", "width", "channels"} <= data.keys():
        channels = counted(int(data["channels"]), "channel")
        shape = f"{data['height']} × {data['width']} pixels, {channels}, {data.get('dtype', '')}"
    pool = ""
    if run.splits is not None:
        seen = [(side, run.splits.images.get(side, 0)) for side in ("train", "unlabelled")]
        pool = " and ".join(f"{number(count)} {side}" for side, count in seen if count) + " images"
    optimizer = run.setting("optimizer.name")
    rate = run.setting("optimizer.lr")
    seconds, speed = environment.get("seconds"), environment.get("images_per_second")
    if run.unchanged:
        rows = {
            "Training": "none: the weights are as they were",
            "Weights": _origin(run),
            "Backbone": text(run.setting("backbone")),
            "Data": " · ".join(filter(None, [data_name(run), shape.rstrip(", ")])),
            "Seed": text(run.setting("seed")),
            "Device": text(environment.get("device")),
        }
        return {name: shown for name, shown in rows.items() if shown}
    rows = {
        "Method": method_title(run) or "",
        "Paper": str(_method(run).get("paper") or ""),
        "Backbone": text(run.setting("backbone")),
        "Data": " · ".join(filter(None, [data_name(run), shape.rstrip(", ")])),
        "Pretrained on": pool,
        "Epochs": text(run.setting("epochs")),
        "Batch size": text(run.setting("batch_size")),
        "Optimizer": f"{optimizer}, learning rate {rate}" if optimizer else "",
        "Seed": text(run.setting("seed")),
        "Time": duration(float(seconds)) if isinstance(seconds, int | float) else "",
        "Speed": f"{number(float(speed))} images/s" if isinstance(speed, int | float) else "",
        "Device": text(environment.get("device")),
    }
    return {name: shown for name, shown in rows.items() if shown}


def method_title(run: RunContents) -> str | None:
    """The title that the training noted, or else the name in the settings.

    Where nothing was trained no method is named, but the network and its weights.
    """
    if run.unchanged:
        return f"{text(run.setting('backbone'))} with {run.subject_title('trained')}"
    title = _method(run).get("title")
    if title:
        return str(title)
    method = run.setting("method")
    name = method.get("name") if isinstance(method, dict) else method
    return str(name) if name else None


def _origin(run: RunContents) -> str:
    """Where weights that stayed as they were come from."""
    start = (run.environment or {}).get("start")
    source = start.get("source") if isinstance(start, dict) else None
    return str(source or run.setting("weights") or "")


def data_name(run: RunContents) -> str:
    """How the run calls its images."""
    return text(run.about_data.get("name") or run.setting("data"))


def _method(run: RunContents) -> dict[str, Any]:
    method = (run.environment or {}).get("method")
    return method if isinstance(method, dict) else {}


def _notes(runs: Sequence[RunContents]) -> list[tuple[str, list[str]]]:
    """What was guessed, skipped or converted; runs with the same notes together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        notes: list[str] = []
        for holder in (run.about_data, run.environment or {}):
            lines = holder.get("notes")
            notes += [str(note) for note in lines] if isinstance(lines, list) else []
        together.setdefault(tuple(dict.fromkeys(notes)), []).append(run.name)
    return [(listed(names), list(notes)) for notes, names in together.items() if notes]


def differing_settings(runs: Sequence[RunContents]) -> Differing:
    """The settings that are not all alike; of the views only how many there are of each size."""
    flat = []
    for run in runs:
        settings = {name: value for name, value in (run.settings or {}).items() if name != "out"}
        views = settings.pop("views", None)
        flat.append(_flat(settings) | {"views": _sizes(views) or text(views)})
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
    return ", ".join(f"{count} of {text(size)} px" for size, count in counts.items())


def _unlike(flat: Sequence[dict[str, Any]]) -> Differing:
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [(name, [text(settings.get(name)) or "–" for settings in flat]) for name in names]
    return [(name, texts) for name, texts in rows if len(set(texts)) > 1]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names; a list of settings counts from 1."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(at + 1): item for at, item in enumerate(value)}
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def text(value: Any) -> str:
    """A setting as people write it; empty for nothing."""
    if value is None or value == "" or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(item)}" for name, item in value.items())
    return str(value)
