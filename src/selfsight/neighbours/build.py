"""The verb `index`: a run and its images in, a folder that can be searched out."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import counted, progress, say, warn
from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.options import DataOptions, Images
from selfsight.data.parts import RowPart, Shard
from selfsight.fitting.novelty import ASKED, lengths_of, novelty_within, unit
from selfsight.models.parts import PartPlace
from selfsight.neighbours.appending import copied, exact_card, new_rows, prefixed
from selfsight.neighbours.approximate import build_lists, has_faiss
from selfsight.neighbours.card import PICTURES, VECTORS, IndexCard
from selfsight.neighbours.encoder import Encoder, file_names
from selfsight.neighbours.exact import VectorsFile, mapped
from selfsight.neighbours.folder import (
    check_free,
    rows_table,
    write_card,
    write_rows,
    writing_folder,
)
from selfsight.neighbours.index import Index
from selfsight.neighbours.pictures import PicturesFile, encoded
from selfsight.version import __version__

PART = 2048
"""Images that are represented at once."""
LARGE = 500_000
"""Images above which an exact search takes more than 100 ms, and `auto` takes inverted lists."""


IndexKind = Literal["auto", "exact", "ivf_flat", "ivf_sq8"]
"""How an index is searched."""


class IndexImages(DataOptions):
    """Represent images once, and keep them in a folder that can be searched."""

    run: tyro.conf.Positional[str]
    """The folder of a finished run, or of a model."""
    images: tyro.conf.Positional[str | None] = None
    """Images, as for `embed`; by default those of the run, with the run's splits."""
    out: str = "index"
    """The folder of the index."""
    append: bool = False
    """Add images to the index in --out; those that it has under their names are left out."""
    prefix: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What the row ids and groups of these images begin with in the index, as in siteB, so that
    images of several sources may have the same names."""
    kind: IndexKind = "auto"
    """exact, or inverted lists of faiss with whole vectors (ivf_flat) or a byte a number (ivf_sq8);
    auto: exact up to 500,000 images, then ivf_sq8."""
    recall: Annotated[float, Field(gt=0.0, le=1.0)] = 0.98
    """Share of the ten exact neighbours that an approximate search must find; it visits as many
    lists as that takes on these images."""
    pictures: Annotated[int, Field(ge=0, le=1024)] = 96
    """Longest side in pixels of the small pictures that are kept for pages; 0: none."""
    shard: Shard | None = None
    """I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the parts."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Images that go through the network at once; by default as many as stay in a CPU's cache, or
    512 on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""


def index(settings: IndexImages, images: Images | None = None) -> Index | Path:
    """Represents images, brings the vectors to length 1, and writes the folder.

    Args:
        settings: see `IndexImages`.
        images: what to open instead of ``settings.images``: an image set, arrays, a dataset.

    Returns:
        The index, opened from its folder; with a ``shard`` the folder of the part.

    Raises:
        ValueError: the run or the images cannot be read or do not fit each other, there is an
            index already, or one to add to was made with other weights.
    """
    if settings.shard is not None:
        return _part(settings, images)
    out = Path(settings.out)
    check_free(out, append=settings.append)
    old = Index.load(out) if settings.append else None
    encoder = Encoder.load(settings.run, device=settings.device, allow_code=settings.allow_code)
    if old is not None and old.card.encoder != encoder.key:
        raise ValueError(
            f"append: the index {out} was made with other weights, or other code, than "
            f"{settings.run}; name the run that it was made with, or make the index again."
        )
    opened, rows, target = _opened(settings, encoder, images, None)
    new = np.arange(len(opened))
    if old is not None:
        new = new_rows(old, opened, rows, encoder, out)
    if old is not None and not len(new):
        say(f"All images of {opened.name} are in the index {out} already.")
        return old
    with writing_folder(out) as folder:
        card, rows = _written(settings, encoder, opened, rows, target, new, old, folder)
        card = searchable(card, folder, rows, settings.kind, settings.recall, settings.seed)
        write_card(folder, card)
    return Index.load(out)


def _part(settings: IndexImages, images: Images | None) -> Path:
    """One part as an exact index of its own, in the folder of the parts."""
    source = settings.images if images is None else images
    if source is None or settings.append:
        raise ValueError(
            "shard: name the images too; parts are of one source, and `merge` makes a new index, "
            "so --append cannot be given."
        )
    place = PartPlace.of("index", settings, settings.run, source)
    if place.done():
        return place.path
    encoder = Encoder.load(settings.run, device=settings.device, allow_code=settings.allow_code)
    opened, rows, target = _opened(settings, encoder, images, place.part)
    with writing_folder(place.path) as folder:
        new = np.arange(len(opened))
        card, _ = _written(settings, encoder, opened, rows, target, new, None, folder)
        write_card(folder, card)
    return place.finish(card.count)


def _opened(
    settings: IndexImages, encoder: Encoder, images: Images | None, part: RowPart | None
) -> tuple[ImageSet, Any, Target | None]:
    """The images, their rows of the table, and the target whose label stands there."""
    import pyarrow as pa

    own = images is None and settings.images is None
    if own:
        opened = encoder.own_images(settings)
        source = encoder.own_source
    else:
        given = settings.images if images is None else images
        assert given is not None
        opened = encoder.open(given, settings, part)
        source = opened.name if images is not None else str(settings.images)
    if not len(opened):
        raise ValueError(f"{source}: there are no images.")
    name = settings.target or (encoder.own_target(opened) if own else None)
    target = _target(opened, name)
    files = [None] * len(opened) if images is not None else file_names(source, opened.row_ids)
    columns: dict[str, Any] = {
        "file": files,
        "source": [source] * len(opened),
        "split": opened.splits.tolist(),
        "label": label_texts(target, len(opened)),
        "seen": encoder.seen(opened),
        "prefix": [settings.prefix] * len(opened),
        "group": _group_names(opened, settings.prefix),
        "digest": pa.array(opened.content.digests, mask=opened.content.blank),
    }
    return opened, rows_table(prefixed(opened.row_ids, settings.prefix), **columns), target


