"""Images that were opened undecoded, decoded for good."""

from __future__ import annotations

import numpy as np

from selfsight.data.duplicates import copies_together
from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.lazy import waiting


def settled(images: ImageSet) -> ImageSet:
    """The images decoded for good, in memory or a store, without those that cannot be read.

    Sets that were opened with ``decode=True`` come back as they are.

    Raises:
        ValueError: more images are unreadable than were allowed when the set was opened.
    """
    pixels = waiting(images.pixels)
    if pixels is None or pixels.settle is None:
        return images
    loaded = pixels.settle(pixels.rows)
    kept = images.take(np.flatnonzero(np.isin(pixels.rows, loaded.rows)))
    notes = [note for note in loaded.notes if note not in images.notes]
    decoded = kept.changed(pixels=loaded.pixels).with_notes(*notes)
    return decoded if pixels.given is None else copies_together(decoded, pixels.given[loaded.rows])
