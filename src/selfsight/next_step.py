"""The one sensible next command after a verb, for people at a terminal.

A verb returns what it made and knows nothing of the command line; what usually comes next stands
here, beside the table of verbs. A verb that ends a piece of work has no next command.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

Step = tuple[list[str], str]
"""The words of a command without ``selfsight``, and what it does or what to do before."""


def next_step(verb: str, settings: Any, result: Any) -> str | None:
    """``Next: selfsight evaluate runs/mine (...)``; None where nothing usually follows.

    Args:
        verb: its name.
        settings: that it ran with.
        result: what it returned; None where it left the rest to other workers.
    """
    after = _AFTER.get(verb)
    step = None if after is None or result is None else after(settings, result)
    if step is None:
        return None
    words, why = step
    if _runs_code(verb, settings, result):
        from selfsight.verbs import VERBS

        words += ["--allow-code"] * ("allow_code" in VERBS[words[0]].settings_class.model_fields)
    # A name that begins with a hyphen would be read as a flag.
    words = [f"./{w}" if w.startswith("-") and Path(w).exists() else w for w in words]
    return f"Next: {shlex.join(['selfsight', *words])} ({why})"


def _runs_code(verb: str, settings: Any, result: Any) -> bool:
    """Whether the backbone is code of the user's own, which no other command runs unasked."""
    if verb != "pretrain":
        return bool(getattr(settings, "allow_code", False))
    from selfsight.networks.specs import code_file

    return code_file(result.spec.name) is not None


def _audit(settings: Any, result: Any) -> Step | None:
    if settings.run is not None:
        return None
    words, why = ["run", settings.data, *_as_opened(settings)], "backbone, evaluation and report"
    audit = result.audit
    if audit.crossings:
        words.append("--drop-leaks")
    if audit.near_leak:
        words.append("--drop-near")
    if audit.crossings or audit.near_leak:
        why = "leaves out the train images that are in test too"
    return words, why


def _compare_starts(settings: Any, result: Any) -> Step | None:
    if result.metric is None:
        return None
    return ["run", settings.data, *_as_opened(settings)], "takes published weights where it can"


def _run(settings: Any, result: Any) -> Step:
    path = str(result.run)
    if any(row["task"] not in ("none", "clusters") for row in result.results.values):
        words = ["finetune", path, "--head-only", "linear", "--out", "model"]
        return words, "a model that predicts the labels; without --head-only all weights learn"
    return ["suggest", path], "which images to label first"


def _pretrain(settings: Any, result: Any) -> Step:
    return ["evaluate", str(result)], "probes beside controls"


def _evaluate(settings: Any, result: Any) -> Step | None:
    folder = result.path.parent
    if settings.features is not None:
        return None
    if Path(settings.run, "model.json").is_file():
        return ["predict", settings.run, "IMAGES", "--out", "predictions.csv"], "for new images"
    page = folder / "report.html"
    why = "writes the page anew: it is older than these results" if page.is_file() else "one page"
    return ["report", str(folder)], why


def _suggest(settings: Any, result: Any) -> Step:
    sheet = str(result.folder / "labels.csv")
    images = [] if settings.data is None else [settings.data]
    words = ["evaluate", settings.run, *images, "--labels", sheet]
    return words, "once its labels are filled in"


def _tune_labels(settings: Any, result: Any) -> Step:
    best = str(result.folder / "best.yaml")
    return ["finetune", "--settings", best, "--out", "model"], "a model with the best settings"


def _tune_pretrain(settings: Any, result: Any) -> Step:
    return ["pretrain", "--settings", str(result.folder / "best.yaml")], "with the best settings"


def _finetune(settings: Any, result: Any) -> Step:
    words = ["predict", str(result), "IMAGES", "--out", "predictions.csv"]
    return words, "for new images"


def _part(settings: Any, result: Any) -> Step | None:
    if getattr(settings, "shard", None) is None:
        return None
    return ["merge", settings.out], "once all parts are written"


def _index(settings: Any, result: Any) -> Step | None:
    return _part(settings, result) or (["explore", settings.out], "all images on one map")


def _merge(settings: Any, result: Any) -> Step | None:
    return (["explore", settings.out], "all images on one map") if result.is_dir() else None


def _pairs(settings: Any, result: Any) -> Step | None:
    if settings.pairs is None:
        return None
    words = ["cluster", settings.index, "--pairs", settings.pairs]
    return words, "groups, at a threshold from these pairs"


_AFTER: dict[str, Callable[[Any, Any], Step | None]] = {
    "audit": _audit,
    "compare-starts": _compare_starts,
    "run": _run,
    "pretrain": _pretrain,
    "evaluate": _evaluate,
    "suggest": _suggest,
    "tune probe": _tune_labels,
    "tune finetune": _tune_labels,
    "tune pretrain": _tune_pretrain,
    "finetune": _finetune,
    "embed": _part,
    "predict": _part,
    "index": _index,
    "merge": _merge,
    "pairs": _pairs,
}


def _as_opened(settings: Any) -> list[str]:
    """The flags that open the same images in the same way, as far as they were given."""
    from selfsight.data.options import DataOptions

    words = []
    for name, field in DataOptions.model_fields.items():
        value = getattr(settings, name)
        if value == field.default:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return words
