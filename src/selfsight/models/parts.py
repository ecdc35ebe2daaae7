"""The parts of one output, in the folder ``OUT.parts``: their files, and whether all are there.

========================= ==============================================================
``00003-of-00100.npz``     what the part holds: ``.npz``, ``.parquet`` or an index folder
``00003-of-00100.json``    what it is a part of, and its checksum; written last
========================= ==============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from selfsight.console import counted, say
from selfsight.data.options import Images
from selfsight.data.parts import MOST, RowPart
from selfsight.data.request import name_of
from selfsight.files import digest_of, read_json, write_json
from selfsight.fitting.representation_cache import cache_key
from selfsight.settings import Settings, sentence

if TYPE_CHECKING:
    from selfsight.models.embed import Embed
    from selfsight.models.predict import Predict
    from selfsight.neighbours.build import IndexImages

Kind = Literal["embed", "predict", "index"]
_SHOWN = 20


class PartCard(Settings):
    """``00003-of-00100.json``."""

    format: Literal[1] = 1
    """Of this file."""
    verb: Kind
    """What made the part."""
    number: Annotated[int, Field(ge=0)]
    """Of the part, from 0."""
    count: Annotated[int, Field(ge=1, le=MOST)]
    """Parts."""
    source: str
    """The images, as they were named."""
    network: str
    """Hash of the weights."""
    options: dict[str, Any] = {}
    """Settings that all parts must share."""
    rows: Annotated[int, Field(ge=0)] = 0
    """Rows of this part that were written; images that cannot be read are left out."""
    listed: Annotated[int, Field(ge=0)] = 0
    """Images of all parts together."""
    listing: str = ""
    """Checksum of all row ids."""
    file: str = ""
    """Name of the file or folder beside this one."""
    digest: str = ""
    """Of the file, or of the card of the folder."""


OWN = ("number", "rows", "file", "digest")
"""Fields in which the parts of one output differ."""


def network_of(folder: str | Path) -> str:
    """Hash of the weights of a run or a model."""
    names = ("backbone.safetensors", "head.safetensors", "model.json")
    paths = [Path(folder) / name for name in names]
    return cache_key(*(digest_of(path) for path in paths if path.is_file()))


def folder_of(out: str | Path) -> Path:
    """The folder of the parts of an output."""
    return Path(f"{out}.parts")


def checksum_of(path: Path) -> str:
    """Of a part's file; of the folder of an index, whose card has those of its files."""
    return digest_of(path / "index.json" if path.is_dir() else path)


@dataclass(frozen=True)
class PartPlace:
    """Where a part goes, and what it will be a part of.

    Attributes:
        part: which one.
        path: of its file or folder.
        card: what is known of it before any image is opened.
    """

    part: RowPart
    path: Path
    card: PartCard

    @classmethod
    def of(
        cls,
        verb: Kind,
        settings: Embed | Predict | IndexImages,
        network: str,
        source: Images,
        suffix: str = "",
    ) -> PartPlace:
        """The place of a part.

        Args:
            verb: that makes it.
            settings: of the verb, with ``shard`` and ``out``.
            network: folder of the run or the model.
            source: the images.
            suffix: of the part's file; empty: it is a folder.

        Raises:
            ValueError: there is no ``out``, or its folder has a part of another network, of other
                images or options.
        """
        shard, out = settings.shard, settings.out
        assert shard is not None
        if out is None:
            raise ValueError("shard: give --out too, the name that the parts will be merged into.")
        part = RowPart(shard)
        path = folder_of(out) / f"{part.name}{suffix}"
        card = PartCard(
            verb=verb,
            number=part.number,
            count=part.count,
            source=name_of(source),
            network=network_of(network),
            options=_options(settings),
            file=path.name,
        )
        return cls(part, path, card)

    @property
    def card_path(self) -> Path:
        return self.path.with_name(f"{self.part.name}.json")

    def done(self) -> bool:
        """Whether the part is there and whole; then it says so.

        Raises:
            ValueError: there is one of another network, of other images or options.
        """
        if not self.card_path.is_file():
            return False
        try:
            card = read_part(self.card_path)
        except ValueError:
            return False  # it is made again
        same = ("verb", "source", "network", "options")
        if changed := [n for n in same if getattr(card, n) != getattr(self.card, n)]:
            raise ValueError(
                f"{self.path} was made from another {' and '.join(changed)}; choose another --out, "
                f"or delete {self.path.parent}."
            )
        if not is_whole(self.path.parent, card):
            return False
        say(f"{self.path} is there already; nothing to do.")
        return True

    def finish(self, rows: int) -> Path:
        """Writes the card, last."""
        found = {"listed": self.part.listed, "listing": self.part.listing}
        card = self.card.updated({"rows": rows, "digest": checksum_of(self.path), **found})
        write_json(self.card_path, card.plain())
        return self.path


def _options(settings: Embed | Predict | IndexImages) -> dict[str, Any]:
    """The settings that are not as usual, but for those that may differ between parts."""
    plain, fields = settings.plain(), type(settings).model_fields
    free = ("run", "model", "images", "out", "shard", "device", "batch_size", "allow_code")
    usual = {name: field.default for name, field in fields.items()}
    changed = [n for n in plain if n not in free and getattr(settings, n) != usual[n]]
    return {"suffix": Path(str(settings.out)).suffix, **{name: plain[name] for name in changed}}


def read_part(path: Path) -> PartCard:
    """The card of a part.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return PartCard.model_validate(read_json(path))
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {sentence(error)}.") from None


def is_whole(folder: Path, card: PartCard) -> bool:
    """Whether the file of a part is the one that was written."""
    try:
        return Path(card.file).name == card.file and checksum_of(folder / card.file) == (
            card.digest
        )
    except OSError:
        return False


def all_parts(folders: Sequence[Path]) -> tuple[list[tuple[Path, PartCard]], PartCard]:
    """The files of all parts in their order, with their cards; and the first card.

    Raises:
        ValueError: parts are missing, damaged, there twice, or of different outputs; names them.
    """
    parts: dict[int, tuple[Path, PartCard]] = {}
    first: tuple[Path, PartCard] | None = None
    twice, damaged = [], []
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder, so no parts to merge.")
        for path in sorted(folder.glob("*-of-*.json")):
            card = read_part(path)
            first = first or (path, card)
            same = set(PartCard.model_fields) - set(OWN)
            if other := [n for n in sorted(same) if getattr(card, n) != getattr(first[1], n)]:
                raise ValueError(
                    f"{path} and {first[0]} are not parts of one output: they differ in "
                    f"{', '.join(other)}. Delete those that do not belong and make them again."
                )
            if card.number in parts:
                twice.append(f"{parts[card.number][0]} and {path}")
            elif not is_whole(folder, card):
                damaged.append(str(folder / card.file))
            parts[card.number] = (folder / card.file, card)
    if first is None:
        raise ValueError(f"{' and '.join(map(str, folders))}: there are no parts to merge.")
    if twice:
        raise ValueError(f"the same part is there twice: {_few(twice)}; delete one of each.")
    count = first[1].count
    if missing := [f"{n}/{count}" for n in range(count) if n not in parts]:
        raise ValueError(
            f"{len(missing):,} of {counted(count, 'part is', 'parts are')} missing: "
            f"{_few(missing)}; make them with "
            "--shard."
        )
    if damaged:
        raise ValueError(
            f"{counted(len(damaged), 'part is', 'parts are')} damaged, or without a file: "
            f"{_few(damaged)}; the same "
            "commands with their --shard make them again."
        )
    return [parts[number] for number in range(count)], first[1]


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
