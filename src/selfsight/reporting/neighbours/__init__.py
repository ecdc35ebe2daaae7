"""The pages of an index: what a search found, pairs of images, clusters."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from selfsight.records import SearchFile, read_record
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.words import number, plural


@dataclass(frozen=True)
class NeighboursContents:
    """What one of the verbs found; the others are None."""

    search: SearchFile | None = None


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
    further = [f"{search.table} has all {number(search.neighbours)} neighbours of each query."]
    if search.recall is not None:
        further.append(
            f"The search is approximate: it finds {number(100 * search.recall)} % of the ten exact "
            "neighbours."
        )
    novel = sum(one.novel for one in search.shown)
    if novel and search.usual is not None:
        further.append(
            f"{queries(novel)} {'are' if novel > 1 else 'is'} unlike anything indexed: the nearest "
            f"image has a cosine below {number(search.usual)}, which 99 % of the indexed images "
            "exceed."
        )
    page = Page(
        kind="search",
        title=f"The {kind} similar images of {search.data}",
        source=search.index,
        answers=[f"{queries(search.queries)} among {plural(search.images, 'image')}."],
        further=further,
    )
    contents = NeighboursContents(search=search)
    return write_page(path.with_suffix(".html"), sys.modules[__name__], contents, page)


def queries(count: int) -> str:
    """``1 query``, ``2,000 queries``."""
    return "1 query" if count == 1 else f"{number(count)} queries"
