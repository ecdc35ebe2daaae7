"""``transformers:OWNER/NAME[@REV]``: networks and weights of transformers."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor, nn

from selfsight.networks.published.caches import from_hub
from selfsight.networks.published.layouts import IMAGENET, Channels
from selfsight.networks.published.library import FromLibrary, imported, inner
from selfsight.networks.specs import BackboneSpec


class HiddenStates(nn.Module):
    """A model of transformers that gives ``(B, F)``: the class token, or the mean of what it gives.

    Its own pooled output is not taken: a file need not hold the layer that makes it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.class_token = any(name.endswith("cls_token") for name, _ in model.named_parameters())
        self.options = {}
        if "interpolate_pos_encoding" in model.forward.__code__.co_varnames:
            self.options["interpolate_pos_encoding"] = True

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.model(pixel_values=images, **self.options).last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        return hidden[:, 0] if self.class_token else hidden.mean(1)


def network(spec: BackboneSpec) -> nn.Module:
    """See `selfsight.networks.published.libraries.library_network`."""
    transformers = imported("transformers", spec.name)
    config = dict(spec.config) or _config(transformers, spec.name).to_dict()
    if "num_channels" in config:
        config["num_channels"] = spec.channels
    try:
        made = transformers.AutoConfig.for_model(**config)
        model = transformers.AutoModel.from_config(made)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"backbone {spec.name!r} cannot be made: {error}") from error
    return HiddenStates(_without_pooler(model))


def _without_pooler(model: nn.Module) -> nn.Module:
    """A layer with weights after the hidden states, which nothing here reads."""
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        setattr(model, "pooler", None)  # noqa: B010 (its type says that it is a module)
    return model


def _revision(name: str) -> tuple[str, str | None]:
    repository, _, revision = inner(name).partition("@")
    return repository, revision or None


def _config(transformers: Any, name: str) -> Any:
    path, _ = from_hub(name, *_revision(name), ["config.json"])
    return transformers.AutoConfig.from_pretrained(path.parent)


def _card(name: str) -> tuple[Channels, str, int | None]:
    """Normalisation, where it is from, and the side of the images."""
    repository, revision = _revision(name)
    try:
        path, source = from_hub(name, repository, revision, ["preprocessor_config.json"])
    except ValueError:
        return IMAGENET, "ImageNet's, assumed: it has no preprocessor_config.json", None
    card = json.loads(path.read_text())
    size = card.get("crop_size") or card.get("size") or {}
    side = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge")
    means = (
        tuple(card.get("image_mean", IMAGENET[0])),
        tuple(card.get("image_std", IMAGENET[1])),
    )
    if not card.get("do_normalize", True):
        means = ((0.0,) * 3, (1.0,) * 3)
    return means, f"preprocessor_config.json of {source}", side


def published_size(name: str) -> int:
    """See `selfsight.networks.published.libraries.published_size`."""
    return _card(name)[2] or 224


def weights(name: str) -> FromLibrary:
    """See `selfsight.networks.published.libraries.from_library`."""
    transformers = imported("transformers", name)
    repository, revision = _revision(name)
    config = _config(transformers, name)
    path, source = from_hub(name, repository, revision, ["model.safetensors", "pytorch_model.bin"])
    model, loaded = transformers.AutoModel.from_pretrained(
        path.parent, config=config, output_loading_info=True
    )
    random = [key for key in loaded["missing_keys"] if not key.startswith("pooler.")]
    random += [str(key) for key in loaded.get("mismatched_keys", [])]
    if random:
        raise ValueError(
            f"backbone {name!r}: {source} lacks {random[0]!r} and {len(random) - 1} more of its "
            "tensors; nothing was loaded."
        )
    normalisation, by, side = _card(name)
    return FromLibrary(
        HiddenStates(_without_pooler(model)).state_dict(),
        source,
        path,
        normalisation,
        by,
        f"see the card of {repository}",
        side or int(getattr(config, "image_size", None) or 224),
        {"model_type": config.model_type, **config.to_diff_dict()},
    )
