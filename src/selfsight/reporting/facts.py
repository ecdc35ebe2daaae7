"""What was trained on what, the environment, and the settings that differ between runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfsight.reporting.reading import RunContents
from selfsight.reporting.wording import duration, method_name, number


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
