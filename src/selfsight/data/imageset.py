"""`ImageSet` and `Target`: the schema that every source fills and every stage takes."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.content import Content, content_of
from selfsight.data.pixels.display import thumbnail
from selfsight.data.pixels.memmap import picked
from selfsight.data.pixels.values import ValueScale
from selfsight.markup import block, facts, gallery, picture_uri

TargetKind = Literal["class", "labels", "number", "identity"]
SPLITS = ("train", "validation", "test", "unlabelled")
DISPLAYED = 12
"""Images that a notebook shows of a set."""


@dataclass(frozen=True)
class TargetSpec:
    """What a head needs to know of a target, without its values."""

    name: str
    kind: TargetKind
    names: tuple[str, ...]
    """Class names, label names or names of the numbers."""

    @property
    def outputs(self) -> int:
        """Width of a head that predicts this target."""
        return len(self.names)


@dataclass(frozen=True)
class Target:
    """What is known of each image; unknown is allowed anywhere.

    Attributes:
        name: the column it comes from.
        kind: ``class``, ``labels`` (several at once), ``number`` (scalar or vector), ``identity``.
        values: class and identity ``(N,)`` int64, -1 unknown; labels ``(N, K)`` and numbers
            ``(N, D)`` float32, NaN unknown.
        names: of the classes, the labels or the numbers.
    """

    name: str
    kind: TargetKind
    values: NDArray[Any]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind in ("class", "identity"):
            assert self.values.ndim == 1 and self.values.dtype == np.int64
        else:
            assert self.values.ndim == 2 and self.values.dtype == np.float32
            assert self.values.shape[1] == len(self.names)

    @property
    def spec(self) -> TargetSpec:
        return TargetSpec(self.name, self.kind, self.names)

    @property
    def known(self) -> NDArray[np.bool_]:
        """``(N,)``: where at least one entry is known."""
        if self.values.ndim == 1:
            return np.asarray(self.values >= 0)
        return np.asarray(~np.isnan(self.values).all(axis=1))

    def take(self, rows: NDArray[np.int64]) -> Target:
        return replace(self, values=self.values[rows])

    def without(self, rows: NDArray[Any]) -> Target:
        """A copy in which ``rows`` (indices or a mask) are unknown."""
        values = self.values.copy()
        values[rows] = -1 if values.ndim == 1 else np.nan
        return replace(self, values=values)


@dataclass(frozen=True)
class Scale:
    """The form of images that a network takes, and with it what their values mean.

    Attributes:
        owner: how sentences call what takes them: a set, a run, a model.
        height, width: pixels.
        channels: of each pixel.
        dtype: ``uint8``, ``uint16`` or ``float32``.
        values: what the values mean; by default what their type says.
    """

    owner: str
    height: int
    width: int
    channels: int
    dtype: str
    values: ValueScale | None = None

    def __post_init__(self) -> None:
        if self.values is None:
            object.__setattr__(self, "values", ValueScale.of(self.dtype))

    @property
    def form(self) -> tuple[int, int, int, str, ValueScale | None]:
        """All but the owner: digests of pixels are compared within one form."""
        return self.height, self.width, self.channels, self.dtype, self.values


@dataclass(frozen=True)
class ImageSet:
    """Images with their targets, groups and splits.

    Attributes:
        name: how reports call it.
        pixels: ``(N, H, W, C)`` uint8, uint16 or float32, in memory or memory-mapped (a permuted
            batch of it is ``channels_last`` without a copy), or decoded at each reading
            (`selfsight.data.pixels.lazy.LazyPixels`).
        row_ids: ``(N,)`` text, unique: the path inside the source; ``file#row`` where a file in a
            folder holds several images, ``#row`` where the source is a single file.
        splits: ``(N,)`` text, each one of `SPLITS`. ``unlabelled`` rows are for pretraining only.
        targets: by name.
        groups: ``(N,)`` int64, -1 for an image in no group (a group of its own), or None.
        group_name: the column the groups come from.
        group_names: of the groups, by number; empty: their numbers are their names.
        mirrored: whether a mirrored image is as natural as the original (not so for digits).
        notes: what was guessed, left out or converted, one sentence each; a
            `selfsight.data.notes.Note` says the same in parts.
        value_scale: what the values mean; by default what their type says.
        tile_of: ``(N,)`` row id of the image that each tile was cut from, or None: whole images.
        leaks: leaks that the user allowed, one sentence each; results carry them in red.
        cautions: what else lessens results on these images, one sentence each.
        opened_by: the request that opened the set (see `selfsight.data.request.open`), or None.
            A copy with other values has none.
    """

    name: str
    pixels: NDArray[Any]
    row_ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    targets: Mapping[str, Target] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None
    group_name: str | None = None
    group_names: tuple[str, ...] = ()
    mirrored: bool = True
    notes: tuple[str, ...] = ()
    tile_of: NDArray[np.str_] | None = None
    value_scale: ValueScale | None = None
    leaks: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    opened_by: Hashable = field(init=False, default=None, compare=False, repr=False)
    _content: Content | None = field(init=False, default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.pixels)
        if self.value_scale is None:
            object.__setattr__(self, "value_scale", ValueScale.of(self.pixels.dtype))
        assert self.pixels.ndim == 4, "pixels are (N, H, W, C)"
        assert self.pixels.dtype in (np.uint8, np.uint16, np.float32), self.pixels.dtype
        assert len(self.row_ids) == count and len(self.splits) == count
        assert set(np.unique(self.splits)) <= set(SPLITS)
        assert all(len(target.values) == count for target in self.targets.values())
        assert self.groups is None or len(self.groups) == count
        assert self.tile_of is None or len(self.tile_of) == count

    def __len__(self) -> int:
        return len(self.pixels)

    def _repr_html_(self) -> str:
        """Counts, targets and some images, for notebooks."""
        sizes = {split: len(self.rows(split)) for split in SPLITS}
        about: dict[str, object] = {
            "images": f"{len(self):,} of {self.height}x{self.width} pixels, {self.channels} "
            f"channel{'s' * (self.channels != 1)}, {self.pixels.dtype}",
            "splits": ", ".join(f"{count:,} {split}" for split, count in sizes.items() if count),
        }
        for name, target in self.targets.items():
            known = f"{int(target.known.sum()):,} known"
            about[f"target {name}"] = f"{target.kind}, {len(target.names):,} names, {known}"
        if self.groups is not None:
            about["groups"] = self.group_name
        rows = np.unique(np.linspace(0, max(0, len(self) - 1), DISPLAYED).astype(np.int64))
        try:
            pictures = [
                (picture_uri(thumbnail(np.asarray(self.pixels[row]))), str(self.row_ids[row]))
                for row in rows.tolist()[: len(self)]
            ]
        except ValueError as error:  # a file that was moved or cannot be decoded
            about["pictures"], pictures = error, []
        return block(self.name, facts(about), gallery(pictures))

    @property
    def height(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[3])

    def rows(self, *splits: str) -> NDArray[np.int64]:
        """Indices of the rows in the given splits, in order."""
        return np.flatnonzero(np.isin(self.splits, splits)).astype(np.int64)

    @property
    def pool(self) -> NDArray[np.int64]:
        """Rows that pretraining may see: train and unlabelled, never validation or test."""
        return self.rows("train", "unlabelled")

    @property
    def scale(self) -> Scale:
        """The form of these images."""
        dtype = str(self.pixels.dtype)
        return Scale(self.name, self.height, self.width, self.channels, dtype, self.value_scale)

    @property
    def content(self) -> Content:
        """Digests and spans of the pixels, which are read for it once."""
        if self._content is None:
            known = getattr(self.pixels, "content", None)
            object.__setattr__(self, "_content", known or content_of(self.pixels))
        assert self._content is not None
        return self._content

    def take(self, rows: NDArray[np.int64]) -> ImageSet:
        """The rows given, in that order; what lies in a memory map stays there."""
        part = replace(
            self,
            pixels=picked(self.pixels, rows),
            row_ids=self.row_ids[rows],
            splits=self.splits[rows],
            targets={name: target.take(rows) for name, target in self.targets.items()},
            groups=None if self.groups is None else self.groups[rows],
            tile_of=None if self.tile_of is None else self.tile_of[rows],
        )
        if self._content is not None:
            object.__setattr__(part, "_content", self._content.take(rows))
        return part

    def changed(self, **fields: Any) -> ImageSet:
        """A copy with other fields; where the pixels stay, they are not read again."""
        other = replace(self, **fields)
        if other.pixels is self.pixels:
            object.__setattr__(other, "_content", self._content)
        return other

    def with_notes(self, *notes: str) -> ImageSet:
        return self.changed(notes=(*self.notes, *notes))

    def marked(self, request: Hashable) -> ImageSet:
        """The set itself, with the request that opened it."""
        object.__setattr__(self, "opened_by", request)
        return self

    def fingerprint(self, rows: NDArray[np.int64] | None = None) -> str:
        """16 hexadecimal digits over pixels and row ids: names caches and is kept in runs."""
        digest = hashlib.blake2b(digest_size=8)
        chosen = np.arange(len(self)) if rows is None else rows
        digest.update(repr((self.pixels.shape[1:], self.pixels.dtype.str)).encode())
        digest.update("\n".join(self.row_ids[chosen].tolist()).encode())
        digest.update(self.content.digests[chosen].astype("<u8").tobytes())
        return digest.hexdigest()


def choose_target(images: ImageSet, name: str | None) -> Target | None:
    """The target by name, or the only one there is, or None where there is none or none is wanted.

    Raises:
        ValueError: the name is not there, or there are several and none was chosen.
    """
    from selfsight.settings import unknown

    if name == "none" and not images.targets:
        return None
    if name is not None:
        if name not in images.targets:
            if not images.targets:
                raise ValueError(f"target {name!r}: {images.name} has no targets.")
            raise unknown(f"target in {images.name} named", name, images.targets)
        return images.targets[name]
    if len(images.targets) > 1:
        names = ", ".join(sorted(images.targets))
        raise ValueError(f"{images.name} has several targets; choose one with --target: {names}.")
    return next(iter(images.targets.values()), None)


def class_target(name: str, values: Iterable[Any], names: Sequence[str] | None = None) -> Target:
    """A class target from text or integers; None, NaN, empty text and negative are unknown.

    Args:
        name: of the target.
        values: ``N`` labels, text or integers.
        names: of the classes, where integers index them.
    """
    known: list[Any] = []
    for value in values:
        missing = value is None or value == "" or (isinstance(value, float) and np.isnan(value))
        integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if missing or (integer and value < 0):
            known.append(None)
        elif isinstance(value, float | np.floating) and float(value).is_integer():
            known.append(int(value))
        else:
            known.append(int(value) if integer else str(value))
    if names is not None and all(v is None or isinstance(v, int) for v in known):
        codes = [-1 if v is None else v for v in known]
        if codes and max(codes) >= len(names):
            raise ValueError(f"target {name!r}: class {max(codes)} has no name.")
        return Target(name, "class", np.array(codes, np.int64), tuple(names))
    levels = sorted({v for v in known if v is not None}, key=lambda v: (isinstance(v, str), v))
    code = {level: i for i, level in enumerate(levels)}
    coded = np.array([-1 if v is None else code[v] for v in known], np.int64)
    return Target(name, "class", coded, tuple(str(level) for level in levels))
