"""What a study leaves: ``trials.csv``, ``best.yaml``, ``tuning.json``."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfsight.files import read_json, write_json, write_text
from selfsight.tuning.plan import Plan
from selfsight.tuning.space import Space
from selfsight.tuning.study import original_number, was_killed

if TYPE_CHECKING:
    import optuna

COLUMNS = (
    "number",
    "state",
    "value",
    "epochs",
    "best_epoch",
    "reason",
    "seconds",
    "worker",
    "retry_of",
)


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


def read_tuned(folder: str | Path) -> Tuned:
    """A finished study back from its folder.

    Raises:
        ValueError: there is none, or its file is damaged.
    """
    folder = Path(folder)
    return Tuned(folder, dict(read_json(folder / "tuning.json")))


def trial_rows(study: optuna.Study, space: Space) -> list[dict[str, Any]]:
    """One row a trial, in order; settings that were fixed are left out."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "WAITING":
            continue
        attributes = trial.user_attrs
        first = original_number(trial)
        rows.append(
            {
                "number": trial.number,
                "state": "killed" if was_killed(trial) else _STATES[trial.state.name],
                "value": trial.value if trial.state.name == "COMPLETE" else None,
                "epochs": attributes.get("epochs"),
                "best_epoch": attributes.get("best_epoch"),
                "reason": attributes.get("reason", ""),
                "seconds": attributes.get("seconds"),
                "worker": attributes.get("worker", ""),
                "retry_of": first if first != trial.number else None,
                **{name: trial.params.get(name) for name in space.searched},
            }
        )
    return rows


_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many trials were made, and how they ended."""
    made = [row for row in rows if row["state"] not in ("killed", "running")]
    return {
        "made": len(made),
        **{
            state: sum(row["state"] == state for row in rows)
            for state in ("complete", "pruned", "failed", "killed")
        },
        "stopped_early": sum(row["reason"] == "stopped early" for row in rows),
        "epochs": sum(row["epochs"] or 0 for row in rows),
    }


def counts_text(found: dict[str, int]) -> str:
    """``100 trials (61 complete, 30 pruned, 1 failed)``."""
    parts = [f"{found[s]} {s}" for s in ("complete", "pruned", "failed", "killed") if found[s]]
    return f"{found['made']} trials ({', '.join(parts)})"


def write_trials(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    names = list(rows[0]) if rows else list(COLUMNS)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if v is None else repr(v) if isinstance(v, float) else v for k, v in row.items()}
        )
    write_text(path, text.getvalue())


def finished(
    plan: Plan, study: optuna.Study, space: Space
) -> tuple[list[dict[str, Any]], optuna.trial.FrozenTrial]:
    """The rows of all trials, which ``trials.csv`` then holds, and the best trial.

    Raises:
        ValueError: no trial was completed.
    """
    rows = trial_rows(study, space)
    write_trials(plan.folder / "trials.csv", rows)
    try:
        return rows, study.best_trial
    except ValueError:
        raise ValueError(
            f"no trial of the study in {plan.folder} was completed; {counts_text(counts(rows))}."
        ) from None


def search_facts(
    plan: Plan, study: optuna.Study, space: Space, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """What ``tuning.json`` says of the search, whatever was searched."""
    return {
        "verb": plan.about["verb"],
        "metric": plan.metric,
        "mode": plan.mode,
        "sampler": plan.search.sampler,
        "pruner": plan.search.pruner,
        "seed": plan.seed,
        "space": space.plain(),
        "searched": space.searched,
        "trials": counts(rows),
        "importances": importances(study),
    }


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of what tells good trials from others each setting explains (PED-ANOVA,
    arXiv:2304.10255), the largest first; empty where the completed trials are too few.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    if len(done) < 10 or len({t.value for t in done}) < 2:
        return {}
    try:
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return {}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def curves(study: optuna.Study) -> dict[int, list[float | None]]:
    """The value after each epoch of each trial, as far as it got; None where it is not finite."""
    found: dict[int, list[float | None]] = {}
    for trial in study.get_trials(deepcopy=False):
        reported = [value for _, value in sorted(trial.intermediate_values.items())]
        curve = trial.user_attrs.get("curve") or reported
        if curve:
            found[trial.number] = [float(v) if np.isfinite(v) else None for v in curve]
    return found


def write_record(
    plan: Plan, found: dict[str, Any], study: optuna.Study, rows: list[dict[str, Any]]
) -> Tuned:
    """``tuning.json``, with the rows of ``trials.csv`` and the curves, and ``report.html``."""
    from selfsight.reporting.tuning import write_tuning_page

    found = {**found, "rows": rows, "curves": curves(study)}
    write_json(plan.folder / "tuning.json", found)
    write_tuning_page(plan.folder)
    return Tuned(plan.folder, found)
