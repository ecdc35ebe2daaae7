"""``index.json``: what an index holds, and the check of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from selfsight.files import not_a_folder, read_json
from selfsight.fitting.novelty import Novelty
from selfsight.runs.frame import Frame
from selfsight.settings import Settings, sentence

CARD = "index.json"
VECTORS = "vectors.npy"
LISTS = "index.faiss"
ROWS = "rows.parquet"
PICTURES = "pictures.parquet"
HASHED_BYTES = 1 << 30
"""Above it only the size of a file is checked when an index is opened: a hash would take longer
than the search."""
Count = Annotated[int, Field(ge=0)]


class StoredFile(Settings):
    """Size and checksum of a file."""

    bytes: Count
    """Size."""
    blake2b: str
    """Of its content, 32 hexadecimal digits."""


class Recall(Settings):
    """How many of the exact neighbours an approximate search finds, measured on the index."""

    k: Annotated[int, Field(ge=1)]
    """Neighbours that were compared."""
    value: Annotated[float, Field(ge=0.0, le=1.0)]
    """Share of them that the approximate search finds."""
    queries: Annotated[int, Field(ge=1)]
    """Rows of the index that asked; a row itself does not count."""


class IndexCard(Settings):
    """``index.json``."""

    format: Literal[1] = 1
    """Of this folder."""
    kind: Literal["exact", "ivf_flat", "ivf_sq8"]
    """exact, or inverted lists of faiss with whole vectors or with a byte a number."""
    metric: Literal["cosine"] = "cosine"
    """Of the vectors, which have length 1."""
    count: Annotated[int, Field(ge=1)]
    """Images."""
    width: Annotated[int, Field(ge=1)]
    """Numbers of a vector."""
    encoder: str
    """Hash of weights, network and channel statistics: queries must come from the same ones."""
    frame: Frame | None = None
    """Form of the images; None: the index holds representations of unknown images."""
    run: str = ""
    """Folder of the run or the model."""
    data: str = ""
    """Name of the first images."""
    directory: str = ""
    """The working directory of `index`, which names of images are relative to."""
    target: str | None = None
    """Where the labels come from."""
    target_kind: str | None = None
    """class, identity, labels or number."""
    group: str | None = None
    """Where the groups come from."""
    labels_read: str | None = None
    """The sentence on the labels that trained the backbone; None: there were none."""
    cautions: tuple[str, ...] = ()
    """A sentence for each start of the training of which nothing is known."""
    lists: Count = 0
    """Inverted lists; 0 for an exact index."""
    visited: Count = 0
    """Lists that a query visits."""
    recall: Recall | None = None
    """Of an approximate search, with these lists visited."""
    novelty: Novelty | None = None
    """From where on a query is unlike all that is indexed; None: unknown, as of fewer than 20
    images or of an index in memory."""
    pictures: Count = 0
    """Longest side of the kept pictures, pixels; 0: there are none."""
    files: dict[str, StoredFile] = {}
    """Of the folder, this one apart."""
    selfsight: str = ""
    """Version that wrote it."""


def stored(path: Path) -> StoredFile:
    """Size and checksum of a file, read a MiB at a time."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return StoredFile(bytes=path.stat().st_size, blake2b=digest.hexdigest())


def read_card(folder: Path) -> IndexCard:
    """The card of an index.

    Raises:
        ValueError: there is no index, or its card is damaged.
    """
    if not folder.is_dir():
        old = folder.with_name(f"{folder.name}.previous")
        hint = f"; an append was interrupted: rename {old} to it" if old.is_dir() else ""
        raise ValueError(f"index {folder}: {not_a_folder(folder)}{hint}.")
    path = folder / CARD
    if not path.is_file():
        raise ValueError(
            f"index {folder}: it has no {CARD}, so it is no index of `selfsight index`."
        )
    content = read_json(path)
    try:
        return IndexCard.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {sentence(error)}.") from None


def check_files(folder: Path, card: IndexCard) -> None:
    """Raises ``ValueError`` where a file is missing or is not the one that was written."""
    needed = {ROWS, VECTORS if card.kind == "exact" else LISTS}
    for name in sorted(needed | card.files.keys()):
        path, wanted = folder / name, card.files.get(name)
        if wanted is None or not path.is_file():
            raise ValueError(f"index {folder}: its {name} is missing; make the index again.")
        size = path.stat().st_size
        if size != wanted.bytes or (size <= HASHED_BYTES and stored(path) != wanted):
            raise ValueError(
                f"index {folder}: its {name} is damaged, it is not the file that was written; "
                "copy the folder again or make the index again."
            )
