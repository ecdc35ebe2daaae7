"""The verb `cluster`: groups of similar images, and near-duplicates that may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import counted, progress
from selfsight.files import write_json
from selfsight.models.tables import check_suffix, writing_table
from selfsight.neighbours.grouping import (
    DENSE,
    NEIGHBOURS,
    by_size,
    duplicate_of,
    group_scores,
    hdbscan_groups,
    linked_groups,
)
from selfsight.neighbours.index import Index
from selfsight.neighbours.pair_table import read_pairs
from selfsight.neighbours.shown import Gallery
from selfsight.neighbours.verification import chunked, different_threshold
from selfsight.records.neighbours import ClustersFile, GroupLine, ShownGroup
from selfsight.reporting.neighbours import write_clusters_page
from selfsight.settings import Settings

PICTURED = 40
"""Groups that the page shows, the largest first."""
IN_A_GROUP = 12


class ClusterImages(Settings):
    """Group the images of an index by similarity, and name near-duplicates."""

    index: tyro.conf.Positional[str]
    """The folder of an index."""
    out: str = "clusters.csv"
    """.csv or .parquet: row_id, cluster, size, duplicate_of, label; a page is written beside it."""
    by: Literal["auto", "hdbscan", "linkage"] = "auto"
    """How to group: hdbscan, which needs no threshold, or average linkage at one; auto: linkage
    where there are pairs or a threshold."""
    pairs: str | None = None
    """Labelled pairs, as for `pairs`; the threshold lies 3.3 deviations above the mean cosine of
    the different ones."""
    threshold: Annotated[float, Field(ge=-1.0, le=1.0)] | None = None
    """Mean cosine of two groups from which average linkage joins them."""
    near: Annotated[float, Field(gt=0.0, le=1.0)] = 0.98
    """Cosine from which two images are near-duplicates."""


@dataclass(frozen=True)
class Clusters:
    """Groups of an index.

    Attributes:
        row_ids: ``(N,)``.
        clusters: ``(N,)``, numbered from the largest; -1 for an image that is alone.
        scores: beside the labels, with two trivial groupings; empty where there are no labels.
        path: of the table.
        page: of the pictures.
    """

    row_ids: NDArray[np.str_]
    clusters: NDArray[np.int64]
    scores: tuple[GroupLine, ...]
    path: Path
    page: Path

    def __str__(self) -> str:
        count = int(self.clusters.max(initial=-1)) + 1
        alone = int((self.clusters < 0).sum())
        text = (
            f"{counted(count, 'group')}, {counted(alone, 'image')} alone: {self.path}, {self.page}"
        )
        for one in self.scores:
            text += f"\n{one.name}: pair F1 {one.pair_f1:.3f}, BCubed {one.bcubed:.3f}"
        return text


def cluster(settings: ClusterImages) -> Clusters:
    """Groups all images, and writes one row an image.

    ``cluster`` is a number from 0, the largest group, or empty for an image that is alone.
    ``duplicate_of`` names the earlier image that an image is a near-duplicate of.

    Returns:
        The groups, how they agree with the labels, and where they were written.

    Raises:
        ValueError: no such index or file of pairs, or settings that do not go together.
    """
    check_suffix(settings.out, (".csv", ".parquet"), settings, (".json", ".html"))
    given = settings.pairs is not None or settings.threshold is not None
    by = ("linkage" if given else "hdbscan") if settings.by == "auto" else settings.by
    if by == "linkage" and not given:
        raise ValueError("by linkage: give --pairs with labelled pairs, or --threshold.")
    if by == "hdbscan" and given:
        raise ValueError("by hdbscan: it takes neither --pairs nor --threshold.")
    index = Index.load(settings.index)
    vectors = index.vectors.at(np.arange(len(index)))
    nearest = _all_nearest(index) if len(index) > 1 else (torch.zeros(1, 0), np.zeros((1, 0), int))
    threshold = settings.threshold
    if by == "linkage":
        if threshold is None:
            assert settings.pairs is not None
            pairs = read_pairs(settings.pairs, index)
            threshold = different_threshold(pairs.cosines(index), pairs.same)
        groups = linked_groups(vectors, threshold)
    elif len(index) < 3:
        groups = np.full(len(index), -1)
    else:
        groups = hdbscan_groups(vectors, nearest if len(index) > DENSE else None)
    groups = by_size(groups)
    copies = duplicate_of(nearest[0], nearest[1], settings.near)
    scores = _scores(index, groups, by)
    return _written(settings, index, groups, copies, scores, by, threshold)


def _all_nearest(index: Index) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Cosines and places ``(N, k)`` of the nearest of all images."""
    k = min(NEIGHBOURS, len(index) - 1)
    values, places = [], []
    with progress("neighbours", len(index)) as bar:
        for rows in chunked(len(index), 4096):
            own = np.arange(rows.start, rows.stop)
            part = index.nearest(index.vectors.at(own), k, without=own)
            values.append(part[0])
            places.append(part[1])
            bar.update(len(own))
    return torch.cat(values), np.concatenate(places)


