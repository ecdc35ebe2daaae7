"""Any `torch.nn.Module` as something to evaluate: ``(B, C, H, W)`` images to ``(B, F)``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.console import counted, say
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.evaluation.controls import initialisations
from selfsight.evaluation.subject import Subject
from selfsight.fitting.representation_cache import weights_key
from selfsight.fitting.representations import Representations, calibrate, raw_pixels, represent
from selfsight.networks.backbones import Backbone


def module_subjects(
    module: nn.Module,
    images: ImageSet,
    rows: NDArray[np.int64],
    train: NDArray[np.int64],
    controls: Sequence[str],
    device: torch.device,
) -> tuple[list[Subject], str, list[str]]:
    """The module as ``trained`` and its controls; the hash of its weights; notes.

    The module gets pixels in unit scale (uint8 over 255, uint16 over 65535, float32 as they are),
    not normalised: what it wants beyond that is its own part. It stays as it is.

    Args:
        module: ``(B, C, H, W)`` to ``(B, F)``.
        images, rows, train, device: see `selfsight.evaluation.material.Material`.
        controls: ``untrained`` and ``pixels``.

    Raises:
        ValueError: it does not take these images or does not give ``(B, F)``; or another control.
    """
    for name in controls:
        if name not in ("start", "untrained", "pixels"):
            raise ValueError(f"control {name}: a network from Python has untrained and pixels.")
    plain = Statistics((0.0,) * images.channels, (1.0,) * images.channels)

    def backbone_of(network: nn.Module) -> Backbone:
        side = max(images.height, images.width)
        return Backbone.of(network, images.channels, side).eval()

    def subject(name: str, backbones: Sequence[Backbone]) -> Subject:
        made = []
        for backbone in backbones:
            say(f"representations of {counted(len(rows), 'image')}: {name}")
            values = represent(backbone, images, rows, plain, device=device)
            made.append(Representations.of(values.to(device), rows, train))
        again = partial(_represented, backbones[0], plain, device)
        return Subject(name, tuple(made), represent=again)

    network, notes = copy.deepcopy(module), []
    found = [subject("trained", [backbone_of(network)])]
    if "untrained" in controls:
        lacking = without_reset(module)
        if lacking is None:
            count = initialisations(images, rows)
            fresh = [backbone_of(untrained(module, seed)) for seed in range(count)]
            for backbone in fresh:
                calibrate(backbone, images, train, plain, device=device)
            found.append(subject("untrained", fresh))
        else:
            notes.append(
                f"There is no untrained control: {lacking} has weights and no reset_parameters()."
            )
    if "pixels" in controls:
        values = raw_pixels(images, rows, train)
        found.append(Subject("pixels", (Representations.of(values.to(device), rows, train),)))
    return found, weights_key(module), notes


def without_reset(module: nn.Module) -> str | None:
    """The type of a part that has weights and cannot draw new ones; None: every part can."""
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not callable(getattr(part, "reset_parameters", None)):
            return type(part).__name__
    return None


def untrained(module: nn.Module, seed: int) -> nn.Module:
    """A copy in which every part has drawn new weights, a function of the seed."""
    fresh = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in fresh.modules():
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
    return fresh


def _represented(
    backbone: Backbone, statistics: Statistics, device: torch.device, images: ImageSet, what: str
) -> Tensor:
    return represent(backbone, images, np.arange(len(images)), statistics, device=device)
