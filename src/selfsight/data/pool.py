"""Further images to pretrain on, kept apart from those that results are read on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.leaks import apart
from selfsight.data.options import DataOptions, Images
from selfsight.data.request import open
from selfsight.data.twins import apart_from_twins


@dataclass(frozen=True)
class Pool:
    """Further images to pretrain on.

    Attributes:
        images: of another source, in the form of the set.
        rows: those that are trained on.
        left_out: how many are not, since they are validation or test images of the set, or nearly.
        leaks: a sentence where they are trained on nevertheless.
    """

    images: ImageSet
    rows: NDArray[np.int64]
    left_out: int = 0
    leaks: tuple[str, ...] = ()


def open_pool(settings: DataOptions, source: Images, images: ImageSet) -> Pool:
    """Opens further images to pretrain on, and keeps them apart from what results are read on.

    Args:
        settings: of the set; its tiles and its flags hold here too.
        source: of the pool.
        images: the set that is evaluated.

    Raises:
        ValueError: see `open`; or images of the pool are validation or test images of the set, and
            neither ``drop_leaks`` nor ``allow_leaks`` was given.
    """
    wish = DataOptions(
        tile=settings.tile,
        max_unreadable=settings.max_unreadable,
        root=settings.root,
        bits=settings.bits,
        value_range=settings.value_range,
        nodata=settings.nodata,
        max_pixels=settings.max_pixels,
        axes=settings.axes,
        masks=settings.masks,
        validation=0.0,  # inside the pool nothing is evaluated
        test=0.0,
        allow_leaks=True,
    )
    pool = open(wish, source, scale=images.scale)
    rows, left_out, leaks = apart(pool, images, settings.drop_leaks, settings.allow_leaks)
    rows, near, more = apart_from_twins(pool, rows, images, settings.drop_near, settings.allow_near)
    return Pool(pool, rows, left_out + near, (*leaks, *more))
