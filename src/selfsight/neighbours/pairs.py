"""The verb `pairs`: same or different? Or, without a file of pairs, the two ends of all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import progress
from selfsight.files import write_json
from selfsight.models.tables import check_suffix, writing_table
from selfsight.neighbours.exact import ExactVectors
from selfsight.neighbours.index import Index
from selfsight.neighbours.pair_table import PairTable, draw_pairs, read_pairs
from selfsight.neighbours.shown import Gallery
from selfsight.neighbours.verification import Verification, best_threshold, chunked, verify
from selfsight.records.neighbours import Curve, PairsFile, ShownPair, VerificationLine
from selfsight.reporting.neighbours import write_pairs_page
from selfsight.settings import Settings

ASKED = 20_000
"""Images whose neighbours are looked at for the most and least similar pairs."""
EACH = 5
"""Neighbours of each that are looked at."""
PICTURED = 24
FEW = 50
"""Pairs of a kind below which a score says nothing."""


class ComparePairs(Settings):
    """Decide of pairs of images whether they are the same, or list the most similar ones."""

    index: tyro.conf.Positional[str]
    """The folder of an index."""
    pairs: str | None = None
    """CSV or Parquet: two columns of images (a and b, or NAME_a and NAME_b), same (1 or 0), perhaps
    fold. Without it the most and the least similar pairs of the index are listed."""
    draw: Annotated[int, Field(ge=40)] | None = None
    """Draw this many pairs from the labels of the index, such as people, in place of a file: half
    of them same, in folds that share no label."""
    out: str = "pairs.csv"
    """.csv or .parquet; a page and its JSON are written beside it."""
    count: Annotated[int, Field(ge=1)] = 100
    """Pairs that are listed at each end, where there is no file of pairs."""
    copies: Annotated[float, Field(gt=0.0, le=1.0)] = 0.99
    """Cosine from which an image of a pair counts as a copy of an image that pretraining saw."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the folds, where the file has none."""


@dataclass(frozen=True)
class PairsResults:
    """What was found, and its files.

    Attributes:
        verification: scores of the pairs; None where no file was given.
        table: pyarrow, one row a pair.
        path: of the table.
        page: of the pictures.
    """

    verification: Verification | None
    table: Any
    path: Path
    page: Path

    def __str__(self) -> str:
        if self.verification is None:
            return f"{len(self.table):,} pairs: {self.path}, {self.page}"
        v = self.verification
        return (
            f"accuracy {100 * v.accuracy:.1f} ± {100 * v.standard_error:.1f} % over "
            f"{len(v.thresholds)} folds of {v.pairs:,} pairs, AUC {v.auc:.3f}, equal error "
            f"{100 * v.equal_error:.1f} %: {self.page}"
        )


def pairs(settings: ComparePairs) -> PairsResults:
    """Scores pairs by their cosine, at thresholds that never see the fold they are used on.

    The accuracy is the mean over the folds; behind ± stands its standard error, the deviation
    between folds over the root of their number.

    Returns:
        Scores, the table, and where they were written.

    Raises:
        ValueError: no such index or file of pairs, or no pair whose images are in the index.
    """
    check_suffix(settings.out, (".csv", ".parquet"))
    if settings.pairs is not None and settings.draw is not None:
        raise ValueError("draw: pairs are drawn or read from a file; leave out --draw or --pairs.")
    index = Index.load(settings.index)
    if settings.draw is not None:
        return _verified(settings, index, draw_pairs(index, settings.draw, seed=settings.seed))
    if settings.pairs is None:
        return _ends(settings, index)
    return _verified(settings, index, read_pairs(settings.pairs, index, seed=settings.seed))


