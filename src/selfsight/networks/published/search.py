"""Finds the tensors of a network in a file: never a part of them.

Of all dictionaries of the file and all prefixes of their keys those count whose keys fill every
parameter and buffer. Where several do, the part that authors evaluate is taken, and said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from selfsight.console import counted
from selfsight.networks.names import Naming
from selfsight.networks.vit import resized_positions

SHOWN = 3
"""Keys that a sentence names; it counts the others."""

_FIRST = 8  # prefixes of a dictionary that are looked at, those with the most matches

_HEADS = re.compile(
    r"_?fc\d*|heads?|classif(ier)?|projector|projection(_head)?|proj_head|predictor|pred"
    r"|prediction_head|prototypes|queue\w*|decoder\w*|mask_token|online_classifier|linear"
    r"|last_layer|dino_head|ibot_head|pooler"
)
"""First names of what may be left over inside a part: heads that the backbone does without."""

_RANKS: tuple[tuple[int, re.Pattern[str]], ...] = tuple(
    (rank, re.compile(words))
    for rank, words in (
        (0, r"teacher"),
        (1, r"target_encoder"),
        (2, r"(\w+_)?ema(_\w+)?"),
        (7, r"encoder_k|momentum_\w+|target_net|key_encoder"),
        (6, r"student"),
        (3, r"encoder_q|base_encoder|backbone|trunk"),
        (4, r"encoder"),
    )
)
"""In this order; a part without any such word ranks as 3."""


@dataclass(frozen=True)
class Dictionary:
    """A dictionary of tensors in a file.

    Attributes:
        path: names of the dictionaries that it lies in, and its own.
        tensors: by key.
    """

    path: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def dictionaries(content: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Dictionary]:
    """Every dictionary of a file that holds tensors itself, the outermost first."""
    own = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if own:
        yield Dictionary(path, own)
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from dictionaries(value, (*path, key))


@dataclass(frozen=True, eq=False)
class FilePart:
    """What one dictionary and prefix give of a network.

    Attributes:
        path: of the dictionary.
        prefix: of its keys.
        naming: of its keys.
        tensors: of the network's state, brought to its channels and positions.
        missing: keys that the file lacks.
        wrong: keys whose tensors do not fit, and why.
        unknown: left over inside and no head: the network would have another function.
        heads: left over inside.
        total: tensors of the network that must be there.
        notes: what was done to channels and positions.
    """

    path: tuple[str, ...]
    prefix: str
    naming: str
    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...]
    wrong: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]
    heads: tuple[str, ...]
    total: int
    notes: tuple[str, ...]

    @property
    def place(self) -> str:
        """``dictionaries: prefix`` as it is printed; empty for the bare keys of the file."""
        return ": ".join(text for text in ("/".join(self.path), self.prefix) if text)

    @property
    def whole(self) -> bool:
        return not (self.missing or self.wrong or self.unknown)

    @property
    def rank(self) -> int:
        words = re.split(r"[:/. ]+", self.place)
        return next((r for r, p in _RANKS if any(p.fullmatch(word) for word in words)), 3)

    def is_called(self, words: str) -> bool:
        """Whether a user means this part: its place, or one of the names in it."""
        plain = self.place.rstrip(".")
        return words.rstrip(".") in (plain, *re.split(r"[:/. ]+", plain))


def prefixes(dictionary: Dictionary, wanted: set[str]) -> list[str]:
    """Prefixes under which keys of a network stand, those with the most of them first."""
    counts: Counter[str] = Counter()
    for key in dictionary.tensors:
        for place in (-1, *(match.start() for match in re.finditer(r"\.", key))):
            if key[place + 1 :] in wanted:
                counts[key[: place + 1]] += 1
    return [prefix for prefix, _ in counts.most_common(_FIRST)]


def part_of(
    dictionary: Dictionary,
    prefix: str,
    naming: tuple[str, Naming],
    state: Mapping[str, Tensor],
    *,
    class_token: bool = True,
) -> FilePart:
    """Fills the state of a network from one dictionary and prefix.

    Args:
        dictionary: of the file.
        prefix: of its keys.
        naming: its name, and our keys to the file's.
        state: of the network, its values unread.
        class_token: whether the first position belongs to no patch.
    """
    stem = next((key for key, value in state.items() if value.ndim == 4), None)
    filled: dict[str, Tensor] = {}
    missing, wrong, notes, used = [], [], [], set()
    for key, value in state.items():
        keys = [prefix + other for other in naming[1](key)]
        used.update(keys)
        absent = [other for other in keys if other not in dictionary.tensors]
        if absent:
            if key.endswith("num_batches_tracked"):
                filled[key] = torch.zeros((), dtype=torch.int64)
            else:
                missing.append(absent[0])
            continue
        parts = [dictionary.tensors[other] for other in keys]
        reason = next((why for part in parts if (why := _unreadable(part, value))), "")
        given = parts[0] if reason or len(parts) == 1 else torch.cat(parts)
        if not reason and given.shape != value.shape:
            if key == stem and _differ_in_channels(given, value):
                notes.append(_channels_note(given.shape[1], value.shape[1]))
                given = with_channels(given.float(), value.shape[1])
            elif key == "pos_embed" and (sides := _grids(given, value, class_token)):
                if sides[0] != sides[1]:
                    notes.append(
                        f"positions {sides[0]} x {sides[0]} resampled to {sides[1]} x {sides[1]}"
                    )
                given = _positions(given.float(), value, sides)
            else:
                reason = (
                    f"is {tuple(given.shape)} in the file and {tuple(value.shape)} in the network"
                )
        if reason:
            wrong.append((keys[0], reason))
        else:
            filled[key] = given
    inside = [k for k in dictionary.tensors if k.startswith(prefix) and k not in used]
    rest = [(k, re.split(r"\.", k[len(prefix) :])[0]) for k in inside]
    return FilePart(
        dictionary.path,
        prefix,
        naming[0],
        filled,
        tuple(missing),
        tuple(wrong),
        tuple(k for k, first in rest if not _is_head(k, first)),
        tuple(k for k, first in rest if _is_head(k, first)),
        sum(not key.endswith("num_batches_tracked") for key in state),
        tuple(notes),
    )


def _is_head(key: str, first: str) -> bool:
    """Whether a left-over tensor belongs to what a backbone does without."""
    return _HEADS.fullmatch(first) is not None or key.endswith("embeddings.mask_token")


def _unreadable(given: Tensor, value: Tensor) -> str:
    """Why a tensor cannot be a parameter; empty where it can."""
    if given.layout != torch.strided or given.is_quantized or given.is_complex():
        return f"is {given.dtype} in the layout {given.layout}, which is no plain number"
    if given.is_floating_point() != value.is_floating_point():
        return f"is {given.dtype} in the file and {value.dtype} in the network"
    return ""


def _differ_in_channels(given: Tensor, value: Tensor) -> bool:
    same = given.ndim == value.ndim == 4 and given.shape[0] == value.shape[0]
    return same and given.shape[2:] == value.shape[2:]


def _channels_note(has: int, wants: int) -> str:
    if wants == 1:
        return f"the grey image repeated to the {counted(has, 'channel')} of the weights"
    return (
        f"the {counted(has, 'channel')} of the weights repeated to {wants} and scaled by "
        f"{has}/{wants}"
    )


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """The first convolution ``(F, K, h, w)`` for images of other channels.

    One channel: as if it were repeated K times. C channels: the K filters over and over, scaled by
    K / C, so that the sum keeps its size.
    """
    count = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, [i % count for i in range(channels)]] * (count / channels)


def _grids(given: Tensor, value: Tensor, class_token: bool) -> tuple[int, int] | None:
    """Sides of the two square grids; None where the tables are none.

    A file may have no position for the class token of a network that has one (timm's
    ``no_embed_class``), and not the other way round.
    """
    if given.ndim != 3 or value.ndim != 3 or given.shape[::2] != value.shape[::2]:
        return None
    sides, first = [], []
    for count in (given.shape[1], value.shape[1]):
        extra = int(class_token and isqrt(count) ** 2 != count)
        sides.append(isqrt(max(count - extra, 0)))
        first.append(extra)
        if sides[-1] < 1 or sides[-1] ** 2 != count - extra:
            return None
    return (sides[0], sides[1]) if first[0] <= first[1] else None


def _positions(table: Tensor, value: Tensor, sides: tuple[int, int]) -> Tensor:
    """The positions of a file for the grid of a network; a class token without one gets 0."""
    has, wants = (t.shape[1] - side**2 for t, side in zip((table, value), sides, strict=True))
    first = table[:, :has] if has == wants else table.new_zeros(1, wants, table.shape[2])
    patches = table[:, has:]
    if sides[0] != sides[1]:
        patches = resized_positions(patches, sides[1], sides[1])
    return torch.cat([first, patches], 1)


def chosen(parts: list[FilePart], words: str | None) -> tuple[FilePart, list[FilePart]]:
    """The part to take among whole ones, and the others.

    Args:
        parts: all of them whole; at least one.
        words: how the user calls the one that is wanted.

    Raises:
        ValueError: none is called so, or several rank alike and differ.
    """
    places = ", ".join(repr(part.place) for part in parts)
    if words is not None:
        meant = [part for part in parts if part.is_called(words)]
        if not meant:
            raise ValueError(f"no part {words!r} of it fills the network; these do: {places}.")
        parts_left = meant
    else:
        best = min(part.rank for part in parts)
        parts_left = [part for part in parts if part.rank == best]
    first, *rest = parts_left
    if any(not _equal(first, part) for part in rest):
        alike = ", ".join(repr(part.place) for part in parts_left)
        raise ValueError(
            f"several parts of it fill the network equally well ({alike}); choose one with "
            "--weights-part."
        )
    return first, [part for part in parts if part not in parts_left]


def _equal(a: FilePart, b: FilePart) -> bool:
    return all(
        torch.equal(value, b.tensors[key])
        for key, value in a.tensors.items()
        if not key.endswith("num_batches_tracked")
    )
