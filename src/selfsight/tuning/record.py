"""What a study leaves: ``trials.csv``, ``best.yaml``, ``tuning.json``."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfsight.files import write_text
from selfsight.tuning.space import Space
from selfsight.tuning.study import original_number, was_killed

if TYPE_CHECKING:
    import optuna

COLUMNS = (  # of trials.csv
    *("number", "state", "value", "epochs", "best_epoch"),
    *("reason", "seconds", "worker", "retry_of"),
)
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Tuned:
    """A finished study.

    Attributes:
        folder: of ``study.journal``, ``trials.csv``, ``best.yaml``, ``tuning.json`` and
            ``report.html``.
        found: what ``tuning.json`` holds.
    """

    folder: Path
    found: dict[str, Any]

    @property
    def best(self) -> dict[str, Any]:
        """Number, value and settings of the best trial."""
        return dict(self.found["best"])

    def __str__(self) -> str:
        return "\n".join([*self.found["answer"], f"The study: {self.folder / 'report.html'}"])


def trial_rows(study: optuna.Study, space: Space) -> list[dict[str, Any]]:
    """One row a trial, in order; settings that were fixed are left out."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "WAITING":
            continue
        first, notes = original_number(trial), trial.user_attrs
        row = {
            "number": trial.number,
            "state": "killed" if was_killed(trial) else _STATES[trial.state.name],
            "value": trial.value if trial.state.name == "COMPLETE" else None,
            "retry_of": first if first != trial.number else None,
            "reason": notes.get("reason", ""),
            "worker": notes.get("worker", ""),
            **{name: notes.get(name) for name in ("epochs", "best_epoch", "seconds")},
        }
        own = {name: trial.params.get(name) for name in space.searched}
        rows.append({**{name: row[name] for name in COLUMNS}, **own})
    return rows


def write_trials(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: "" if v is None else repr(v) if isinstance(v, float) else v for k, v in row.items()}
        for row in rows
    )
    write_text(path, text.getvalue())


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many trials were made, and how they ended."""
    states = ("complete", "pruned", "failed", "killed")
    return {
        "made": sum(row["state"] not in ("killed", "running") for row in rows),
        **{state: sum(row["state"] == state for row in rows) for state in states},
        "stopped_early": sum(row["reason"] == "stopped early" for row in rows),
        "epochs": sum(row["epochs"] or 0 for row in rows),
    }


def counts_text(made: dict[str, int]) -> str:
    """``100 trials (61 complete, 30 pruned, 1 failed)``."""
    parts = [f"{made[s]} {s}" for s in ("complete", "pruned", "failed", "killed") if made[s]]
    return f"{made['made']} trials ({', '.join(parts)})"


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each setting explains of what parts good trials from others (PED-ANOVA,
    arXiv:2304.10255), the largest first; empty where the completed trials are too few.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    if len(done) < 10 or len({t.value for t in done}) < 2:
        return {}
    try:
        each = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return {}
    return {name: float(value) for name, value in each.items() if np.isfinite(value)}


def curves(study: optuna.Study) -> dict[int, list[float | None]]:
    """The value after each look of each trial, as far as it got; None where it is not finite."""
    each: dict[int, list[float | None]] = {}
    for trial in study.get_trials(deepcopy=False):
        reported = [value for _, value in sorted(trial.intermediate_values.items())]
        if curve := trial.user_attrs.get("curve") or reported:
            each[trial.number] = [float(v) if np.isfinite(v) else None for v in curve]
    return each
