"""What stands under one name in the results: representations of a network, a control, a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.fitting.representations import Representations

Representation = Literal["auto", "run", "output", "mean", "stages"]
Pair = tuple[torch.Tensor, torch.Tensor]
Identity = dict[str, str]
"""Of a subject that is a run: ``run``, its path, and ``weights``, their hash."""


@dataclass(frozen=True)
class Subject:
    """Representations under one name in the results.

    Attributes:
        name: one of `selfsight.vocabulary.SUBJECTS`, or how a run is called; unique in the results.
        of_draw: one for all label draws, or several initialisations: draws take one after another
            of them, and where all labels are used each is measured.
        seeds: the same training with other seeds, one for each; draws cross them.
        views: gives the ``(M, F)`` representations of two views of the same images, made when
            they are asked for; None where there are none, as for pixels.
        identity: of a run; None otherwise.
        represent: gives the ``(M, F)`` representations of other images of the same form, which are
            cached under the name that is given; None where there is no network.
        stages: weighted stages beside the standardised mean that is in ``of_draw``, where a probe
            chooses between the two; empty otherwise.
    """

    name: str
    of_draw: tuple[Representations, ...]
    views: Callable[[], Pair | None] = lambda: None
    identity: Identity | None = None
    represent: Callable[[ImageSet, str], torch.Tensor] | None = None
    seeds: tuple[Representations, ...] = ()
    stages: tuple[Representations, ...] = ()

    def at(self, draw: int, seed: int = 0) -> Representations:
        """What is measured without labels; a label draw and a training seed count from 0."""
        return self.seeds[seed - 1] if seed else self.of_draw[draw % len(self.of_draw)]

    def candidates(self, draw: int, seed: int = 0) -> dict[Representation, Representations]:
        """What a probe chooses from, the usual choice first; one alone where there is no choice."""
        found: dict[Representation, Representations] = {"mean": self.at(draw, seed)}
        if self.stages:
            found = {"stages": self.stages[draw % len(self.stages)], **found}
        return found

    def with_choice(self, outputs: int, train: NDArray[np.int64]) -> Subject:
        """A subject of weighted stages, with the standardised mean taken out of them.

        The first pooling of the stages is the network's output; there it is divided by the root of
        its width (`selfsight.networks.pooling.StagePooling`).

        Args:
            outputs: width of the network's output.
            train: rows that statistics may be fitted on.
        """
        if self.of_draw[0].values.shape[1] == outputs:  # a network that shows no stages
            return self

        def views() -> Pair | None:
            if (pair := self.views()) is None:
                return None
            return mean_of_stages(pair[0], outputs), mean_of_stages(pair[1], outputs)

        def represent(images: ImageSet, what: str) -> torch.Tensor:
            assert self.represent is not None
            return mean_of_stages(self.represent(images, what), outputs)

        means = tuple(
            replace(
                Representations.of(mean_of_stages(stages.values, outputs), stages.rows, train),
                damaged=stages.damaged,
            )
            for stages in self.of_draw
        )
        again = None if self.represent is None else represent
        return replace(self, of_draw=means, views=views, represent=again, stages=self.of_draw)


def mean_of_stages(stages: torch.Tensor, outputs: int) -> torch.Tensor:
    """The standardised output ``(M, outputs)`` out of weighted stages ``(M, S)``."""
    first: torch.Tensor = stages[:, :outputs] * outputs**0.5
    return first
