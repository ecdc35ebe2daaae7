"""Groups of near-duplicates and of file names, for images that come without a group column."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.sources.steps.group_columns import plausible

NEAR = "near"
"""The word that asks for these groups, as ``--group near``."""
NAME = "cluster of near-duplicates"
MAX_SHARE = 0.05
MIN_REFUSED = 10
"""Images of a cluster that is never refused, however small the set."""
_COUNTER = re.compile(r"[-_. ]?\d+$")
_LOOKED_AT = 128
_ALIKE = 0.6
"""Difference of neighbouring frames over that of other images below which names look like runs."""


def name_stems(row_ids: Iterable[str]) -> list[str]:
    """Row ids without suffix and the number at their end: ``exp3_num`` of ``exp3_num_12.png``."""
    stems = []
    for row_id in row_ids:
        folder, slash, name = row_id.rpartition("/")
        stem = name.rpartition(".")[0] or name
        stems.append(folder + slash + _COUNTER.sub("", stem))
    return stems


def near_groups(images: ImageSet) -> tuple[NDArray[np.int64], tuple[str, ...], list[str]]:
    """Clusters of near-duplicates, joined with those of one name stem where names tell groups.

    Args:
        images: of any splits.

    Returns:
        ``(N,)`` numbers of the groups, their names (a row id), and notes.

    Raises:
        ValueError: a cluster holds more than 5 % of the images.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    from selfsight.data.near_duplicates import near_duplicates  # torch, which `report` spares

    count = len(images)
    found = near_duplicates(images, np.flatnonzero(~images.content.blank).astype(np.int64))
    edges = [found.rows]
    first = np.unique(images.content.digests, return_index=True, return_inverse=True)
    edges.append(np.stack([np.arange(count), first[1][first[2].reshape(-1)]], axis=1))
    stems = np.unique(np.array(name_stems(images.row_ids.tolist())), return_inverse=True)[1]
    by_name = plausible(stems.astype(np.int64), images.targets)
    if by_name:
        first_of = np.unique(stems, return_index=True)[1]
        edges.append(np.stack([np.arange(count), first_of[stems]], axis=1))
    rows = np.concatenate(edges)
    graph = coo_matrix((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), (count, count))
    _, groups = connected_components(graph, directed=False)
    sizes = np.bincount(groups)
    if sizes.max(initial=0) > max(MAX_SHARE * count, MIN_REFUSED):
        example = str(images.row_ids[int((groups == sizes.argmax()).argmax())])
        raise ValueError(
            f"group near: one cluster holds {int(sizes.max()):,} of the "
            f"{counted(count, 'image')} of "
            f"{images.name} (the one of {example}), so they cannot be split; name a column of "
            "groups with --group."
        )
    names = images.row_ids[np.unique(groups, return_index=True)[1]]
    what = "near-duplicates and file names" if by_name else "near-duplicates"
    note = (
        f"{counted(count, 'image is', 'images are')} in {counted(len(sizes), 'group')} by {what}."
    )
    return groups.astype(np.int64), tuple(names.tolist()), [*found.notes, note]


def frames_hint(images: ImageSet) -> str | None:
    """A sentence where names and pixels look like runs of similar frames and no group is known."""
    if images.groups is not None or len(images) < 20:
        return None
    stems = np.array(name_stems(images.row_ids.tolist()))
    codes = np.unique(stems, return_inverse=True)[1].astype(np.int64)
    if not plausible(codes, images.targets) or np.median(np.bincount(codes)) < 3:
        return None
    order = np.lexsort((images.row_ids, codes))
    pairs = np.stack([order[:-1], order[1:]])
    pairs = pairs[:, codes[pairs[0]] == codes[pairs[1]]]
    random = np.random.default_rng(0)
    pairs = pairs[:, random.permutation(pairs.shape[1])[:_LOOKED_AT]]
    others = random.permutation(len(images))[: pairs.shape[1]]

    def difference(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
        a, b = (np.asarray(images.pixels[rows], np.float64) for rows in (first, second))
        return float(np.median(np.abs(a - b).mean(axis=(1, 2, 3))))

    usual = difference(pairs[0][: len(others)], others)
    if not usual or difference(pairs[0], pairs[1]) > _ALIKE * usual:
        return None
    return (
        f"File names show runs of similar images, such as {stems[pairs[0, 0]]}: neighbours in a "
        "run should be on one side (--group near, or a column that names the run)."
    )
