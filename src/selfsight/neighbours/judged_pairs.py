"""Pairs that are known to be same or different: scores, and what pretraining saw of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.neighbours.exact import ExactVectors
from selfsight.neighbours.index import Index
from selfsight.neighbours.pair_table import PairTable
from selfsight.neighbours.shown import PICTURED, Gallery
from selfsight.neighbours.verification import Verification, best_threshold, chunked, verify
from selfsight.records.neighbours import Curve, PairsFile, VerificationLine

FEW = 50
"""Pairs of a kind below which a score says nothing."""
CURVE = 400
"""Points of a curve that are written."""


def judged(
    index: Index, pairs: PairTable, copies: float, about: PairsFile
) -> tuple[Verification, Any, PairsFile]:
    """Scores of the pairs by their cosine, the table of them, and what the page shows.

    Args:
        index: their images are in it.
        pairs: with what is known of them.
        copies: cosine from which an image counts as a copy of one that pretraining saw.
        about: the record of the index, which is completed.
    """
    import pyarrow as pa

    cosines = pairs.cosines(index)
    scores = verify(cosines, pairs.same, pairs.folds)
    fold_names = np.unique(pairs.folds)
    thresholds = np.array(scores.thresholds)[np.searchsorted(fold_names, pairs.folds)]
    lines = [_line("as they are", scores)]
    centred = verify(pairs.cosines(index, _centre(index)), pairs.same, pairs.folds)
    lines.append(_line("about the mean of the index", centred))
    warnings, unseen = _shared_with_training(index, pairs, copies)
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
    refused, accepted = (
        gallery.pairs(pairs.places[most_wrong], cosines[most_wrong])
        for most_wrong in (
            wrong_same[np.argsort(cosines[wrong_same])][:PICTURED],
            wrong_other[np.argsort(-cosines[wrong_other])][:PICTURED],
        )
    )
    record = replace(
        about,
        lines=tuple(lines),
        threshold=best_threshold(cosines, pairs.same),
        drawn=pairs.drawn,
        missing=pairs.missing,
        warnings=tuple(warnings),
        curve=_thinned(scores),
        first=refused,
        second=accepted,
        counts=(len(wrong_same), len(wrong_other)),
    )
    return scores, table, record


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
    of_all = f"{int(rows.sum()):,} of {counted(len(rows), 'pair')}"
    count = f"{of_all} ({int(same.sum()):,} of them same)"
    if min(int(same.sum()), int((~same).sum())) < FEW or len(np.unique(pairs.folds[rows])) < 2:
        return (
            f"Only {count} show neither an image nor a label that pretraining saw, which are too "
            "few for a score of their own."
        )
    return verify(cosines[rows], same, pairs.folds[rows])


def _shared_with_training(
    index: Index, pairs: PairTable, copies: float
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
            f"Pretraining saw {int(seen[images].sum()):,} of the "
            f"{counted(len(images), 'image')} of these pairs, without their labels; "
            f"{int(touched.sum()):,} of "
            f"{counted(len(touched), 'pair has', 'pairs have')} one."
        )
    labels = np.array([label or "" for label in index.labels])
    known = set(labels[seen].tolist()) - {""}
    people = np.isin(labels[pairs.places], list(known)).any(1) if known else np.zeros_like(touched)
    if known and people.any():
        name = index.card.target or "label"
        shared = len(set(labels[images].tolist()) & known)
        sentences.append(
            f"{counted(shared, f'value of {name} occurs', f'values of {name} occur')} both in the "
            "pairs and among the images that pretraining saw; "
            f"{counted(int(people.sum()), 'pair shows', 'pairs show')} one."
        )
    fresh = images[~seen[images]]
    if len(fresh) and seen.any():
        trained = ExactVectors(index.vectors.at(np.flatnonzero(seen)))
        nearest = trained.search(index.vectors.at(fresh).numpy(), 1)[0][:, 0]
        alike = int((nearest >= copies).sum())
        if alike:
            sentences.append(
                f"{alike:,} further images of the pairs have a cosine of {copies:g} or "
                "more with an image that pretraining saw: look for copies."
            )
    return sentences, ~(touched | people) if (touched | people).any() else None


def _thinned(scores: Verification) -> Curve:
    count = scores.curve.shape[1]
    at = np.unique(np.linspace(0, count - 1, min(CURVE, count)).round().astype(np.int64))
    falsely, accepted = scores.curve[:, at].tolist()
    return Curve(tuple(falsely), tuple(accepted))
