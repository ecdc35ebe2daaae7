"""The verb `search`: an index and queries in, a table of neighbours and a page of pictures out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field
from torch import Tensor

from selfsight.console import counted, say
from selfsight.files import write_json
from selfsight.markup import block, gallery
from selfsight.models.tables import check_suffix, csv_text, writing_table
from selfsight.neighbours.asked import SHOWN, Neighbours
from selfsight.neighbours.index import Index
from selfsight.neighbours.shown import Gallery
from selfsight.records.drift import ShownNeighbours
from selfsight.records.neighbours import SearchFile
from selfsight.reporting.neighbours import write_neighbours_page
from selfsight.settings import Settings

ON_PAGE = 24
"""Neighbours of a query that the page shows."""


class SearchIndex(Settings):
    """Find the most similar images of an index, or the least similar."""

    index: tyro.conf.Positional[str]
    """The folder of an index."""
    queries: tyro.conf.Positional[tuple[str, ...]]
    """Image files, folders or tables of images, or row ids of the index."""
    k: Annotated[int, Field(ge=1), tyro.conf.arg(aliases=("-k",))] = 12
    """Neighbours of each query; a query by row id is not its own neighbour."""
    far: bool = False
    """The least similar images instead."""
    out: str | None = None
    """.csv or .parquet; a page of pictures is written beside it. By default CSV is printed."""
    run: str | None = None
    """The run of the index, where it has moved; only images that are not indexed need it."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""


@dataclass(frozen=True)
class SearchResults:
    """Neighbours of all queries; its text is CSV where there is no file.

    Attributes:
        neighbours: row ids and cosines.
        table: pyarrow: query, rank, row_id, cosine, label, split, source, distance, novel.
        path: of the table; None: it was not written.
        page: of the pictures.
        index: that was searched; for the display in a notebook.
    """

    neighbours: Neighbours
    table: Any
    path: Path | None = None
    page: Path | None = None
    index: Index | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        """Each query with its neighbours, as pictures where the index keeps them, for notebooks."""
        if self.index is None:
            return block(f"{counted(len(self.neighbours.queries), 'query', 'queries')}")
        shown = _record(self.index, self.neighbours, self.path or Path("neighbours")).shown
        rows = []
        for one in shown:
            images = [(one.query, one.query.name), *((each, each.words) for each in one.neighbours)]
            pictures = [
                (image.picture.uri if image.picture else "", f"{words} {image.label}".strip())
                for image, words in images
            ]
            rows.append(gallery(pictures))
        order = "least similar" if self.neighbours.far else "most similar"
        return block(f"queries, each with its {order} images and their cosines", *rows)

    def __str__(self) -> str:
        if self.path is None:
            return csv_text(self.table)
        return f"{self.summary} {self.path}, {self.page}"

    @property
    def summary(self) -> str:
        """How many queries there are, and how many of them are unlike anything indexed."""
        count, novel = len(self.neighbours.queries), int(self.neighbours.novel.sum())
        queries = counted(count, "query", "queries")
        novelty = None if self.index is None else self.index.card.novelty
        if novelty is None:
            return f"{queries}."
        return f"{queries}, {novel:,} of them unlike anything indexed ({novelty.words('indexed')})."


def search(settings: SearchIndex, images: Any = None) -> SearchResults:
    """Searches, and writes one row a neighbour.

    ``cosine`` is that of the two representations, from -1 to 1; ``distance`` is 1 - cosine of the
    query and the image of the index that is nearest to it. ``novel`` is true where that distance or
    the length of the representation is beyond what at most 1 % of such images exceed
    (`selfsight.fitting.novelty`).

    Args:
        settings: see `SearchIndex`.
        images: what to search instead of ``settings.queries``: an array, a tensor of
            representations, an image set; see `selfsight.neighbours.index.Index.search`.

    Returns:
        Neighbours, the table, and where it was written.

    Raises:
        ValueError: no such index, or one that is damaged; a query that cannot be read; or the run
            has other weights than those of the index.
    """
    if settings.out is not None:
        check_suffix(settings.out, (".csv", ".parquet"), settings, (".json", ".html"))
    index = Index.load(settings.index)
    encoder = None
    queries: Any = list(settings.queries) if images is None else images
    known = images is None and all(word in index.places for word in settings.queries)
    if not known and not isinstance(images, Tensor):  # a tensor holds representations
        encoder = index.encoder_of(
            settings.run or index.card.run,
            device=settings.device,
            allow_code=settings.allow_code,
        )
    found = index.search(queries, settings.k, far=settings.far, encoder=encoder)
    table = neighbours_table(index, found)
    if settings.out is None:
        results = SearchResults(found, table, index=index)
        say(results.summary)
        return results
    path = Path(settings.out)
    with writing_table(path) as write:
        write(table)
    record = _record(index, found, path)
    write_json(path.with_suffix(".json"), record.plain())
    page = write_neighbours_page(path.with_suffix(".json"))
    return SearchResults(found, table, path, page, index)


def neighbours_table(index: Index, found: Neighbours) -> Any:
    """A row for each neighbour that there is, in the order of the queries."""
    import numpy as np
    import pyarrow as pa

    count, k = found.places.shape
    kept = found.places.reshape(-1) >= 0
    places = found.places.reshape(-1)[kept]
    rows = index.rows.take(places)
    queries = np.repeat(np.array(found.queries, dtype=str), k)[kept]
    return pa.table(
        {
            "query": pa.array(queries.tolist(), pa.string()),
            "rank": pa.array(np.tile(np.arange(1, k + 1), count)[kept]),
            "row_id": rows["row_id"],
            "cosine": pa.array(found.cosines.reshape(-1)[kept]),
            "label": rows["label"],
            "split": rows["split"],
            "source": rows["source"],
            "distance": pa.array(np.repeat(found.distances, k)[kept]),
            "novel": pa.array(np.repeat(found.novel, k)[kept]),
        }
    )


def _record(index: Index, found: Neighbours, path: Path) -> SearchFile:
    gallery = Gallery(index)
    shown = []
    for at, name in enumerate(found.queries[:SHOWN]):
        pairs = list(zip(found.places[at].tolist(), found.cosines[at].tolist(), strict=True))
        pairs = [pair for pair in pairs if pair[0] >= 0][:ON_PAGE]
        images = gallery.images([place for place, _ in pairs], [f"{c:.3f}" for _, c in pairs])
        query = gallery.query(name, found.pictures[at])
        shown.append(ShownNeighbours(query, images, bool(found.novel[at])))
    return SearchFile(
        index=str(index.folder),
        data=index.card.data,
        images=len(index),
        table=path.name,
        far=found.far,
        queries=len(found.queries),
        neighbours=found.places.shape[1],
        novel=int(found.novel.sum()),
        novelty=None if index.card.novelty is None else index.card.novelty.words("indexed"),
        recall=None if index.card.recall is None else index.card.recall.value,
        shown=tuple(shown),
        left_out=gallery.left_out,
    )
