"""Drift between two image sets: which images of one are new, and how far the sets are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.files import write_json
from selfsight.fitting.novelty import (
    Novelty,
    distances_to,
    drawn,
    is_novel,
    lengths_of,
    novelty_within,
    unit,
)
from selfsight.fitting.two_samples import MOST, TwoSamples, compare
from selfsight.models.tables import writing_table
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.pictures import encoded
from selfsight.neighbours.shown import shown_picture
from selfsight.records.drift import DriftFile, ShownImage
from selfsight.reporting.drift import write_drift_page

REFERENCE = 5000
"""Images of the other set that are represented: a seeded draw of more."""
PICTURED = 60
"""New images that the page shows."""
SIDE = 96


@dataclass(frozen=True)
class Drift:
    """Images beside those of another set.

    Attributes:
        comparison: how well a classifier tells the sets apart.
        table: pyarrow: row_id, distance (1 - cosine of the nearest image of the other set) and
            novel, the furthest image first.
        novelty: from which distance an image is new; None: the other set is too small to tell.
        record: what ``drift.json`` holds.
        page: path of ``drift.html``.
    """

    comparison: TwoSamples
    table: Any
    novelty: Novelty | None
    record: DriftFile
    page: Path

    def __str__(self) -> str:
        sentences = (self.record.answer, self.record.news, self.record.caution, str(self.page))
        return " ".join(filter(None, sentences))


def drift(
    images: ImageSet,
    reference: ImageSet,
    encoder: Encoder,
    folder: Path,
    *,
    run: str,
    seed: int = 0,
) -> Drift:
    """Compares images with those of another set, and writes ``drift.csv``, ``.json`` and ``.html``.

    Args:
        images: in the form of the encoder.
        reference: what they are compared with; the same form.
        encoder: the network.
        folder: where the files go.
        run: how the network was named.
        seed: of draws, folds and permutations.

    Raises:
        ValueError: fewer than ten images (or groups) in a set.
    """
    import pyarrow as pa

    rows, vectors, lengths = _finite(images, np.arange(len(images)), encoder)
    others = drawn(len(reference), REFERENCE, seed)
    other_rows, other_vectors, other_lengths = _finite(reference, others, encoder)
    some, other_some = (drawn(len(each), MOST, seed) for each in (rows, other_rows))
    units, other_units = _units(images, reference, rows[some], other_rows[other_some])
    try:
        comparison = compare(
            vectors[some].double().numpy(),
            other_vectors[other_some].double().numpy(),
            units,
            other_units,
            seed=seed,
        )
    except ValueError as error:
        raise ValueError(f"against: of {images.name} and {reference.name}, {error}") from None
    groups = None if reference.groups is None else reference.groups[other_rows]
    novelty = novelty_within(other_vectors, other_lengths, groups, seed=seed)
    distances = distances_to(vectors, other_vectors)
    order = np.argsort(-distances, kind="stable")
    novel = is_novel(distances, lengths, novelty)
    table = pa.table(
        {
            "row_id": images.row_ids[rows[order]].tolist(),
            "distance": distances[order],
            "novel": novel[order],
        }
    )
    with writing_table(folder / "drift.csv") as write:
        write(table)
    shown = []
    for place in order[novel[order]][:PICTURED].tolist():
        picture = shown_picture(encoded(np.asarray(images.pixels[rows[place]]), SIDE))
        name = str(images.row_ids[rows[place]])
        shown.append(ShownImage(name, "", "", f"{distances[place]:.3f}", picture))
    record = DriftFile(
        data=images.name,
        against=reference.name,
        run=run,
        images=len(rows),
        reference=len(other_rows),
        auc=comparison.auc,
        low=comparison.low,
        high=comparison.high,
        p=comparison.p,
        differ=comparison.differ,
        compared=comparison.counts,
        permutations=comparison.permutations,
        novel=int(novel.sum()),
        threshold=None if novelty is None else novelty.threshold,
        shortest=None if novelty is None else novelty.shortest,
        longest=None if novelty is None else novelty.longest,
        share=None if novelty is None else novelty.share,
        seen=(sum(map(bool, encoder.seen(images))), sum(map(bool, encoder.seen(reference)))),
        table="drift.csv",
        shown=tuple(shown),
    )
    write_json(folder / "drift.json", record.plain())
    page = write_drift_page(folder / "drift.json")
    return Drift(comparison, table, novelty, record, page)


def _finite(images: ImageSet, rows: NDArray[np.int64], encoder: Encoder) -> tuple[Any, Any, Any]:
    """Rows whose representation is finite, their unit vectors ``(M, F)``, lengths ``(M,)``."""
    values = encoder.vectors(images, rows, None)
    finite = values.isfinite().all(1)
    return rows[finite.numpy()], unit(values[finite]), lengths_of(values[finite])


def _units(
    images: ImageSet, other: ImageSet, rows: NDArray[np.int64], other_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What belongs together: groups of each set; without them, copies of one image.

    Copies in both sets are one unit, so that no fold predicts the side of an image from its copy.
    """
    digests = np.concatenate([images.content.digests[rows], other.content.digests[other_rows]])
    codes = np.unique(digests, return_inverse=True)[1].astype(np.int64)
    parts = [codes[: len(rows)], codes[len(rows) :]]
    for at, (each, chosen) in enumerate(((images, rows), (other, other_rows))):
        if each.groups is not None:
            groups = each.groups[chosen]
            # Codes of groups lie above those of images; the two sets number theirs independently.
            base = len(codes) + at * (int(1e9) + 1)
            parts[at] = np.where(groups < 0, parts[at], base + groups)
    return parts[0], parts[1]
