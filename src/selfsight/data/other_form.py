"""Images read again in the form that another set has, to compare them with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.sources.steps.array_pixels import made_like
from selfsight.data.sources.steps.listing import Listing, Loaded


def digests_in(
    images: ImageSet, rows: NDArray[np.int64], scale: Scale, listed: Callable[..., Listing]
) -> NDArray[np.uint64]:
    """Digests of rows' pixels in another form, read from the source in it; 0 where blank."""
    if scale.form == images.scale.form:
        return np.where(images.content.blank[rows], 0, images.content.digests[rows])
    digests = np.zeros(len(rows), np.uint64)
    if scale.channels != images.channels and {scale.channels, images.channels} != {1, 3}:
        return digests
    try:
        listing = listed(scale)
        loaded, wanted = _loaded(images, rows, scale, listing)
    except ValueError:  # values that cannot be brought to that form are not those that it saw
        return digests
    ids, splits = listing.row_ids[loaded.rows], listing.splits[loaded.rows]
    form = ImageSet(images.name, loaded.pixels, ids, splits, value_scale=loaded.scale)
    others = made_like(form, empty(scale))
    content = others.content
    digests[np.isin(wanted, loaded.rows)] = np.where(content.blank, 0, content.digests)
    return digests


def _loaded(
    images: ImageSet, rows: NDArray[np.int64], scale: Scale, listing: Listing
) -> tuple[Loaded, NDArray[np.int64]]:
    """The rows in another form, and their numbers in the listing."""
    place = {row_id: i for i, row_id in enumerate(listing.row_ids.tolist())}
    wanted = np.array([place[row_id] for row_id in images.row_ids[rows].tolist()], np.int64)
    return listing.load(wanted, (scale.height, scale.width), 1.0), wanted


def empty(scale: Scale) -> ImageSet:
    """A set of no images in a form."""
    pixels = np.zeros((0, scale.height, scale.width, scale.channels), scale.dtype)
    ids, splits = np.zeros(0, "<U1"), np.zeros(0, "<U10")
    return ImageSet(scale.owner, pixels, ids, splits, value_scale=scale.values)
