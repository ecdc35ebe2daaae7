"""The verb `merge`: the parts of one output in, the output out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from selfsight.console import counted, progress, say, warn
from selfsight.models.parts import PartCard, all_parts, folder_of
from selfsight.outputs import check_output
from selfsight.settings import Settings

if TYPE_CHECKING:
    from selfsight.neighbours.card import IndexCard

Parts = Sequence[tuple[Path, PartCard]]


class Merge(Settings):
    """Join the parts that `embed`, `predict` or `index` wrote with --shard into what one command
    would have written. It stops where a part is missing, damaged, or there twice.
    """

    out: tyro.conf.Positional[str]
    """The --out of the parts."""
    parts: tuple[str, ...] = ()
    """Folders of the parts, where they are not all in OUT.parts."""


def merge(settings: Merge) -> Path:
    """Joins parts in their order; they stay where they are.

    Returns:
        The path of the file, or of the folder of the index.

    Raises:
        ValueError: parts are missing, damaged, there twice, or of different outputs; names them.
    """
    out = Path(settings.out)
    parts, first = all_parts([Path(p) for p in settings.parts] or [folder_of(out)])
    if out.suffix != first.options.get("suffix", ""):
        raise ValueError(
            f"out {out}: the parts were made for a name that ends in "
            f"{first.options.get('suffix') or 'no suffix'}."
        )
    if first.verb != "index":
        check_output(out, settings)
    if first.verb == "embed":
        _merge_embeddings(out, parts)
    elif first.verb == "predict":
        _merge_tables(out, parts)
    else:
        _merge_indexes(out, parts, first)
    rows = sum(card.rows for _, card in parts)
    if (left := first.listed - rows) > 0:  # tiles are more rows than images
        warn(f"{left:,} of {counted(first.listed, 'image')} could not be used and have no row.")
    say(f"{counted(rows, 'row')} of {counted(len(parts), 'part')}.")
    return out


def _merge_embeddings(out: Path, parts: Parts) -> None:
    from selfsight.models.embed import writing_embeddings

    with np.load(parts[0][0]) as arrays:
        width = arrays["representations"].shape[1]
    # A table takes the row ids of each part; only arrays need all of them at once.
    row_ids = np.zeros(0, "<U1")
    if out.suffix in (".npz", ".npy"):
        ids = []
        for path, _ in parts:
            with np.load(path) as arrays:
                ids.append(arrays["row_ids"])
        row_ids = np.concatenate(ids)
    with (
        writing_embeddings(str(out), [], row_ids, width) as write,
        progress("merge", len(parts)) as bar,
    ):
        for path, _ in parts:
            with np.load(path) as arrays:
                write((arrays["row_ids"], arrays["representations"]))
            bar.update(1)


def _merge_tables(out: Path, parts: Parts) -> None:
    import pyarrow.parquet as pq

    from selfsight.models.tables import writing_table

    with writing_table(out) as write, progress("merge", len(parts)) as bar:
        for path, _ in parts:
            write(pq.read_table(path))
            bar.update(1)


def _merge_indexes(out: Path, parts: Parts, first: PartCard) -> None:
    import pyarrow as pa

    from selfsight.neighbours.appending import copied, exact_card
    from selfsight.neighbours.build import IndexImages, searchable
    from selfsight.neighbours.card import PICTURES, VECTORS
    from selfsight.neighbours.exact import VectorsFile
    from selfsight.neighbours.folder import check_free, write_card, write_rows, writing_folder
    from selfsight.neighbours.index import Index
    from selfsight.neighbours.pictures import PicturesFile

    check_free(out, append=False)
    card = Index.load(parts[0][0]).card
    tables: list[Any] = []
    with writing_folder(out) as folder:
        with closing(VectorsFile(folder / VECTORS, card.width)) as vectors:
            pictures = PicturesFile(folder / PICTURES) if card.pictures else None
            with progress("merge", len(parts)) as bar:
                for path, _ in parts:
                    part = Index.load(path)
                    copied(part, vectors, pictures)
                    tables.append(part.rows)
                    bar.update(1)
            if pictures is not None:
                pictures.close()
        rows = pa.concat_tables(tables)
        write_rows(folder, rows)
        card = exact_card(card, len(rows))
        usual = {name: field.default for name, field in IndexImages.model_fields.items()}
        kind, recall, seed = (
            first.options.get(name, usual[name]) for name in ("kind", "recall", "seed")
        )
        finished: IndexCard = searchable(card, folder, rows, kind, recall, seed)
        write_card(folder, finished)
