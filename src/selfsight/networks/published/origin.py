"""Where the weights are from that a backbone starts with: what is said and recorded of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.data.statistics import Statistics
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.published.files import CLOSED
from selfsight.networks.published.layouts import NAMED, Channels
from selfsight.networks.published.search import FilePart
from selfsight.networks.specs import BackboneSpec
from selfsight.settings import Settings


class Origin(Settings):
    """What is recorded of the weights that a training started from."""

    source: str
    """The package and its version, the file, ``repository@commit``, or an address."""
    sha256: str
    """Of the file."""
    backbone: str
    """The network that they fill."""
    part: str = ""
    """Dictionaries and prefix of the keys that were taken; empty: the bare keys of the file."""
    others: tuple[str, ...] = ()
    """Further parts that would have filled the network."""
    tensors: int
    """How many were filled: all."""
    left_over: tuple[str, ...] = ()
    """What else is in the file, with the number of tensors."""
    changes: tuple[str, ...] = ()
    """What was done to channels and positions."""
    layout: str
    """Whose file it is."""
    mean: tuple[float, ...] | None
    """Of the weights' own normalisation, one a channel of the images; None: unknown."""
    std: tuple[float, ...] | None
    """Of the weights' own normalisation."""
    normalisation: str
    """Where mean and std are from."""
    licence: str
    """Of the weights, as far as it is known."""

    @property
    def statistics(self) -> Statistics | None:
        """The weights' own normalisation."""
        if self.mean is None or self.std is None:
            return None
        return Statistics(self.mean, self.std)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is printed."""
        part = f", part {self.part!r}" * bool(self.part)
        found = (
            f"Starts from published weights of {self.backbone}: {self.source} (sha256 "
            f"{self.sha256[:8]}{part}, all {self.tensors} tensors; {self.layout})."
        )
        notes = [found]
        if self.others:
            notes.append(
                f"Other parts fill it too: {', '.join(self.others)} (--weights-part chooses)."
            )
        if self.left_over:
            notes.append(f"Not needed from the file: {', '.join(self.left_over)}.")
        if self.changes:
            notes.append(f"Fitted to the images: {'; '.join(self.changes)}.")
        return (*notes, f"Licence of the weights: {self.licence}.")


@dataclass(frozen=True)
class PublishedWeights:
    """Weights for the whole of a network.

    Attributes:
        spec: the network, with what the file says of it.
        tensors: the state of the network.
        origin: what is recorded.
    """

    spec: BackboneSpec
    tensors: Mapping[str, Tensor]
    origin: Origin

    def backbone(self) -> Backbone:
        """The network with these weights, in train mode on the CPU."""
        backbone = build_backbone(self.spec, seed=0)
        backbone.network.load_state_dict(dict(self.tensors))
        return backbone


def for_channels(normalisation: Channels, channels: int) -> Channels:
    """One mean and deviation for each channel of the images."""
    if channels == 1:  # the network sees the image three times
        mean, std = (sum(values) / len(values) for values in normalisation)
        return (mean,), (std,)
    mean_of, std_of = normalisation
    places = [i % len(mean_of) for i in range(channels)]
    return tuple(mean_of[i] for i in places), tuple(std_of[i] for i in places)


def named_normalisation(name: str, channels: int) -> Statistics:
    """A normalisation of `NAMED` for the channels of the images."""
    return Statistics(*for_channels(NAMED[name], channels))


def as_state(part: FilePart) -> dict[str, Tensor]:
    """The state of a network from a whole part: copies, floating numbers as float32."""
    return {
        key: (value.float() if value.is_floating_point() else value).contiguous().clone()
        for key, value in part.tensors.items()
    }


def check_values(source: str, part: FilePart) -> None:
    """Raises ``ValueError`` for values that no trained network has."""
    for key, value in part.tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"weights {source}: {key!r} has values that are not finite. {CLOSED}")
        if key.endswith("running_var") and bool((value < 0).any()):
            raise ValueError(f"weights {source}: {key!r} has variances below 0. {CLOSED}")