def _verified(settings: ComparePairs, index: Index, pairs: PairTable) -> PairsResults:
    import pyarrow as pa

    cosines = pairs.cosines(index)
    scores = verify(cosines, pairs.same, pairs.folds)
    fold_names = np.unique(pairs.folds)
    thresholds = np.array(scores.thresholds)[np.searchsorted(fold_names, pairs.folds)]
    lines = [_line("as they are", scores)]
    about = verify(pairs.cosines(index, _centre(index)), pairs.same, pairs.folds)
    lines.append(_line("about the mean of the index", about))
    warnings, unseen = _shared_with_training(settings, index, pairs)
    if unseen is not None:
        part = _part(cosines, pairs, unseen)
        if isinstance(part, str):
            warnings.append(part)
        else:
            lines.append(_line("neither image nor person seen in pretraining", part))
    table = pa.table(
        {
            "a": index.row_ids[pairs.places[:, 0]].tolist(),
            "b": index.row_ids[pairs.places[:, 1]].tolist(),
            "same": pairs.same.astype(np.int64),
            "fold": pairs.folds,
            "cosine": cosines,
            "predicted": (cosines >= thresholds).astype(np.int64),
        }
    )
    wrong_same = np.flatnonzero(pairs.same & (cosines < thresholds))
    wrong_other = np.flatnonzero(~pairs.same & (cosines >= thresholds))
    gallery = Gallery(index)
    most_wrong = (
        wrong_same[np.argsort(cosines[wrong_same])][:PICTURED],
        wrong_other[np.argsort(-cosines[wrong_other])][:PICTURED],
    )
    shown = [
        tuple(
            ShownPair(gallery.images(pairs.places[at].tolist(), ["", ""]), float(cosines[at]))
            for at in part.tolist()
        )
        for part in most_wrong
    ]
    record = _record(
        index,
        settings,
        lines=tuple(lines),
        threshold=best_threshold(cosines, pairs.same),
        drawn=pairs.drawn,
        missing=pairs.missing,
        warnings=tuple(warnings),
        curve=_thinned(scores),
        first=shown[0],
        second=shown[1],
        counts=(len(wrong_same), len(wrong_other)),
    )
    return _written(settings, record, table, scores)


def _line(name: str, scores: Verification) -> VerificationLine:
    return VerificationLine(
        name=name,
        pairs=scores.pairs,
        same=scores.same,
        accuracy=scores.accuracy,
        standard_error=scores.standard_error,
        folds=len(scores.thresholds),
        majority=scores.majority,
        auc=scores.auc,
        equal_error=scores.equal_error,
        points=tuple(
            (p.rate, p.accepted, p.same, p.falsely_accepted, p.different) for p in scores.points
        ),
    )


def _centre(index: Index) -> torch.Tensor:
    """``(F,)`` mean of the indexed vectors; no label is read for it."""
    total = torch.zeros(index.card.width, dtype=torch.float64)
    for rows in chunked(len(index), 8192):
        total += index.vectors.at(np.arange(rows.start, rows.stop)).double().sum(0)
    return (total / len(index)).float()


def _part(
    cosines: NDArray[np.float64], pairs: PairTable, rows: NDArray[np.bool_]
) -> Verification | str:
    """Scores of some pairs, or the sentence why there are none."""
    same = pairs.same[rows]
    count = f"{int(rows.sum()):,} of {len(rows):,} pairs ({int(same.sum()):,} of them same)"
    if min(int(same.sum()), int((~same).sum())) < FEW or len(np.unique(pairs.folds[rows])) < 2:
        return (
            f"Only {count} show neither an image nor a label that pretraining saw, which are too "
            "few for a score of their own."
        )
    return verify(cosines[rows], same, pairs.folds[rows])


def _shared_with_training(
    settings: ComparePairs, index: Index, pairs: PairTable
) -> tuple[list[str], NDArray[np.bool_] | None]:
    """Sentences on what pretraining saw of the pairs, and the pairs of which it saw nothing."""
    if index.rows["seen"].null_count:
        return [
            *index.card.cautions,
            "Whether pretraining saw these images cannot be told, since it took images of another "
            "form.",
        ], None
    seen = index.rows["seen"].to_numpy()
    images = np.unique(pairs.places)
    sentences = list(index.card.cautions)
    touched = seen[pairs.places].any(1)
    if touched.any():
        sentences.append(
            f"Pretraining saw {int(seen[images].sum()):,} of the {len(images):,} images of these "
            f"pairs, without their labels; {int(touched.sum()):,} of {len(touched):,} pairs have "
            "one."
        )
    labels = np.array([label or "" for label in index.labels])
    known = set(labels[seen].tolist()) - {""}
    people = np.isin(labels[pairs.places], list(known)).any(1) if known else np.zeros_like(touched)
    if known and people.any():
        name = index.card.target or "label"
        shared = len(set(labels[images].tolist()) & known)
        sentences.append(
            f"{shared:,} values of {name} occur both in the pairs and among the images that "
            f"pretraining saw; {int(people.sum()):,} pairs show one."
        )
    fresh = images[~seen[images]]
    if len(fresh) and seen.any():
        trained = ExactVectors(index.vectors.at(np.flatnonzero(seen)))
        nearest = trained.search(index.vectors.at(fresh).numpy(), 1)[0][:, 0]
        copies = int((nearest >= settings.copies).sum())
        if copies:
            sentences.append(
                f"{copies:,} further images of the pairs have a cosine of {settings.copies:g} or "
                "more with an image that pretraining saw: look for copies."
            )
    return sentences, ~(touched | people) if (touched | people).any() else None


