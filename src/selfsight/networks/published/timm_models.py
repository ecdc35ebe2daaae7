"""``timm:NAME[.TAG]``: networks and weights of timm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from selfsight.networks.published.caches import cached_by_torch, from_hub
from selfsight.networks.published.library import FromLibrary, imported, inner
from selfsight.networks.specs import BackboneSpec


def network(spec: BackboneSpec) -> nn.Module:
    """See `selfsight.networks.published.libraries.library_network`."""
    timm, name = imported("timm", spec.name), inner(spec.name)
    if not timm.is_model(name):
        raise ValueError(f"backbone {spec.name!r}: timm {timm.__version__} has no such model.")
    return _made(timm, name, in_chans=spec.channels)


def _made(timm: Any, name: str, **options: Any) -> nn.Module:
    """With positions for any size where the model has such a thing."""
    try:
        return timm.create_model(  # type: ignore[no-any-return]
            name, num_classes=0, dynamic_img_size=True, **options
        )
    except TypeError:
        return timm.create_model(name, num_classes=0, **options)  # type: ignore[no-any-return]


def _card(name: str) -> tuple[Any, Any]:
    timm = imported("timm", name)
    if not timm.is_model(inner(name)):
        raise ValueError(f"backbone {name!r}: timm {timm.__version__} has no such model.")
    try:
        card = timm.get_pretrained_cfg(inner(name))
    except RuntimeError as error:
        raise ValueError(f"backbone {name!r}: {error}") from None
    if card is None or not (card.hf_hub_id or card.url):
        raise ValueError(f"backbone {name!r}: timm has no published weights of it.")
    return timm, card


def published_size(name: str) -> int:
    """See `selfsight.networks.published.libraries.published_size`."""
    return int(_card(name)[1].input_size[-1])


def weights(name: str) -> FromLibrary:
    """See `selfsight.networks.published.libraries.from_library`."""
    timm, card = _card(name)
    if card.hf_hub_id:
        repository, _, revision = card.hf_hub_id.partition("@")
        names = [card.hf_hub_filename] if card.hf_hub_filename else []
        names += ["model.safetensors", "pytorch_model.bin"]
        path, source = from_hub(name, repository, revision or None, names)
    else:
        path = cached_by_torch(name, card.url)
        source = card.url
    with _every_key_loaded(name):
        model = _made(
            timm, inner(name), pretrained=True, pretrained_cfg_overlay={"file": str(path)}
        )
    return FromLibrary(
        model.state_dict(),
        source,
        path,
        (tuple(card.mean), tuple(card.std)),
        f"timm's card of {inner(name)}",
        card.license or "unknown: see its card",
        int(card.input_size[-1]),
        {},
    )


@contextmanager
def _every_key_loaded(name: str) -> Iterator[None]:
    """Raises where a library leaves a parameter at its random value and only logs it."""
    plain = nn.Module.load_state_dict
    missing: list[str] = []

    def watched(self: nn.Module, *arguments: Any, **options: Any) -> Any:
        result = plain(self, *arguments, **options)
        missing.extend(result.missing_keys)
        return result

    nn.Module.load_state_dict = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.load_state_dict = plain  # type: ignore[method-assign]
    if missing:
        raise ValueError(
            f"backbone {name!r}: the published file lacks {missing[0]!r} and {len(missing) - 1} "
            "more of its tensors; nothing was loaded."
        )