def _scores(index: Index, groups: NDArray[np.int64], by: str) -> tuple[GroupLine, ...]:
    """Beside labels of a class or an identity, where at least two images share one."""
    if index.card.target_kind not in ("class", "identity"):
        return ()
    texts = index.labels
    known = np.array([text is not None for text in texts])
    if known.sum() < 2:
        return ()
    labels = np.unique([text for text in texts if text is not None], return_inverse=True)[1]
    groups = groups[known]
    alone, whole = np.full(len(groups), -1), np.zeros(len(groups), np.int64)
    return (
        group_scores(by, groups, labels),
        group_scores("every image alone", alone, labels),
        group_scores("all one group", whole, labels),
    )


def _written(
    settings: ClusterImages,
    index: Index,
    groups: NDArray[np.int64],
    copies: NDArray[np.int64],
    scores: Sequence[GroupLine],
    by: str,
    threshold: float | None,
) -> Clusters:
    import pyarrow as pa

    path = Path(settings.out)
    sizes = np.bincount(groups[groups >= 0], minlength=1)
    table = pa.table(
        {
            "row_id": index.rows["row_id"],
            "cluster": pa.array([None if g < 0 else g for g in groups.tolist()], pa.int64()),
            "size": np.where(groups < 0, 1, sizes[np.maximum(groups, 0)]),
            "duplicate_of": pa.array(
                [None if c < 0 else str(index.row_ids[c]) for c in copies.tolist()], pa.string()
            ),
            "label": index.rows["label"],
        }
    )
    with writing_table(path) as write:
        write(table)
    gallery = Gallery(index)
    count = int(groups.max(initial=-1)) + 1
    shown = []
    for group in range(min(count, PICTURED)):
        members = np.flatnonzero(groups == group)
        part = members[:IN_A_GROUP].tolist()
        words = ["near-duplicate" if copies[place] >= 0 else "" for place in part]
        shown.append(ShownGroup(group, len(members), gallery.images(part, words)))
    first_copies = [
        (int(copies[row]), row) for row in np.flatnonzero(copies >= 0).tolist()[:PICTURED]
    ]
    record = ClustersFile(
        index=str(index.folder),
        data=index.card.data,
        images=len(index),
        table=path.name,
        by=by,
        threshold=threshold,
        groups=count,
        alone=int((groups < 0).sum()),
        largest=int(sizes.max(initial=0)),
        near=settings.near,
        duplicates=int((copies >= 0).sum()),
        scores=tuple(scores),
        target=index.card.target,
        shown=tuple(shown),
        copies=tuple(gallery.images(pair, ["kept", "near-duplicate"]) for pair in first_copies),
    )
    write_json(path.with_suffix(".json"), record.plain())
    page = write_clusters_page(path.with_suffix(".json"))
    return Clusters(index.row_ids, groups, tuple(scores), path, page)
