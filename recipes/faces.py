"""Similar and dissimilar faces: published weights, continued on faces without a label.

    pip install -e ".[start]"
    python recipes/faces.py --data ../shared/data/lfw --out runs/faces

1. Verification: do two photographs show one person? The 6,000 pairs of Labeled Faces in the Wild
   (Huang et al., 2007) stand in ten folds that share nobody, and the threshold of a fold comes from
   the other nine. The published weights are continued on the people who are in no pair, so the
   network has seen nobody whom it is scored on. Beside it stand the weights as they are (start),
   the same training from random weights, and pixels. ``--by-fold N`` adds a training for each of
   the first N folds, on the people who are not in that fold.
2. Pages about the people of the pairs, by the continued network: pairs, similar faces, dissimilar
   faces, groups, and a map to explore.

What is finished is kept, so the same command goes on where it was stopped. ``docs/faces.md`` shows
the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.files import cached_arrays, write_text
from selfsight.fitting.representations import raw_pixels
from selfsight.neighbours.encoder import file_names
from selfsight.neighbours.index import Index
from selfsight.neighbours.verification import best_threshold

POOL = 4000
"""Faces that one training draws from: 60 steps of 64 see about as many."""
PAIRS = "pairs.parquet"
NAMES = {
    "pixels": "pixels (principal components)",
    "scratch": "the same network and steps from random weights",
    "start": "published weights as they are",
    "continued": "continued without labels",
    "by fold": "continued without labels, one training a fold",
}


@dataclass(frozen=True)
class Pairs:
    """Pairs of photographs.

    Attributes:
        images: all of them, with the target ``person``.
        rows: ``(P, 2)`` rows of the images.
        same: ``(P,)`` whether both show one person.
        folds: ``(P,)``; no person is in two.
    """

    images: ImageSet
    rows: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]

    @classmethod
    def read(cls, data: Path) -> Pairs:
        """The images of a folder of Parquet files, and its ``pairs.parquet``."""
        images = selfsight.open_images(str(data), target="person")
        table = pq.read_table(data / "pairs.parquet")
        place = {name: row for row, name in enumerate(file_names(data, images.row_ids))}
        sides = [[place[name] for name in table[side].to_pylist()] for side in ("path_a", "path_b")]
        same = np.array(table["same"].to_pylist(), np.bool_)
        return cls(images, np.array(sides).T, same, np.array(table["fold"].to_pylist()))

    @property
    def used(self) -> NDArray[np.int64]:
        """Rows of the images that are in pairs, ascending."""
        return np.unique(self.rows)

    def write(self, path: Path) -> None:
        """The pairs as `selfsight pairs` reads them, by row id."""
        a, b = self.images.row_ids[self.rows].T.tolist()
        pq.write_table(pa.table({"a": a, "b": b, "same": self.same, "fold": self.folds}), path)

    def without(self, inside: NDArray[np.bool_]) -> ImageSet:
        """The images with the people of some pairs as test and a draw of the others as train."""
        people = self.images.targets["person"].values
        tested = np.isin(people, people[self.rows[inside]])
        others = np.random.default_rng(0).permutation(np.flatnonzero(~tested))[:POOL]
        splits = np.full(len(people), "test", self.images.splits.dtype)
        splits[others] = "train"
        return self.images.changed(splits=splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/lfw"))
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    parser.add_argument("--method", default="vicreg")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="published", help="or a file, or a run")
    parser.add_argument("--steps", type=int, default=60, help="of each training")
    parser.add_argument("--by-fold", type=int, default=0, metavar="N", help="folds with their own")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pairs = Pairs.read(given.data)
    pairs.write(given.out / PAIRS)
    table = verification(given, pairs)
    write_text(given.out / "verification.md", table)
    print(table)
    pages(given.out, pairs)


def verification(given: argparse.Namespace, pairs: Pairs) -> str:
    """Every network's scores on every fold, as a table in Markdown."""
    scores: dict[str, dict[int, tuple[float, float]]] = {}
    for arm, name, inside in trainings(pairs, given.by_fold):
        cosines = cosines_of(given, pairs, arm, name, inside)
        for fold in np.unique(pairs.folds[inside]).tolist():
            scores.setdefault(arm, {})[fold] = fold_scores(cosines, pairs, pairs.folds == fold)
        print(f"{name}: accuracy {np.mean([one[0] for one in scores[arm].values()]):.3f}")
    return results_table(scores)


