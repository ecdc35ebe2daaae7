"""What the modules for timm, torchvision and transformers share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from selfsight.networks.published.layouts import Channels


@dataclass(frozen=True)
class FromLibrary:
    """Weights of a library's network for three channels.

    Attributes:
        state: of the network as `library_network` makes it.
        source: repository and commit, or address.
        path: the file in the library's cache.
        normalisation: mean and deviation.
        normalised_by: where these are from.
        licence: of the weights.
        size: side of the images it was published for, pixels.
        config: see `BackboneSpec.config`.
    """

    state: dict[str, Tensor]
    source: str
    path: Path
    normalisation: Channels
    normalised_by: str
    licence: str
    size: int
    config: dict[str, Any]


def imported(library: str, name: str) -> Any:
    """The library that the backbone ``name`` is of.

    Raises:
        ValueError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(library)
    except ImportError:
        raise ValueError(
            f"backbone {name!r} needs the package {library}: pip install 'selfsight[{library}]'."
        ) from None
    except Exception as error:  # torchvision beside another build of torch
        raise ValueError(
            f"backbone {name!r}: {library} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def inner(name: str) -> str:
    """``NAME`` of ``LIBRARY:NAME``."""
    return name.partition(":")[2]
