"""The verb `pairs`: same or different? Or, without a file of pairs, the two ends of all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from selfsight.console import counted
from selfsight.files import write_json
from selfsight.models.tables import check_suffix, writing_table
from selfsight.neighbours.extreme_pairs import extremes
from selfsight.neighbours.index import Index
from selfsight.neighbours.judged_pairs import judged
from selfsight.neighbours.pair_table import draw_pairs, read_pairs
from selfsight.neighbours.verification import Verification
from selfsight.records.neighbours import PairsFile
from selfsight.reporting.neighbours import write_pairs_page
from selfsight.settings import Settings


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
            return f"{counted(len(self.table), 'pair')}: {self.path}, {self.page}"
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
    path = Path(settings.out)
    scores, record = (
        None,
        PairsFile(
            index=str(index.folder),
            data=index.card.data,
            images=len(index),
            table=path.name,
            labels_read=index.card.labels_read,
        ),
    )
    if settings.draw is not None:
        drawn = draw_pairs(index, settings.draw, seed=settings.seed)
        scores, table, record = judged(index, drawn, settings.copies, record)
    elif settings.pairs is not None:
        read = read_pairs(settings.pairs, index, seed=settings.seed)
        scores, table, record = judged(index, read, settings.copies, record)
    elif len(index) < 2:
        raise ValueError(f"index {settings.index}: one image makes no pair.")
    else:
        table, record = extremes(index, settings.count, settings.seed, record)
    with writing_table(path) as write:
        write(table)
    write_json(path.with_suffix(".json"), record.plain())
    return PairsResults(scores, table, path, write_pairs_page(path.with_suffix(".json")))
