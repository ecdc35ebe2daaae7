"""The weights of a network from a file: which part of it, of which network, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from selfsight.networks import efficientnet_lite
from selfsight.networks.architectures import build_backbone, empty_network
from selfsight.networks.names import namings, same
from selfsight.networks.published.files import (
    CLOSED,
    architecture_beside,
    header_of,
    read_file,
    sha256_of,
)
from selfsight.networks.published.layouts import (
    IMAGENET,
    NAMED,
    Layout,
    layout_of,
    other_function,
)
from selfsight.networks.published.origin import (
    Origin,
    PublishedWeights,
    as_state,
    check_values,
    for_channels,
)
from selfsight.networks.published.reading import read_off
from selfsight.networks.published.search import (
    SHOWN,
    Dictionary,
    FilePart,
    chosen,
    dictionaries,
    part_of,
    prefixes,
)
from selfsight.networks.specs import (
    NAMES,
    BackboneSpec,
    Network,
    choose_backbone,
    library_of,
    resolved,
)
from selfsight.networks.vit import PLANS as VITS

Attempt = tuple[BackboneSpec, FilePart]


def from_file(
    path: Path, backbone: str, network: Network, images: tuple[int, int], words: str | None
) -> PublishedWeights:
    """The weights in a file.

    Args:
        path: the file.
        backbone: "auto": what the file holds.
        network: what the user changed.
        images: channels and longer side, pixels.
        words: how the user calls the part to take.

    Raises:
        ValueError: see `selfsight.networks.published.find.find_start`.
    """
    content = read_file(path)
    digest = sha256_of(path)
    architecture = architecture_beside(path)
    if library_of(backbone) is None and (why := other_function(path.name, architecture)):
        raise ValueError(f"weights {path}: {why}. {CLOSED}")
    every = list(dictionaries(content))
    attempts = [
        attempt
        for name in _candidates(backbone)
        for attempt in _attempts(every, name, backbone != "auto", network, images)
    ]
    whole = [(spec, part) for spec, part in attempts if part.whole]
    if not whole:
        raise ValueError(f"weights {path}: {_why_not(attempts, every, backbone, network, images)}")
    try:
        part, others = chosen([part for _, part in whole], words)
    except ValueError as error:
        raise ValueError(f"weights {path}: {error} {CLOSED}") from None
    spec = next(spec for spec, each in whole if each is part)
    check_values(str(path), part)
    header = header_of(path)
    keys = ["/".join((*d.path, key)) for d in every for key in d.tensors]
    layout = layout_of(spec.name, part.place, path.name, keys, architecture)
    origin = Origin(
        source=str(path),
        sha256=digest,
        backbone=spec.name,
        part=part.place,
        others=tuple(dict.fromkeys(each.place for each in others)),
        tensors=part.total,
        left_over=_left_over(every, part),
        changes=part.notes,
        **_normalisation(header, layout, images[0]),
    )
    return PublishedWeights(spec, as_state(part), origin)


def _normalisation(header: Mapping[str, Any], layout: Layout, channels: int) -> dict[str, Any]:
    """Layout, mean, std, where they are from, and the licence."""
    try:
        own = header["extra"]["statistics"]
        mean, std = tuple(own["mean"]), tuple(own["std"])
        if len(mean) == channels:
            return {
                "layout": "selfsight",
                "mean": mean,
                "std": std,
                "normalisation": "the file itself",
                "licence": "that of the run that wrote it",
            }
    except (KeyError, TypeError):
        pass
    given = layout.normalisation or IMAGENET
    mean, std = for_channels(given, channels)
    by = f"{layout.name}'s code"
    if layout.normalisation is None:
        by = (
            "ImageNet's, assumed: the file does not tell (--normalise "
            f"{', '.join(n for n in NAMED if n != 'imagenet')} or data where it was another)"
        )
    return {
        "layout": layout.name,
        "mean": mean,
        "std": std,
        "normalisation": by,
        "licence": layout.licence,
    }


def _candidates(backbone: str) -> tuple[str, ...]:
    if backbone != "auto":
        return (backbone,)
    return ("resnet18", "resnet50", "vit_small", *efficientnet_lite.PLANS)


def _attempts(
    every: list[Dictionary], name: str, asked: bool, network: Network, images: tuple[int, int]
) -> list[Attempt]:
    """What each dictionary, naming and prefix gives of a network.

    Args:
        every: dictionary of the file.
        name: of the network, or of one like it.
        asked: the user named it: only what a name leaves open is read off the file.
        network: what the user changed in it.
        images: channels and longer side.
    """
    if name not in NAMES:
        spec = choose_backbone(name, network, *images)
        state = build_backbone(spec, seed=0).network.state_dict()
        return [
            (spec, part_of(dictionary, prefix, ("its own", same), state))
            for dictionary in every
            for prefix in prefixes(dictionary, set(state))
        ]
    try:
        first, _ = resolved(name, network, images[1])
    except ValueError:
        if asked:
            raise
        return []  # what the user changed means nothing for this family
    sample = _state(name, first, images)
    found = []
    for title, naming in namings(name, first).items():
        wanted = {key for own in sample for key in naming(own)}
        for dictionary in every:
            for prefix in prefixes(dictionary, wanted):
                given = read_off(name, asked, network, dictionary, prefix, naming)
                if given is None:
                    continue
                try:
                    full, _ = resolved(given[0], given[1], images[1])
                except ValueError:
                    continue
                spec = choose_backbone(given[0], full, *images)
                state = _state(given[0], full, images)
                token = full.class_token
                part = part_of(dictionary, prefix, (title, naming), state, class_token=token)
                found.append((spec, part))
    return found


@lru_cache(maxsize=64)
def _state(name: str, network: Network, images: tuple[int, int]) -> dict[str, Tensor]:
    """Names and shapes of a network of ours, without memory."""
    return empty_network(choose_backbone(name, network, *images)).state_dict()


def _left_over(every: list[Dictionary], part: FilePart) -> tuple[str, ...]:
    """Heads inside the part, and everything outside of it, by their first names, with counts."""
    counts: dict[str, int] = {}
    for key in part.heads:
        first = key.removeprefix(part.prefix).split(".")[0]
        counts[first] = counts.get(first, 0) + 1
    for dictionary in every:
        here = dictionary.path == part.path
        for key in dictionary.tensors:
            if here and key.startswith(part.prefix):
                continue
            name = key.removeprefix("module.").split(".")[0]
            name = ": ".join(["/".join(dictionary.path)] * bool(dictionary.path) + [name])
            counts[name] = counts.get(name, 0) + 1
    return tuple(f"{name} ({count})" for name, count in counts.items())


def problem_of(part: FilePart, name: str) -> str:
    """Why a part is not the whole of a network."""
    have = part.total - len(part.missing) - len(part.wrong)
    where = f" under {part.place!r}" if part.place else ""
    text = f"{have} of the {part.total} tensors of {name} are in it{where}"
    if part.wrong:
        key, why = part.wrong[0]
        more = f" (and {len(part.wrong) - 1} more do not fit)" * (len(part.wrong) > 1)
        return f"{text}: {key!r} {why}{more}."
    if part.missing:
        more = f" (and {len(part.missing) - 1} more)" * (len(part.missing) > 1)
        return f"{text}: {part.missing[0]!r} is missing{more}."
    shown = ", ".join(repr(key) for key in part.unknown[:SHOWN])
    more = f" and {len(part.unknown) - SHOWN} more" * (len(part.unknown) > SHOWN)
    return (
        f"{text}, but it also has {shown}{more}, which {name} does not know: the network would "
        "have another function."
    )


def _why_not(
    attempts: list[Attempt],
    every: list[Dictionary],
    backbone: str,
    network: Network,
    images: tuple[int, int],
) -> str:
    """Why no part fills the network, and what the file looks like."""

    def filled(attempt: Attempt) -> tuple[float, int]:
        part = attempt[1]
        good = part.total - len(part.missing) - len(part.wrong)
        return good / part.total, -len(part.unknown)

    best = max(attempts, key=filled, default=None)
    if backbone != "auto" and backbone in NAMES:
        others = [
            spec.name
            for name in _candidates("auto")
            for spec, part in _attempts(every, name, False, Network(), images)
            if part.whole
        ]
        if others:
            held = problem_of(best[1], backbone).capitalize() if best is not None else ""
            return (
                f"it holds {others[0]} and not {backbone}; give --backbone {others[0]}. {held} "
                f"{CLOSED}"
            )
    if best is not None and filled(best)[0] > 0.1:
        return f"{problem_of(best[1], best[0].name)} {CLOSED}"
    keys = [key for dictionary in every for key in dictionary.tensors]
    shown = ", ".join(repr(key) for key in keys[:SHOWN])
    known = "any network known here" if backbone == "auto" else backbone
    return (
        f"none of the tensors of {known} is in it; its {len(keys)} keys begin with {shown}. Name "
        f"its network with --backbone (one of {', '.join(n for n in NAMES if n not in VITS)}, "
        f"{', '.join(VITS)}, or timm:NAME and the like). {CLOSED}"
    )
