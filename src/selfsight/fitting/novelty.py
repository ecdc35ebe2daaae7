"""How far an image is from the training images, and from where on it is unlike anything seen.

The distance is 1 - cosine between an image's representation and the nearest one of the training
images: the nearest-neighbour score on normalised features of Sun et al., "Out-of-Distribution
Detection with Deep Nearest Neighbors" (ICML 2022), eq. 2, with k = 1 and the cosine in place of the
Euclidean distance, which orders unit vectors in the same way.

An angle does not see the length of a representation, and images of another domain often point the
way of a few of the training images at many times their length. So the length is looked at, too.

The thresholds are conformal quantiles (Vovk et al., 2005; Bates et al., "Testing for Outliers with
Conformal p-values", 2023): of n images like the training images that are not compared with
themselves, the ceil((n + 1) (1 - share / 3))-th smallest distance, and the same for the longest and
the shortest length. A further image like them is beyond one of the three with a probability of at
most ``share``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import counted
from selfsight.data.splits import at_most
from selfsight.fitting.folds import groups_of
from selfsight.settings import Settings

SHARE = 0.01
"""Of images like the training images that may be called novel."""
TESTS = 3
"""Too far away, too long, too short: each has its part of the share."""
COPY = 1e-5
"""Distance below which an image is a copy of one that was seen, and never novel."""
MIN_IMAGES = 20
"""Fewer images give no threshold."""
ROWS = 8192
"""Reference vectors that are compared at once."""
ASKED = 2000
"""Images whose distances give the threshold, at most."""


class Novelty(Settings):
    """From which distance, and outside which lengths, an image is unlike anything seen."""

    threshold: Annotated[float, Field(ge=0.0)]
    """Distance, 1 - cosine; an image that is further away from its nearest one is novel."""
    shortest: Annotated[float, Field(ge=0.0)]
    longest: Annotated[float, Field(ge=0.0)]
    """Lengths of a representation; an image with a shorter or a longer one is novel, too."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Of images like the training images that are novel by one of the three, at most."""
    images: Annotated[int, Field(ge=1)]
    """How many images it comes from."""
    taken_from: Literal["train", "validation"] = "train"
    """train: each image was compared with the images of other groups (where there are none, with
    all others); validation: images that no training saw were compared with those of train."""

    def words(self, kind: str = "training") -> str:
        """Such as "distance above 0.2 or length outside 1 to 5, as for at most 1 % of images like
        the 900 training images".

        Args:
            kind: of the images that are compared with; validation images are called so anyway.
        """
        which = "validation" if self.taken_from == "validation" else kind
        return (
            f"distance above {self.threshold:.3g} or length outside {self.shortest:.3g} to "
            f"{self.longest:.3g}, as for at most {100 * self.share:.2g} % of images like the "
            f"{counted(self.images, f'{which} image')}"
        )


def unit(representations: Tensor) -> Tensor:
    """``(M, F)`` float32 of length 1; rows that are not finite become NaN."""
    finite = torch.isfinite(representations).all(1, keepdim=True)
    return torch.where(finite, F.normalize(representations.float(), dim=1), torch.nan)


def lengths_of(representations: Tensor) -> NDArray[np.float32]:
    """``(M,)`` lengths of representations ``(M, F)``; NaN or infinite where they are not finite."""
    return representations.float().norm(dim=1).numpy()  # type: ignore[no-any-return]


def distances_to(queries: Tensor, reference: Tensor) -> NDArray[np.float32]:
    """``(M,)`` distances to the nearest vector of the reference; NaN where a query is not finite.

    Args:
        queries: ``(M, F)`` of length 1 or NaN.
        reference: ``(N, F)`` of length 1.
    """
    return _nearest(queries, reference, None, None)


def distances_within(
    reference: Tensor, asked: NDArray[np.int64], groups: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """``(M,)`` distances of some of the vectors to the nearest one of another group.

    Args:
        reference: ``(N, F)`` of length 1, in memory or memory-mapped; read once from end to end.
        asked: ``(M,)`` places in it.
        groups: ``(N,)``; -1: of no group, as is every image where this is None. An image of no
            group is compared with all but itself.

    Returns:
        Infinite where all images are of one group.
    """
    units = torch.from_numpy(groups_of(groups, np.arange(len(reference))))
    places = torch.from_numpy(asked)
    return _nearest(reference[places], reference, units[places], units)


def _nearest(
    queries: Tensor, reference: Tensor, of_queries: Tensor | None, units: Tensor | None
) -> NDArray[np.float32]:
    best = torch.full((len(queries),), -math.inf)
    for first in range(0, len(reference), ROWS):
        cosines = queries @ reference[first : first + ROWS].T
        if of_queries is not None and units is not None:
            same = of_queries[:, None] == units[None, first : first + ROWS]
            cosines.masked_fill_(same, -math.inf)
        best = torch.maximum(best, cosines.amax(1))
    return (1.0 - best).clamp_min(0.0).numpy()


def drawn(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """``(min(count, most),)`` different places in ascending order, drawn by seed."""
    return at_most(np.arange(count), most, seed, 12)


def novelty_of(
    distances: NDArray[np.float32],
    lengths: NDArray[np.float32],
    *,
    taken_from: Literal["train", "validation"] = "train",
) -> Novelty | None:
    """Thresholds beyond which at most `SHARE` of such images are; None where too few are known.

    Args:
        distances: ``(n,)`` of images that were not compared with themselves; those that are not
            finite do not count. Fewer than ``3 / SHARE - 1`` give the largest and smallest
            values, and the share that goes with them, ``3 / (n + 1)``.
        lengths: ``(n,)`` of their representations.
        taken_from: see `Novelty`.
    """
    known = np.isfinite(distances) & np.isfinite(lengths)
    values = np.sort(distances[known].astype(np.float64))
    sizes = np.sort(lengths[known].astype(np.float64))
    count = len(values)
    if count < MIN_IMAGES:
        return None
    share = max(SHARE, TESTS / (count + 1))
    place = min(math.ceil((count + 1) * (1.0 - share / TESTS) - 1e-9), count)
    return Novelty(
        threshold=float(values[place - 1]),
        shortest=float(sizes[count - place]),
        longest=float(sizes[place - 1]),
        share=share,
        images=count,
        taken_from=taken_from,
    )


def novelty_within(
    reference: Tensor,
    lengths: NDArray[np.float32],
    groups: NDArray[np.int64] | None,
    *,
    most: int = ASKED,
    seed: int,
) -> Novelty | None:
    """`novelty_of` images that are compared with those of other groups among them.

    Args:
        reference, groups: see `distances_within`.
        lengths: ``(N,)`` of the representations before they were brought to length 1.
        most: images whose distances are taken, a seeded draw.
        seed: of the draw.
    """
    asked = drawn(len(reference), most, seed)
    return novelty_of(distances_within(reference, asked, groups), lengths[asked])


def is_novel(
    distances: NDArray[np.float32], lengths: NDArray[np.float32], novelty: Novelty | None
) -> NDArray[np.bool_]:
    """``(M,)``: beyond one of the thresholds; nothing is where there are none, nor without values.

    Args:
        distances: ``(M,)``; NaN is not novel, nor is a copy (`COPY`).
        lengths: ``(M,)`` of the representations.
        novelty: the thresholds; None: there are none.
    """
    if novelty is None:
        return np.zeros(len(distances), np.bool_)
    with np.errstate(invalid="ignore"):
        outside = (lengths < novelty.shortest) | (lengths > novelty.longest)
        return (distances > novelty.threshold) | (outside & (distances > COPY))
