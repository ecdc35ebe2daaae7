"""``torchvision:NAME[.WEIGHTS]``: networks and weights of torchvision."""

from __future__ import annotations

from typing import Any

from torch import nn

from selfsight.networks.published.caches import cached_by_torch
from selfsight.networks.published.library import FromLibrary, imported, inner
from selfsight.networks.specs import BackboneSpec


def network(spec: BackboneSpec) -> nn.Module:
    """See `selfsight.networks.published.libraries.library_network`."""
    name = inner(spec.name).partition(".")[0]
    torchvision = imported("torchvision", spec.name)
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(
            f"backbone {spec.name!r}: torchvision {torchvision.__version__} has no such model."
        )
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    _without_classifier(model)
    _for_channels(model, spec.channels)
    return model


def _without_classifier(model: nn.Module) -> None:
    """The last linear layer gives way to what goes into it."""
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())


def _for_channels(model: nn.Module, channels: int) -> None:
    """The first convolution gives way to one for so many channels."""
    name, conv = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if conv.in_channels == channels:
        return
    parent, _, child = name.rpartition(".")
    made = nn.Conv2d(
        channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    setattr(model.get_submodule(parent), child, made)


def _entry(name: str) -> Any:
    torchvision = imported("torchvision", name)
    model, _, tag = inner(name).partition(".")
    try:
        entries = torchvision.models.get_model_weights(model)
        return entries[tag] if tag else entries.DEFAULT
    except (KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"backbone {name!r}: torchvision has no such weights ({error}).") from None


def published_size(name: str) -> int:
    """See `selfsight.networks.published.libraries.published_size`."""
    return int(_entry(name).transforms().crop_size[0])


def weights(name: str) -> FromLibrary:
    """See `selfsight.networks.published.libraries.from_library`."""
    entry = _entry(name)
    path = cached_by_torch(name, entry.url)
    torchvision = imported("torchvision", name)
    model: nn.Module = torchvision.models.get_model(inner(name).partition(".")[0], weights=None)
    model.load_state_dict(entry.get_state_dict(progress=True, check_hash=True))
    _without_classifier(model)
    recipe = entry.transforms()
    return FromLibrary(
        model.state_dict(),
        entry.url,
        path,
        (tuple(recipe.mean), tuple(recipe.std)),
        f"torchvision's transforms of {entry}",
        "BSD-3-Clause (torchvision)",
        int(recipe.crop_size[0]),
        {},
    )