def trainings(pairs: Pairs, by_fold: int) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Arm, name, and the pairs of which the training must see nobody."""
    for arm in ("pixels", "start", "continued", "scratch"):
        yield arm, arm, np.ones(len(pairs.same), np.bool_)
    for fold in np.unique(pairs.folds)[:by_fold]:
        yield "by fold", f"continued-{fold}", pairs.folds == fold


def settings_of(given: argparse.Namespace, arm: str, count: int) -> dict[str, Any]:
    """Settings of the training of an arm, on so many images."""
    common = {"backbone": given.backbone, "representation": "stages", "monitor_images": 0}
    if arm == "start":
        return {**common, "weights": given.weights, "epochs": 0}
    if arm == "scratch":
        return {**common, "weights": "none", "steps": given.steps, "batch_size": min(64, count)}
    return {**common, "weights": given.weights, "preset": "continue", "steps": given.steps}


def cosines_of(
    given: argparse.Namespace, pairs: Pairs, arm: str, name: str, inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """``(P,)`` cosines of all pairs, by a network that saw nobody of the pairs ``inside``.

    They are computed once and kept in ``NAME.npz``.
    """

    def measure() -> dict[str, NDArray[Any]]:
        split = pairs.without(inside)
        used = pairs.used
        if arm == "pixels":
            train = split.rows("train")
            rows = np.union1d(used, train)
            vectors = raw_pixels(split, rows, train)[torch.from_numpy(np.searchsorted(rows, used))]
        else:
            run = selfsight.pretrain(
                given.method,
                split,
                target="person",
                out=str(given.out / name),
                validation=0.0,
                drop_leaks=True,  # one photograph stands under two names
                **settings_of(given, arm, len(split.rows("train"))),
            )
            index = indexed(run.folder.path, split.take(used))
            vectors = index.vectors.at(np.arange(len(used)))
        a, b = vectors[torch.from_numpy(np.searchsorted(used, pairs.rows))].unbind(1)
        return {"cosines": torch.cosine_similarity(a, b, dim=1).double().numpy()}

    return cached_arrays(given.out / f"{name}.npz", measure)["cosines"]


def indexed(run: Path, images: ImageSet) -> Index:
    """The index of some images, in the folder of the run."""
    folder = run / "index"
    if not (folder / "index.json").is_file():
        selfsight.index(run, images, target="person", out=str(folder), allow_leaks=True)
    return Index.load(folder)


def fold_scores(
    cosines: NDArray[np.float64], pairs: Pairs, inside: NDArray[np.bool_]
) -> tuple[float, float]:
    """Accuracy of a fold at the threshold of the others, and the area under its ROC curve."""
    threshold = best_threshold(cosines[~inside], pairs.same[~inside])
    right = (cosines[inside] >= threshold) == pairs.same[inside]
    return float(right.mean()), float(roc_auc_score(pairs.same[inside], cosines[inside]))


def results_table(scores: dict[str, dict[int, tuple[float, float]]]) -> str:
    """Means over the folds, and the differences to the start, paired by fold."""
    lines = [
        "| | folds | accuracy, % | AUC | accuracy - start | 100 AUC - start |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for arm, name in NAMES.items():
        if arm not in scores:
            continue
        values = 100 * np.array(list(scores[arm].values()))
        start = 100 * np.array([scores["start"][fold] for fold in scores[arm]])
        accuracy, auc = values.mean(0)
        cells = [name, str(len(values)), f"{accuracy:.1f}", f"{auc / 100:.3f}", "", ""]
        if len(values) > 1:
            cells[2] += f" ± {values[:, 0].std(ddof=1) / np.sqrt(len(values)):.1f}"
            if arm != "start":
                cells[4:] = [interval(difference) for difference in (values - start).T]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interval(differences: NDArray[np.float64]) -> str:
    """Mean and 95 % interval (Student's t) of paired differences."""
    half = student.ppf(0.975, len(differences) - 1) * differences.std(ddof=1)
    half /= np.sqrt(len(differences))
    mean = differences.mean()
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"


def pages(out: Path, pairs: Pairs) -> None:
    """The pages about the people of the pairs, by the continued network."""
    split = pairs.without(np.ones(len(pairs.same), np.bool_))
    index = indexed(out / "continued", split.take(pairs.used))
    folder, people = str(index.folder), queries(index)
    print(selfsight.pairs(folder, pairs=str(out / PAIRS), out=str(out / "verified.csv")))
    print(selfsight.pairs(folder, out=str(out / "ends.csv")))
    for name, far in (("similar", False), ("dissimilar", True)):
        print(selfsight.search(folder, people, k=8, far=far, out=str(out / f"{name}.csv")))
    print(selfsight.cluster(folder, out=str(out / "groups.csv")))
    print(selfsight.explore(folder, out=str(out / "map.html")))


def queries(index: Index, count: int = 12) -> list[str]:
    """A row id each of some people who have several images, drawn by a seed."""
    labels = np.array(index.labels)
    people, images = np.unique(labels, return_counts=True)
    chosen = np.random.default_rng(0).permutation(people[images > 1])[:count]
    return [str(index.row_ids[np.flatnonzero(labels == person)[0]]) for person in chosen]


if __name__ == "__main__":
    main()