def _group_names(images: ImageSet, prefix: str | None) -> list[str | None]:
    """The group of each image by name, for numbers differ between sources; None: in none."""
    if images.groups is None:
        return [None] * len(images)
    names = images.group_names or tuple(map(str, range(int(images.groups.max(initial=0)) + 1)))
    known = prefixed(np.array(names, dtype=str), prefix).tolist()
    return [known[code] if code >= 0 else None for code in images.groups.tolist()]


def _target(images: ImageSet, name: str | None) -> Target | None:
    """The target that was named, or the only one; none of several."""
    if name is None and len(images.targets) > 1:
        warn(
            f"{images.name} has several targets, and none is kept; choose one with --target: "
            f"{', '.join(sorted(images.targets))}."
        )
        return None
    return choose_target(images, name)


def label_texts(target: Target | None, count: int) -> list[str | None]:
    """The value of a target in each row as text; None where it is unknown."""
    if target is None:
        return [None] * count
    texts: list[str | None] = []
    for value, known in zip(target.values, target.known.tolist(), strict=True):
        if not known:
            texts.append(None)
        elif target.kind in ("class", "identity"):
            texts.append(target.names[int(value)])
        elif target.kind == "labels":
            texts.append("|".join(n for n, v in zip(target.names, value, strict=True) if v == 1))
        else:
            texts.append("|".join(f"{v:.6g}" for v in value))
    return texts


def _written(
    settings: IndexImages,
    encoder: Encoder,
    images: ImageSet,
    rows: Any,
    target: Target | None,
    new: NDArray[np.int64],
    old: Index | None,
    folder: Path,
) -> tuple[IndexCard, Any]:
    """Vectors, pictures and rows, what `old` holds first; the card and the table of all rows."""
    import pyarrow as pa

    width = encoder.backbone.features
    kept: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.float32]] = []
    side = settings.pictures if old is None else old.card.pictures
    with closing(VectorsFile(folder / VECTORS, width)) as vectors:
        pictures = PicturesFile(folder / PICTURES) if side else None
        if old is not None:
            copied(old, vectors, pictures)
        with progress("index", len(new)) as bar:
            for first in range(0, len(new), PART):
                part = new[first : first + PART]
                values = encoder.vectors(images, part, settings.batch_size)
                finite = torch.isfinite(values).all(1)
                part = part[finite.numpy()]
                vectors.append(unit(values[finite]))
                lengths.append(lengths_of(values[finite]))
                if pictures is not None:
                    pictures.append(encoded(np.asarray(images.pixels[row]), side) for row in part)
                kept.append(part)
                bar.update(len(values))
        if pictures is not None:
            pictures.close()
    used = np.concatenate(kept)
    if len(used) < len(new):
        warn(
            f"{counted(len(new) - len(used), 'image has', 'images have')} representations "
            "that are not finite and were "
            "left out."
        )
    if not len(used) and old is None:
        raise ValueError(f"{images.name}: no image has a finite representation.")
    table = rows.take(used)
    table = table.set_column(
        table.column_names.index("length"), "length", pa.array(np.concatenate(lengths))
    )
    if old is not None:
        table = pa.concat_tables([old.rows, table])
    write_rows(folder, table)
    if old is not None:
        return exact_card(old.card, len(table)), table
    target = (
        _target(images, settings.target) if len(images.targets) == 1 or settings.target else None
    )
    card = IndexCard(
        kind="exact",
        count=len(table),
        width=width,
        encoder=encoder.key,
        frame=encoder.frame,
        run=str(Path(settings.run).resolve()),
        data=images.name,
        directory=os.getcwd(),
        target=None if target is None else target.name,
        target_kind=None if target is None else target.kind,
        group=images.group_name,
        labels_read=encoder.labels_read,
        cautions=encoder.cautions,
        pictures=side,
        selfsight=__version__,
    )
    return card, table


def searchable(
    card: IndexCard, folder: Path, rows: Any, wanted: IndexKind, recall: float, seed: int
) -> IndexCard:
    """Inverted lists where they are wanted, and from where on a query is novel.

    Args:
        card: of the exact index in ``folder``.
        folder: of the index.
        rows: its table; images of one group are not compared.
        wanted: see `IndexImages.kind`.
        recall: see `IndexImages.recall`.
        seed: of the lists.
    """
    codes = rows["group"].combine_chunks().dictionary_encode().indices
    groups: NDArray[np.int64] = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if wanted == "auto":
        wanted = "exact"
        if card.count > LARGE:
            wanted = "ivf_sq8" if has_faiss() else "exact"
            if wanted == "exact":
                say(
                    f"{counted(card.count, 'image is', 'images are')} searched exactly, since "
                    "faiss is not installed: "
                    "`pip install 'selfsight[neighbours]'` makes a query faster."
                )
    exact = mapped(folder / VECTORS, card.count, card.width)
    if wanted != "exact":
        card = build_lists(folder, exact, card, wanted, recall, seed)
    most = ASKED if card.count <= 100_000 else ASKED // 4
    novelty = novelty_within(exact.vectors, rows["length"].to_numpy(), groups, most=most, seed=seed)
    card = card.updated({"novelty": novelty})
    if wanted != "exact":
        del exact
        (folder / VECTORS).unlink()
    return card
