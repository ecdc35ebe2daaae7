"""A table of pairs: two images, whether they are the same, and perhaps a fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.neighbours.index import Index
from selfsight.neighbours.verification import FOLDS, chunked, drawn_folds

ENDINGS = (("_a", "_b"), ("_1", "_2"))
YES = {"1", "true", "yes", "same"}
NO = {"0", "false", "no", "different"}
ROWS = 8192


@dataclass(frozen=True)
class PairTable:
    """Pairs whose two images are in an index.

    Attributes:
        places: ``(P, 2)`` in the index.
        same: ``(P,)``.
        folds: ``(P,)``.
        drawn: whether the folds were drawn, since the table has none.
        missing: pairs that were left out, since an image is not in the index.
    """

    places: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]
    drawn: bool
    missing: int

    def cosines(self, index: Index, centre: torch.Tensor | None = None) -> NDArray[np.float64]:
        """``(P,)`` cosines, of vectors about a centre where one is given."""
        return pair_cosines(index, self.places, centre)


def pair_cosines(
    index: Index, places: NDArray[np.int64], centre: torch.Tensor | None = None
) -> NDArray[np.float64]:
    """``(P,)`` cosines of pairs ``(P, 2)``, of vectors about a centre where one is given."""
    found = np.zeros(len(places))
    for part in chunked(len(places), ROWS):
        first, second = (index.vectors.at(places[part, side]) for side in (0, 1))
        if centre is not None:
            first, second = first - centre, second - centre
        found[part] = torch.nn.functional.cosine_similarity(first, second, dim=1).numpy()
    return found


def read_pairs(path: str | Path, index: Index, *, seed: int = 0) -> PairTable:
    """Pairs from CSV or Parquet.

    The two columns of images are ``a`` and ``b``, or end in ``_a`` and ``_b`` (``_1`` and ``_2``);
    they hold row ids of the index, or the names that its Parquet file keeps of the images. ``same``
    is 1 or 0; ``fold`` is optional.

    Raises:
        ValueError: no such file, columns that are missing, values of ``same`` that are neither, or
            no pair that is in the index.
    """
    table = read_table(path, "pairs")
    columns = _columns(table.column_names, path)
    words = [str(value).strip().lower() for value in table["same"].to_pylist()]
    if wrong := next((word for word in words if word.removesuffix(".0") not in YES | NO), None):
        raise ValueError(f"pairs {path}: same is {wrong!r} in some row; it must be 1 or 0.")
    same = np.array([word.removesuffix(".0") in YES for word in words], np.bool_)
    known = _known(index)
    found = [
        np.array([known.get(str(name), -1) for name in table[column].to_pylist()], np.int64)
        for column in columns
    ]
    places = np.stack(found, axis=1)
    kept = (places >= 0).all(1)
    if not kept.any():
        example = table[columns[0]][0].as_py() if len(table) else ""
        raise ValueError(
            f"pairs {path}: no pair has both images in the index; the first names {example!r}, and "
            f"the first row id of the index is {str(index.row_ids[0])!r}."
        )
    drawn = "fold" not in table.column_names
    if drawn:
        folds = drawn_folds(same[kept], seed)
    else:
        folds = np.unique(table["fold"].to_pylist(), return_inverse=True)[1][kept]
    return PairTable(places[kept], same[kept], folds, drawn, int((~kept).sum()))


def draw_pairs(index: Index, count: int, *, seed: int = 0) -> PairTable:
    """Pairs of labelled images, half of them same, in folds that share no label.

    Images that pretraining did not see are taken where there are such pairs among them. A label is
    drawn first and its images second, so that nobody with many images rules the score.

    Args:
        index: with labels: people, classes.
        count: of pairs at most, all folds together.
        seed: of the folds and of the draw.

    Raises:
        ValueError: fewer than four labels have two images.
    """
    labels = np.array([label or "" for label in index.labels])
    known = labels != ""
    seen = index.rows["seen"].fill_null(True).to_numpy(zero_copy_only=False)
    for rows in (np.flatnonzero(known & ~seen), np.flatnonzero(known)):
        names, codes, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
        several = np.flatnonzero(sizes > 1)
        if len(several) >= 4:
            break
    else:
        raise ValueError(
            f"draw: pairs need at least four labels with two images each, and {index.folder} has "
            f"{len(several)}."
        )
    random = np.random.default_rng([seed, 17])
    folds = min(FOLDS, len(several) // 2)
    fold_of = np.zeros(len(names), np.int64)
    fold_of[random.permutation(several)] = np.arange(len(several)) % folds
    single = random.permutation(np.flatnonzero(sizes == 1))
    fold_of[single] = np.arange(len(single)) % folds
    members = np.split(rows[np.argsort(codes, kind="stable")], np.cumsum(sizes)[:-1])
    drawn: dict[tuple[int, int], tuple[bool, int]] = {}
    for fold in range(folds):
        people = np.flatnonzero(fold_of == fold)
        pairs = people[sizes[people] > 1]
        for same in (True, False):
            wanted, tries = count // (2 * folds), 0
            while wanted and tries < 20 * count:
                tries += 1
                if same:
                    a, b = random.choice(members[random.choice(pairs)], 2, replace=False)
                else:
                    first, second = random.choice(people, 2, replace=False)
                    a, b = random.choice(members[first]), random.choice(members[second])
                pair = (int(min(a, b)), int(max(a, b)))
                if pair not in drawn:
                    drawn[pair] = same, fold
                    wanted -= 1
    places = np.array(list(drawn), np.int64).reshape(-1, 2)
    same_of, folds_of = map(np.array, zip(*drawn.values(), strict=True))
    return PairTable(places, same_of.astype(np.bool_), folds_of.astype(np.int64), True, 0)


def read_table(path: str | Path, what: str) -> Any:
    """The pyarrow table of a CSV or Parquet file.

    Args:
        path: of the file.
        what: how sentences call it: the setting that names it.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{what} {path}: there is no such file.")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{what} {path}: give a .csv or .parquet file.")
    try:
        table = pq.read_table(path) if path.suffix.lower() == ".parquet" else pc.read_csv(path)
        table.validate(full=True)  # text that is no UTF-8
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise ValueError(f"{what} {path} is damaged and cannot be read: {error}") from None
    return table


def _columns(names: list[str], path: str | Path) -> tuple[str, str]:
    """The two columns of images."""
    if "same" in names:
        if {"a", "b"} <= set(names):
            return "a", "b"
        for first, second in ENDINGS:
            for name in names:
                other = name.removesuffix(first) + second
                if name.endswith(first) and other in names:
                    return name, other
    raise ValueError(
        f"pairs {path}: it needs two columns of images (a and b, or NAME_a and NAME_b) and same (1 "
        f"or 0); it has {', '.join(names)}."
    )


def _known(index: Index) -> dict[str, int]:
    """Places by row id and by file name; the names of a file are not taken where two share one."""
    files: dict[str, int] = {}
    for place, name in enumerate(index.rows["file"].to_pylist()):
        if name is not None:
            files[name] = -1 if name in files else place
    return files | index.places
