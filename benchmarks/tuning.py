"""What tuning is worth: the table of `tune probe` and the table of pruning in `tune pretrain`.

    python benchmarks/tuning.py probe RUN [RUN ...] --trials 100
    python benchmarks/tuning.py pruning cifar10-folder --epochs 9 --trials 20 --limit 1000

`probe`: TPE and random search at an equal number of trials, beside the default probes, on test.
`pruning`: the same study with each pruner and without: best value, epochs trained.
Times are the processor's, with the one end (the best trained again, and test) included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from selfsight.evaluation.results import aligned
from selfsight.training.stopping import Stopping
from selfsight.tuning.pretraining import TunePretraining, tune_pretraining
from selfsight.tuning.probe import TuneProbe, tune_probe

PRUNERS = ("none", "median", "hyperband", "halving")


def probe(runs: list[str], trials: int, seed: int) -> list[list[str]]:
    lines = [
        ["run", "search", "trials", "processor s", "metric", "held out", "test", "tuned - default"]
    ]
    for run in runs:
        for sampler in ("tpe", "random"):
            out = tempfile.mkdtemp(prefix="tune-")
            began = time.process_time()
            found = tune_probe(
                TuneProbe(run=run, trials=trials, sampler=sampler, seed=seed, out=out)  # type: ignore[arg-type]
            )
            assert found is not None
            lines.append(_probe_line(run, found.found, time.process_time() - began))
    return lines


def _probe_line(run: str, found: dict[str, Any], seconds: float) -> list[str]:
    test, metric = found["test"], found["metric"]
    ours = next(
        v
        for v in test["values"]
        if (v["probe"], v["weights"], v["metric"]) == ("tuned", "trained", metric)
    )
    gaps = [
        f"{d['probe']} {d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"
        for d in test["differences"]
        if d["weights"] == "trained" and d["metric"] == metric
    ]
    value = f"{ours['mean']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}]"
    numbers = [str(found["trials"]["made"]), f"{seconds:.0f}", metric]
    held = f"{found['best']['value']:.3f}"
    return [Path(run).name, found["sampler"], *numbers, held, value, "; ".join(gaps)]


def pruning(data: str, epochs: int, trials: int, limit: int, seed: int) -> list[list[str]]:
    lines = [["pruner", "trials", "pruned", "epochs", "saved", "best value", "processor s"]]
    for pruner in PRUNERS:
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
            "pruner": pruner,
            "sampler": "random",  # so that each study makes the same trials
            "seed": seed,
            "fractions": (),
            "stopping": Stopping(patience=None),
            "out": tempfile.mkdtemp(prefix=f"tune-{pruner}-"),
        }
        began = time.process_time()
        found = tune_pretraining(TunePretraining(**settings))  # type: ignore[arg-type]
        assert found is not None
        made = found.found["trials"]
        saved = 1 - made["epochs"] / found.found["epochs_without_pruning"]
        lines.append(
            [
                pruner,
                str(made["made"]),
                str(made["pruned"]),
                str(made["epochs"]),
                f"{100 * saved:.0f} %",
                f"{found.best['value']:.4f}",
                f"{time.process_time() - began:.0f}",
            ]
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("probe", "pruning"))
    parser.add_argument("on", nargs="+")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    if words.what == "probe":
        lines = probe(words.on, words.trials, words.seed)
    else:
        lines = pruning(words.on[0], words.epochs, words.trials, words.limit, words.seed)
    print("\n".join(aligned(lines)))


if __name__ == "__main__":
    main()
