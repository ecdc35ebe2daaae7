"""What tuning is worth: the table of `tune probe` and the table of pruning in `tune pretrain`.

    python benchmarks/tuning.py probe RUN [RUN ...] --trials 100
    python benchmarks/tuning.py pruning cifar10-folder --epochs 9 --trials 15

`probe`: TPE and random search at an equal number of trials, beside the default probes, on test.
`pruning`: the same trials with each pruner and without: best value, epochs trained.
Times are the processor's, with the end (the best trained again, and test) included.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from selfsight.evaluation.result_tables import aligned
from selfsight.fitting.stopping import Stopping
from selfsight.tuning.pretrain import tune_pretraining
from selfsight.tuning.pretraining_settings import TunePretraining
from selfsight.tuning.probe import TuneProbe, tune_probe
from selfsight.tuning.record import Tuned, curves
from selfsight.tuning.storage import journal
from selfsight.tuning.study import pruner

PRUNERS = ("median", "hyperband", "halving")
ORDERS = 100  # in which the same trials are played back


def probe(runs: list[str], trials: int, seed: int) -> list[list[str]]:
    lines = [
        ["run", "search", "trials", "processor s", "metric", "held out", "test", "tuned - default"]
    ]
    for run in runs:
        for sampler in ("tpe", "random"):
            out = tempfile.mkdtemp(prefix="tune-")
            began = time.process_time()
            found = tune_probe(
                TuneProbe(run=run, trials=trials, sampler=sampler, seed=seed, out=out)
            )
            assert found is not None
            lines.append(_probe_line(run, found.found, time.process_time() - began))
    return lines


def _probe_line(run: str, found: dict[str, Any], seconds: float) -> list[str]:
    test, metric = found["test"], found["metric"]
    ours = next(
        v
        for v in test["values"]
        if (v["probe"], v["subject"], v["metric"]) == ("tuned", "trained", metric)
    )
    gaps = [
        f"{d['probe']} {d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"
        for d in test["differences"]
        if d["subject"] == "trained" and d["metric"] == metric
    ]
    value = f"{ours['mean']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}]"
    numbers = [str(found["trials"]["made"]), f"{seconds:.0f}", metric]
    held = f"{found['best']['value']:.3f}"
    return [Path(run).name, found["sampler"], *numbers, held, value, "; ".join(gaps)]


def pruning(data: str, epochs: int, trials: int, limit: int, seed: int) -> list[list[str]]:
    """A study without pruning; then each pruner on its trials.

    The sampler is random and a trial is a function of its settings: a pruned study makes the same
    trials and leaves some early. It is played back from their curves; `--real` trains it.
    """
    folder = Path(tempfile.mkdtemp(prefix="tune-none-"))
    found = study_of(data, epochs, trials, limit, seed, "none", folder)
    storage = journal(folder / "study.journal")
    (name,) = optuna.get_all_study_names(storage)
    made = curves(optuna.load_study(study_name=name, storage=storage))
    heads = ["pruner", "trials", "pruned", "epochs", "saved", "best value"]
    lines = [[*heads, f"saved in {ORDERS} orders", "best value lost in them"]]
    whole = found.found["trials"]["epochs"]
    best = found.best["value"]
    lines.append(["none", str(trials), "0", str(whole), "0 %", f"{best:.4f}", "0 %", "0"])
    shuffled = [
        random.Random(order).sample(list(made.values()), len(made)) for order in range(ORDERS)
    ]
    for kind in PRUNERS:
        others = [played_back(epochs, kind, order) for order in shuffled]
        saved = sum(float(line[3].split()[0]) for line in others) / ORDERS
        lost = [best - float(line[4]) for line in others]
        worse = sum(each > 1e-4 for each in lost)
        text = f"{worse} of {ORDERS}, {sum(lost) / ORDERS:.4f} on average"
        first = played_back(epochs, kind, list(made.values()))
        lines.append([kind, *first, f"{saved:.0f} %", text])
    return lines


def played_back(looks: int, kind: str, made: list[list[float | None]]) -> list[str]:
    """Trials, pruned, epochs, saved, best value of a study that sees these curves one by one."""
    study = optuna.create_study(direction="maximize", study_name=kind, pruner=pruner(kind, looks))
    epochs = 0

    def value(trial: optuna.Trial) -> float:
        nonlocal epochs
        for epoch, worth in enumerate(made[trial.number], 1):
            epochs += 1
            assert worth is not None
            trial.report(worth, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        assert worth is not None
        return worth

    study.optimize(value, n_trials=len(made))
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    saved = 1 - epochs / sum(map(len, made))
    numbers = [str(len(made)), str(pruned), str(epochs), f"{100 * saved:.0f} %"]
    return [*numbers, f"{study.best_value:.4f}"]


def trained(data: str, epochs: int, trials: int, limit: int, seed: int) -> list[list[str]]:
    """The same table, each study trained."""
    lines = [["pruner", "trials", "pruned", "epochs", "saved", "best value"]]
    for kind in ("none", *PRUNERS):
        folder = Path(tempfile.mkdtemp(prefix=f"tune-{kind}-"))
        found = study_of(data, epochs, trials, limit, seed, kind, folder)
        made = found.found["trials"]
        saved = 1 - made["epochs"] / found.found["epochs_without_pruning"]
        numbers = [str(made["made"]), str(made["pruned"]), str(made["epochs"])]
        lines.append([kind, *numbers, f"{100 * saved:.0f} %", f"{found.best['value']:.4f}"])
    return lines


def study_of(
    data: str, epochs: int, trials: int, limit: int, seed: int, kind: str, folder: Path
) -> Tuned:
    settings = {
        "method": "simclr",
        "data": data,
        "epochs": epochs,
        "limit": limit,
        "backbone": "resnet20",
        "network": {"widths": (8, 16, 32), "depths": (1, 1, 1)},
        "batch_size": 128,
        "monitor_images": 900,
        "trials": trials,
        "pruner": kind,
        "sampler": "random",  # so that each study makes the same trials
        "seed": seed,
        "fractions": (),
        "stopping": Stopping(patience=None),
        "out": str(folder),
    }
    found = tune_pretraining(TunePretraining(**settings))  # type: ignore[arg-type]
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("probe", "pruning"))
    parser.add_argument("on", nargs="+")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="train the pruned studies, too")
    words = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if words.what == "probe":
        lines = probe(words.on, words.trials, words.seed)
    else:
        table = trained if words.real else pruning
        lines = table(words.on[0], words.epochs, words.trials, words.limit, words.seed)
    print("\n".join(aligned(lines)))


if __name__ == "__main__":
    main()
