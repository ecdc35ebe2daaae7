"""The four methods on CIFAR-10, beside the untrained control: the table of the README.

    python benchmarks/methods.py ../shared/data/cifar10 --out runs/methods

Each method is trained for 20 epochs on 10,000 images with a small ResNet (0.31 M weights) and its
preset for small images on views of three quarters of the side, with three seeds, then measured by
kNN on the test images; k is chosen by cross-validation inside the training labels. What is finished
is not repeated; what was stopped is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import selfsight
from selfsight.evaluation.results import Results
from selfsight.methods import METHODS as KINDS
from selfsight.runs.run import load_run
from selfsight.views.presets import adapt
from selfsight.views.settings import View

METHODS = ("simclr", "vicreg", "barlow_twins", "dino")
SIDE, SHARE = 32, 0.75
NETWORK = {"widths": (8, 32, 64, 128), "depths": (1, 1, 1, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 as Parquet")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name in options.methods:
        folders = [options.out / f"{name}-{seed}" for seed in range(options.seeds)]
        for seed, folder in enumerate(folders):
            if not (folder / "backbone.safetensors").is_file():
                selfsight.pretrain(
                    name,
                    options.data,
                    out=str(folder),
                    seed=seed,
                    epochs=options.epochs,
                    limit=options.limit,
                    backbone="resnet20",
                    network=NETWORK,
                    views=views_of(name),
                    drop_leaks=True,
                    drop_near=True,
                )
        results = selfsight.evaluate(
            folders[0],
            replicates=tuple(map(str, folders[1:])),
            fractions=(1.0,),
            probes=("knn",),
            controls=("untrained",),
        )
        rows.append(row(name, results, load_run(folders[0]).environment))
    print("| method | kNN on test | untrained control | difference | trained in |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(rows))


def views_of(name: str) -> tuple[View, ...]:
    """The method's views for small colour images, each with `SHARE` of its side."""
    kind = KINDS[name]
    views = [
        adapt(view, "small", side=SIDE, channels=3, mirrored=True)
        for view in kind.presets["small"].views or kind.views
    ]
    return tuple(view.updated({"size": SHARE * view.size}) for view in views)


def row(name: str, results: Results, environment: dict[str, object]) -> str:
    def overall(part: str, subject: str) -> dict[str, dict[str, float]]:
        return {
            entry[subject]: entry
            for entry in results.summary[part]
            if (entry["probe"], entry["metric"], entry["label"]) == ("knn", "accuracy", None)
        }

    value, difference = overall("values", "subject"), overall("differences", "control")["untrained"]

    def shown(entry: dict[str, float], sign: str = "") -> str:
        numbers = [100 * entry[key] for key in ("mean", "low", "high")]
        return "{0:{s}.1f} ({1:{s}.1f} to {2:{s}.1f})".format(*numbers, s=sign)

    minutes = float(str(environment["seconds"])) / 60
    speed = float(str(environment["images_per_second"]))
    return (
        f"| {name} | {shown(value['trained'])} % | {shown(value['untrained'])} % | "
        f"{shown(difference, '+')} points | {minutes:.0f} min, {speed:.0f} images/s |"
    )


if __name__ == "__main__":
    main()
