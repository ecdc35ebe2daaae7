"""The end of `tune pretrain`: the best pretraining run again as a whole, and evaluated once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight import vocabulary
from selfsight.console import duration
from selfsight.evaluation.protocol import Evaluate, evaluate
from selfsight.evaluation.results import Results
from selfsight.files import read_json, write_text
from selfsight.fitting.representations import weights_key
from selfsight.runs.folder import RunFolder
from selfsight.runs.run import load_run
from selfsight.training import plan as planning
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain, method_name
from selfsight.tuning.judge import WORTH
from selfsight.tuning.pretraining import Bench
from selfsight.tuning.record import (
    Tuned,
    counts,
    counts_text,
    finished,
    search_facts,
    write_record,
)
from selfsight.tuning.verdict import same_value, threads
from selfsight.vocabulary import difference_text, interval_text, value_text

if TYPE_CHECKING:
    import optuna


def conclude(bench: Bench, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Trains the best settings again, beside the settings the search began with; evaluates both.

    Raises:
        ValueError: no trial was completed.
    """
    folder = bench.plan.folder
    rows, best = finished(bench.plan, study, bench.space)
    chosen = bench.of(bench.space.settings_of(best.params), folder / f"best-{best.number:04d}")
    write_text(folder / "best.yaml", chosen.updated({"out": None}).to_yaml())
    with threads(best.user_attrs.get("threads")):
        value = trained(bench, chosen)
        equal = same_value(value, best.value)
        default = bench.of({}, folder / "default")
        if best.params == dict(bench.plan.first or {}):
            default = chosen
        else:
            trained(bench, default)
    kept = _kept(folder, best.number)
    test = kept["test"] if kept else _test(bench, chosen, default)
    settings = bench.space.settings_of(best.params)
    found: dict[str, Any] = {
        **search_facts(bench.plan, study, bench.space, rows),
        "method": method_name(bench.base.method),
        "data": bench.images.name,
        "target": bench.target.name if bench.target else None,
        "task": bench.target.kind if bench.target else None,
        "objective": bench.objective,
        "epochs_without_pruning": bench.base.epochs * counts(rows)["made"],
        "ended": reason,
        "seconds": round(seconds, 1),
        "best": {
            "number": best.number,
            "value": best.value,
            "epoch": best.user_attrs.get("epochs"),
            "run": chosen.out,
            "settings": {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()},
        },
        "again": {"value": value, "equal": equal},
        "test": test,
        "test_readings": test["readings"] if test else [],
        "notes": list(bench.notes),
    }
    found["answer"] = _answer(found)
    return write_record(bench.plan, found, study, rows)


def trained(bench: Bench, settings: Pretrain) -> float:
    """The pretraining as a whole run; what it is worth after its last epoch."""
    plan = planning.prepare(settings, bench.images)
    judge = bench.judge(plan)
    pretrain(settings, bench.images, [judge])
    values = judge.values or read_json(judge.path)  # the run may have been finished before
    return float(values[-1])


def _kept(folder: Path, number: int) -> dict[str, Any] | None:
    """What an earlier end of this study wrote, if its best trial was this one."""
    path = folder / "tuning.json"
    if not path.is_file():
        return None
    kept: dict[str, Any] = read_json(path)
    return kept if kept["best"]["number"] == number and kept.get("test") else None


def _test(bench: Bench, chosen: Pretrain, default: Pretrain) -> dict[str, Any] | None:
    """One evaluation of the best run beside its controls and the settings of the beginning."""
    if not bench.settings.fractions or bench.target is None:
        return None
    controls: tuple[str, ...] = ("untrained", "pixels")
    if default.out != chosen.out:
        controls = (*controls, str(default.out))
    assert chosen.out is not None
    wish = Evaluate(
        run=chosen.out,
        target=bench.target.name,
        fractions=bench.settings.fractions,
        controls=controls,
        seed=bench.settings.seed,
        device=bench.settings.device,
    )
    results = _evaluated(bench, wish) or evaluate(wish, bench.images)
    full = max(bench.settings.fractions)
    keys = ("probe", "metric", "mean", "low", "high")
    return {
        "split": results.values[0]["split"] if results.values else "test",
        "values": [
            {**{key: row[key] for key in keys}, "subject": row["subject"]}
            for row in results.values
            if row["label"] is None and row["label_fraction"] == full
        ],
        "differences": [
            {
                **{key: row[key] for key in keys},
                "subject": row["control"],
                "verdict": row["verdict"],
            }
            for row in results.differences
            if row["label"] is None and row["label_fraction"] == full
        ],
        "readings": [
            {
                "when": row["when"],
                "probe": row["probe"],
                "subject": row["subject"],
                "label_fraction": row["label_fraction"],
                "label_seed": row["label_seed"],
            }
            for row in results.test_readings
        ],
    }


def _evaluated(bench: Bench, wish: Evaluate) -> Results | None:
    """The evaluation of the best run, where a study that was cut off had already made it."""
    path = RunFolder(wish.run).results
    if not path.is_file():
        return None
    results = Results.read(path)
    run = load_run(wish.run)
    if results.backbone != weights_key(run.backbone(allow_code=True)):
        return None
    weights = {Path(name).name for name in ("trained", *wish.controls)}
    asked = {(name, fraction) for name in weights for fraction in wish.fractions}
    there = {
        (row["subject"], row["label_fraction"])
        for row in results.values
        if row["target"] == wish.target and row["data"] == bench.images.name
    }
    return results if asked <= there else None


def _answer(found: dict[str, Any]) -> list[str]:
    """The sentences that the command prints and the page begins with."""
    from selfsight.fitting.tasks import TASKS

    made, metric = found["trials"], found["metric"]
    saved = 1 - made["epochs"] / max(found["epochs_without_pruning"], 1)
    lines = [
        f"{counts_text(made)} in {duration(found['seconds'])}, {100 * saved:.0f} % of their "
        f"epochs saved by ending them early; the best one, trial {found['best']['number']}, has "
        f"{value_text(metric, found['best']['value'])}: {WORTH[found['objective']]}."
    ]
    test = found["test"]
    if not test or not test["values"]:
        return [*lines, "It was not evaluated on test."]
    shown = TASKS[found["task"]].headline
    for row in test["values"]:
        if (row["subject"], row["metric"]) == ("trained", shown):
            lines.append(
                f"On {test['split']}: {shown} {value_text(shown, row['mean'])} "
                f"({interval_text(shown, row['low'], row['high'])}), "
                f"{vocabulary.probe(row['probe']).title}."
            )
    for row in test["differences"]:
        if row["metric"] == shown:
            verdict = {"better": "better than", "worse": "worse than"}.get(
                row["verdict"], "no better than"
            )
            other = {"default": "the settings it began with"}.get(
                row["subject"], vocabulary.subject(row["subject"]).title
            )
            lines.append(
                f"Tuned is {verdict} {other}, {vocabulary.probe(row['probe']).title}: "
                f"{difference_text(shown, row['mean'])} "
                f"({interval_text(shown, row['low'], row['high'], signed=True)})."
            )
    return lines
