"""How many labels were read in all: by a run, its ancestors, a selection, and a fit on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.tile_ids import image_ids, other_tiles
from selfsight.runs.lineage import Lineage, Source, start_of
from selfsight.runs.run import Run


@dataclass(frozen=True)
class LabelsRead:
    """Labels that were read before anything is fitted on top.

    A label is one target of one image: read twice, it counts once.

    Attributes:
        read: ``(N,)`` images of a set whose label was read.
        elsewhere: labels that are not of this set or this target.
    """

    read: NDArray[np.bool_]
    elsewhere: int = 0

    @classmethod
    def by(cls, lineage: Lineage, images: ImageSet, target: str) -> LabelsRead:
        """Those that runs and their ancestors read.

        An image is known by its pixels, or by its row id where its pixels were recorded in
        another form.

        Args:
            lineage: of the runs.
            images: the set.
            target: the name of the target that is fitted.
        """
        read = np.zeros(len(images), bool)
        others: set[tuple[str, str]] = set()
        content = images.content
        for seen in lineage.seen:
            same_form = seen.scale.form == images.scale.form
            for labels in seen.labels:
                here = np.isin(images.row_ids, labels.row_ids)
                if same_form:
                    same = np.isin(content.digests, labels.digests) & ~content.blank
                    here = same | (here & content.blank)
                here |= other_tiles(images.row_ids, labels.row_ids) >= 0
                if labels.target != target:
                    here[:] = False
                read |= here
                known = np.isin(labels.row_ids, images.row_ids[here])
                if same_form:
                    known |= np.isin(labels.digests, content.digests[here]) & (labels.digests != 0)
                here_too = {*image_ids(images.row_ids[here].tolist())}
                elsewhere = image_ids(labels.row_ids[~known].tolist())
                others |= {(labels.target, name) for name in elsewhere if name not in here_too}
        return cls(read, len(others))

    def with_rows(self, rows: NDArray[np.int64], unit: NDArray[np.str_] | None = None) -> int:
        """How many labels were read together with those of some rows.

        Args:
            rows: of the set.
            unit: ``(N,)`` the image that each row is a tile of; None: rows are images.
        """
        read = self.read.copy()
        read[rows] = True
        return (int(read.sum()) if unit is None else len(np.unique(unit[read]))) + self.elsewhere


def label_draw(run: Run) -> int | None:
    """The seed of the draw of labels that a run, or the nearest ancestor, was trained on.

    None where no training read a part of the labels.
    """
    at: Source | None = run
    while isinstance(at, Run):
        supervision = at.plain.get("supervision") or {}
        if at.labels_read is not None and supervision.get("label_fraction", 1.0) < 1.0:
            return int(supervision.get("label_seed", 0))
        at = start_of(at)
    return None
