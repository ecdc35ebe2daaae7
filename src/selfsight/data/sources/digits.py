"""The 1,797 real handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from selfsight.data.imageset import class_target
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.array_pixels import array_loader
from selfsight.data.sources.steps.listing import Listing

NAME = "digits"


def opens(path: str | Path) -> bool:
    """The word ``digits``."""
    return str(path) == NAME


def list(path: str | Path, asked: Asked) -> Listing:
    """8 x 8 grey images, class target ``digit``; test is cut by `complete_splits`.

    UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), test part.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * (255.0 / 16.0)).astype(np.uint8)
    pixels, _ = as_pixels({NAME: images}, NAME, replace(asked, scale=None))
    listing = Listing(
        name=NAME,
        row_ids=np.array([f"digits#{row}" for row in range(len(images))]),
        splits=np.full(len(images), "train", dtype="<U10"),
        load=array_loader(pixels, NAME, asked, lambda: NAME),
        targets={"digit": class_target("digit", data.target, [str(d) for d in range(10)])},
        mirrored=False,
        notes=("A mirrored digit is no digit: views do not mirror.",),
    )
    return listing