def _thinned(scores: Verification, most: int = 400) -> Curve:
    count = scores.curve.shape[1]
    at = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))
    falsely, accepted = scores.curve[:, at].tolist()
    return Curve(tuple(falsely), tuple(accepted))


def _ends(settings: ComparePairs, index: Index) -> PairsResults:
    """The most and the least similar pairs of all images."""
    import pyarrow as pa

    if len(index) < 2:
        raise ValueError(f"index {settings.index}: one image makes no pair.")
    warnings = []
    asked = np.arange(len(index))
    if len(index) > ASKED:
        random = np.random.default_rng([settings.seed, 14])
        asked = np.sort(random.choice(asked, ASKED, replace=False))
        warnings.append(
            f"The neighbours of a draw of {ASKED:,} images were looked at: other pairs may be more "
            "similar."
        )
    gallery = Gallery(index)
    tables, shown = [], []
    for far in (False, True):
        places, cosines = _extreme(index, asked, settings.count, far)
        tables.append(
            pa.table(
                {
                    "kind": ["dissimilar" if far else "similar"] * len(places),
                    "a": index.row_ids[places[:, 0]].tolist(),
                    "b": index.row_ids[places[:, 1]].tolist(),
                    "cosine": cosines,
                    "label_a": index.rows["label"].take(places[:, 0]),
                    "label_b": index.rows["label"].take(places[:, 1]),
                }
            )
        )
        shown.append(
            tuple(
                ShownPair(gallery.images(places[at].tolist(), ["", ""]), float(cosines[at]))
                for at in range(min(PICTURED, len(places)))
            )
        )
    table = pa.concat_tables(tables)
    record = _record(
        index,
        settings,
        warnings=tuple(warnings),
        first=shown[0],
        second=shown[1],
        counts=(len(tables[0]), len(tables[1])),
    )
    return _written(settings, record, table, None)


def _extreme(
    index: Index, asked: NDArray[np.int64], count: int, far: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs ``(P, 2)`` without repetition and their cosines, the most extreme first."""
    k = min(EACH, len(index) - 1)
    pairs, values = [], []
    with progress("least similar" if far else "most similar", len(asked)) as bar:
        for rows in chunked(len(asked), 4096):
            own = asked[rows]
            cosines, places = index.nearest(index.vectors.at(own), k, far=far, without=own)
            both = np.stack([np.repeat(own, k), places.reshape(-1)], 1)
            found = both[:, 1] >= 0
            pairs.append(np.sort(both[found], axis=1))
            values.append(cosines.reshape(-1).double().numpy()[found])
            bar.update(len(own))
    whole, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    value = np.concatenate(values)[first]
    order = np.argsort(value if far else -value, kind="stable")[:count]
    return whole[order], value[order]


def _written(
    settings: ComparePairs, record: PairsFile, table: Any, scores: Verification | None
) -> PairsResults:
    path = Path(settings.out)
    with writing_table(path) as write:
        write(table)
    write_json(path.with_suffix(".json"), record.plain())
    return PairsResults(scores, table, path, write_pairs_page(path.with_suffix(".json")))


def _record(index: Index, settings: ComparePairs, **found: Any) -> PairsFile:
    """What the page shows: the index, and what was found in it."""
    return PairsFile(
        index=str(index.folder),
        data=index.card.data,
        images=len(index),
        table=Path(settings.out).name,
        labels_read=index.card.labels_read,
        **found,
    )
