"""The pages of an index: what a search found, pairs of images, clusters."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from selfsight.console import counted
from selfsight.records.content import read_record
from selfsight.records.neighbours import ClustersFile, PairsFile, SearchFile
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.words import number


@dataclass(frozen=True)
class NeighboursContents:
    """The results of one of the verbs; the others are None."""

    search: SearchFile | None = None
    pairs: PairsFile | None = None
    clusters: ClustersFile | None = None


def write_neighbours_page(path: str | Path) -> Path:
    """Writes the page of a search beside its JSON, one file that opens offline.

    Args:
        path: of the JSON.

    Returns:
        The path of the page.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = Path(path)
    search = read_record(SearchFile, path)
    kind = "least" if search.far else "most"
    further = [f"{search.table} has all {counted(search.neighbours, 'neighbour')} of each query."]
    if search.recall is not None:
        further.append(
            f"The search is approximate: it finds {number(100 * search.recall)} % of the ten exact "
            "neighbours."
        )
    if search.novelty is not None:
        further.append(
            f"{queries(search.novel)} {'is' if search.novel == 1 else 'are'} unlike anything "
            f"indexed: {search.novelty}."
        )
    page = Page(
        kind="search",
        title=f"The {kind} similar images of {search.data}",
        source=search.index,
        answers=[f"{queries(search.queries)} among {counted(search.images, 'image')}."],
        further=further,
    )
    contents = NeighboursContents(search=search)
    return write_page(path.with_suffix(".html"), sys.modules[__name__], contents, page)


def write_pairs_page(path: str | Path) -> Path:
    """As `write_neighbours_page`, of `pairs`."""
    path = Path(path)
    pairs = read_record(PairsFile, path)
    answers = [f"The most and the least similar of {counted(pairs.images, 'image')}."]
    further = []
    if pairs.lines:
        line = pairs.lines[0]
        answers = [
            f"{number(100 * line.accuracy)} ± {number(100 * line.standard_error, 2)} % of "
            f"{counted(line.pairs, 'pair')} are judged correctly; one answer for all would reach "
            f"{number(100 * line.majority)} %."
        ]
        further.append(
            f"Mean and standard error over {line.folds} {'random ' if pairs.drawn else ''}folds, "
            "each judged at the threshold of the others."
        )
        further.append(pairs.labels_read or "The training of the backbone read no labels.")
    warnings = [("Note.", sentence) for sentence in pairs.warnings]
    if pairs.missing:
        warnings.append(
            ("Left out:", f"{counted(pairs.missing, 'pair')} with an image that is not indexed.")
        )
    page = Page(
        kind="pairs",
        title=f"Pairs of images of {pairs.data}",
        source=pairs.index,
        answers=answers,
        further=further,
        warnings=warnings,
    )
    contents = NeighboursContents(pairs=pairs)
    return write_page(path.with_suffix(".html"), sys.modules[__name__], contents, page)


def write_clusters_page(path: str | Path) -> Path:
    """As `write_neighbours_page`, of `cluster`."""
    path = Path(path)
    clusters = read_record(ClustersFile, path)
    how = "by HDBSCAN, without a threshold"
    if clusters.threshold is not None:
        how = f"by average linkage at a cosine of {number(clusters.threshold)}"
    page = Page(
        kind="clusters",
        title=f"Groups of similar images of {clusters.data}",
        source=clusters.index,
        answers=[
            f"{counted(clusters.groups, 'group')} of {counted(clusters.images, 'image')}; "
            f"{number(clusters.alone)} are alone."
        ],
        further=[
            f"Grouped {how}. The largest group has {counted(clusters.largest, 'image')}.",
            f"{clusters.table} has the group of each image.",
        ],
    )
    contents = NeighboursContents(clusters=clusters)
    return write_page(path.with_suffix(".html"), sys.modules[__name__], contents, page)


def queries(count: int) -> str:
    """``1 query``, ``2,000 queries``."""
    return counted(count, "query", "queries")
