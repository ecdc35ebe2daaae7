"""Networks and weights of timm, torchvision and transformers, by the libraries' own downloads."""

from __future__ import annotations

from types import ModuleType

from torch import nn

from selfsight.networks.published import timm_models, torchvision_models, transformers_models
from selfsight.networks.published.library import FromLibrary
from selfsight.networks.specs import BackboneSpec, library_of

_MODULES: dict[str, ModuleType] = {
    "timm": timm_models,
    "torchvision": torchvision_models,
    "transformers": transformers_models,
}


def library_network(spec: BackboneSpec) -> nn.Module:
    """The network of a ``LIBRARY:NAME`` with fresh weights, giving ``(B, F)``; nothing is loaded.

    Raises:
        ValueError: the library is not installed, or has no such network.
    """
    return _module(spec.name).network(spec)  # type: ignore[no-any-return]


def from_library(name: str) -> FromLibrary:
    """Published weights of a ``LIBRARY:NAME``, from the library's cache or its server.

    Raises:
        ValueError: the library is not installed, has no such weights, or they are not in the cache
            and the server cannot be reached; the sentence names the repository and the file.
    """
    return _module(name).weights(name)  # type: ignore[no-any-return]


def published_size(name: str) -> int:
    """Side of the images that a ``LIBRARY:NAME`` was published for; downloads nothing but a card.

    Raises:
        ValueError: see `from_library`.
    """
    return _module(name).published_size(name)  # type: ignore[no-any-return]


def _module(name: str) -> ModuleType:
    library = library_of(name)
    assert library is not None
    return _MODULES[library]
