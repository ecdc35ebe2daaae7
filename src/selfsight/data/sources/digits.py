"""The 1,797 real handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import class_target
from selfsight.data.sources.listing import Listing, Loaded, Size

NAME = "digits"


def list_digits() -> Listing:
    """8 x 8 grey images, class target ``digit``; test is cut by `complete_splits`.

    UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), test part.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(data.images[..., None] * (255.0 / 16.0)).astype(np.uint8)

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        from selfsight.data.pixels.resize import resized

        return Loaded(resized(pixels[rows], size), rows)

    return Listing(
        name=NAME,
        row_ids=np.array([f"digits#{row}" for row in range(len(pixels))]),
        splits=np.full(len(pixels), "train", dtype="<U10"),
        load=load,
        targets={"digit": class_target("digit", data.target, [str(d) for d in range(10)])},
        mirrored=False,
        notes=("A mirrored digit is no digit: views do not mirror.",),
    )
