"""How images and tables are read: the options that overrule a guess, and what a source is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from selfsight.data.notes import guesses
from selfsight.data.pixels.values import ValueScale
from selfsight.settings import Settings

KINDS = ("class", "labels", "number", "identity")
NONE = "none"
"""The word that says: there is no such column, separator or table."""
FOLDER = "FOLDER"
"""Stands for the folders that images lie in, where a column is asked for."""
MAX_PIXELS = 89_478_485
"""Pixels of an image above which it is taken for a decompression bomb; Pillow's own limit."""


def _kind_in(entry: str) -> bool:
    """Whether an entry is NAME:KIND."""
    name, _, kind = entry.rpartition(":")
    return bool(name) and kind in KINDS


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else str(value)


class ReadOptions(Settings):
    """How files are read where they do not say it themselves; each option overrules a guess."""

    kinds: tuple[str, ...] = ()
    """What columns are: age:number grade:class defects:labels person:identity."""
    separator: str | None = None
    """What separates several labels in a text cell: |, ; or a comma; none for a single class."""
    empty: Literal["unknown", "none"] = "unknown"
    """What an empty cell of several labels means: not known, or none of them."""
    uncertain: Literal["unknown", "yes", "no", "class"] = "unknown"
    """What -1 means beside 0 and 1: not known, yes, no, or a class of its own."""
    image_column: str | None = None
    """The column or key of the images, where there are several."""
    axes: str | None = None
    """The axes of an array, as in NHWC or NCHW."""
    masks: bool = False
    """Take files that look like masks of other images as images too."""
    bits: Annotated[int, Field(ge=1, le=32)] | None = None
    """Bits that the values of integer images use, as in 12 of 16."""
    value_range: tuple[float, float] | None = None
    """The values that mean black and white, where the type of the images does not say it."""
    nodata: Annotated[str | None, BeforeValidator(_text)] = None
    """A pixel value that holds no data, or nan for all that are not finite; it becomes the mean of
    its channel in the image."""
    max_pixels: Annotated[int, Field(ge=1)] = MAX_PIXELS
    """Pixels of an image above which it is taken for a decompression bomb and left out."""

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for entry in kinds:
            if not _kind_in(entry):
                raise ValueError(f"{entry!r} is not NAME:KIND with one of {', '.join(KINDS)}")
        return tuple(dict.fromkeys(kinds))

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str | None) -> str | None:
        if axes is None:
            return None
        if sorted(axes.upper()) not in (sorted("NHW"), sorted("NHWC")):
            raise ValueError("it is an order of N, H, W and C, as in NHWC, NCHW, HWCN or NHW")
        return axes.upper()

    @field_validator("value_range")
    @classmethod
    def _ordered(cls, found: tuple[float, float] | None) -> tuple[float, float] | None:
        if found is not None and not (math.isfinite(found[1] - found[0]) and found[0] < found[1]):
            raise ValueError("it is two numbers, the first below the second")
        return found

    @field_validator("nodata")
    @classmethod
    def _a_number(cls, nodata: str | None) -> str | None:
        if nodata is not None:
            try:
                float(nodata)
            except ValueError:
                raise ValueError("it is a number or nan") from None
        return nodata

    @model_validator(mode="after")
    def _kind_of_the_target(self) -> ReadOptions:
        """``target`` may be ``age:number``: the kind goes to ``kinds``."""
        target = getattr(self, "target", None)
        if isinstance(target, str) and _kind_in(target):
            words = target.split()
            several = all(map(_kind_in, words))
            entries = words if several else [target]
            name = entries[0].rpartition(":")[0] if len(entries) == 1 else None
            object.__setattr__(self, "target", name)
            object.__setattr__(self, "kinds", tuple(dict.fromkeys((*self.kinds, *entries))))
            self.__pydantic_fields_set__.add("kinds")
        return self

    @property
    def kind_of(self) -> dict[str, str]:
        """Column -> kind."""
        return {name: kind for name, _, kind in (entry.rpartition(":") for entry in self.kinds)}


@dataclass(frozen=True)
class Asked:
    """What is asked of a source.

    Attributes:
        target, group, split: columns that the user named; None: guessed by their names, and said.
            ``none``: there is none. ``FOLDER``: the folders that the images lie in.
        labels: False where a table beside the images is not to be read.
        root: folder that the paths of a manifest must stay in; None: the folder it lies in.
        options: how files are read.
        scale: what the values of a run mean, which the images are brought to; None: their own.
        owner: how sentences call the run.
        whole: every image is wanted, whatever split it is in.
        held: the options that are those of a run, which need not fit: an image column that is not
            there is guessed anew, and a separator may be in no cell.
        known_group: the column of groups that an earlier round recorded: the group where it is
            there and the user named none.
        targets: False where no targets are taken, so that nothing is said of them.
    """

    target: str | None = None
    group: str | None = None
    split: str | None = None
    labels: bool = True
    root: Path | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    scale: ValueScale | None = None
    owner: str = "the run"
    whole: bool = False
    held: frozenset[str] = frozenset()
    known_group: str | None = None
    targets: bool = True

    @property
    def by_folder(self) -> bool:
        """Whether the folders that images lie in are the groups."""
        return FOLDER in (self.group, self.known_group if self.group is None else None)


OF_IMAGES = ("image_column", "axes", "nodata")
"""Settings on images that later files of a run are held to."""
OF_TARGETS = ("separator", "empty", "uncertain")
"""Settings on targets, besides ``kinds``, that later files are held to where targets are read."""

HELD = ("image_column", "separator")
"""Of these, what need not fit a later file."""

Reading = Mapping[str, Sequence[str]]
"""Setting -> the values by which images of a run were read."""


def guesses_of(images: Any) -> dict[str, list[str]]:
    """What was guessed of an image set; and that targets are several labels, which cells of a later
    file may not show.
    """
    found = guesses(images.notes)
    several = [f"{n}:labels" for n, target in images.targets.items() if target.kind == "labels"]
    kinds = dict.fromkeys([*found.get("kinds", []), *several])
    return found | ({"kinds": list(kinds)} if kinds else {})


def recorded(options: ReadOptions, guesses: Reading) -> dict[str, tuple[str, ...]]:
    """How images were read, for later files: what was guessed, and what the user said.

    Args:
        options: by which they were opened.
        guesses: see `guesses_of`.
    """
    found = {name: tuple(values) for name, values in guesses.items()}
    for name in (*OF_IMAGES, *OF_TARGETS):
        value = getattr(options, name)
        if value != ReadOptions.model_fields[name].default:
            found[name] = (str(value),)
    kinds = (*options.kinds, *found.get("kinds", ()))
    return found | ({"kinds": tuple(dict.fromkeys(kinds))} if kinds else {})


def held_to(
    options: Mapping[str, Any], reading: Reading, *, targets: bool = True
) -> dict[str, Any]:
    """Options of a later file, held to how a run read its own, as changes to them.

    Args:
        options: as the user gave them; they come first.
        reading: see `recorded`.
        targets: whether targets of the later file are read too.
    """
    changes: dict[str, Any] = {}
    if targets:
        own = {entry.rpartition(":")[0] for entry in options.get("kinds", ())}
        kinds = [e for e in reading.get("kinds", ()) if e.rpartition(":")[0] not in own]
        if kinds:
            changes["kinds"] = (*options.get("kinds", ()), *kinds)
    for name in (*OF_IMAGES, *(OF_TARGETS if targets else ())):
        values = set(reading.get(name, ()))
        untouched = options.get(name) in (None, ReadOptions.model_fields[name].default)
        if untouched and len(values) == 1:
            changes[name] = values.pop()
    return changes
