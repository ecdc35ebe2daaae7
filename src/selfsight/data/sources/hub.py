"""``hf:owner/name``: image sets of the Hugging Face hub, through its library `datasets`.

``hf:owner/name?config=NAME`` takes one of its configurations; ``hf:owner/name?rows=N`` streams
the first N rows of each split (of shuffled shards) and keeps them in the cache folder instead of
downloading everything.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress
from selfsight.data.notes import left_out
from selfsight.data.pixels.headers import Encoded
from selfsight.data.pixels.store import cache_folder, fingerprint
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.encoded_columns import encoded_images
from selfsight.data.sources.steps.image_columns import chosen_column
from selfsight.data.sources.steps.listing import Files, Listing
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.split_names import split_of_name
from selfsight.files import replacing
from selfsight.settings import unknown

PREFIX = "hf:"
BATCH = 256
SHUFFLED = 1000
"""Rows of a stream that are shuffled among themselves, besides its files."""
ORDER = 20
"""Before sources that look for images in a folder."""


def opens(path: str | Path) -> bool:
    """Names that begin with ``hf:``, and folders that ``save_to_disk`` wrote."""
    return str(path).startswith(PREFIX) or _saved(Path(path))


def _saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    )


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of a set on the hub, undecoded; its splits are kept.

    No code of the set is run: `datasets` 4 and later only reads data files.

    Raises:
        ValueError: the library is not installed, the set cannot be had, or it has no images.
    """
    source = str(path)
    try:
        import datasets
    except ImportError:
        raise ValueError(f"{source}: the hub needs `datasets`; install selfsight[hub].") from None
    saved = _saved(Path(path))
    name, options = (Path(path).resolve().name, {}) if saved else _parsed(source)
    rows = options.get("rows")
    try:
        if saved:
            loaded = datasets.load_from_disk(source)
            parts = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
        elif rows is not None:
            parts = _streamed(datasets, name, options.get("config"), int(rows))
        else:
            parts = dict(datasets.load_dataset(name, options.get("config")))
    except (OSError, ValueError, RuntimeError) as error:
        # What the library raises: no network, no such set or configuration, a script.
        line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{source}: `datasets` cannot load it ({line}).") from None
    splits = {split: split_of_name(split) for split in parts}
    if asked.split == NONE:
        splits = dict.fromkeys(parts)
    kept = {split: part for split, part in parts.items() if splits[split]} or parts
    if asked.whole:
        kept = parts
    notes: builtins.list[str] = [
        left_out(
            f"Split {split} of {name} is left out: {counted(part.num_rows, 'image')}.",
            about=split,
            count=part.num_rows,
            setting="split_column",
            doubtful=True,
        )
        for split, part in parts.items()
        if split not in kept
    ]
    first = next(iter(kept.values()))
    image, said = _image_of(datasets, first.features, source, asked)
    notes += said
    kept = {
        split: part.cast_column(image, datasets.Image(decode=False)).with_format("arrow")
        for split, part in kept.items()
    }
    import pyarrow as pa

    tables = [part.remove_columns([image])[:] for part in kept.values()]
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables],
                             promote_options="permissive")  # fmt: skip
    lengths = [part.num_rows for part in kept.values()]
    row_ids = np.array([f"{s}#{i}" for s, n in zip(kept, lengths, strict=True) for i in range(n)])
    given = np.repeat([splits[split] or "train" for split in kept], lengths).astype("<U10")
    inside = Path(datasets.config.HF_CACHE_HOME)
    read = partial(_read, [*kept.values()], image, inside)
    prints = [str(getattr(part, "_fingerprint", "")) for part in kept.values()]
    files = Files(name.rpartition("/")[2], row_ids, read, partial(_identity, name, prints),
                  asked)  # fmt: skip
    columns = dict(zip(table.column_names, table.columns, strict=True))
    names = _names(first.features)
    return with_columns(files.listing(), columns, names, given, asked, notes)


def _parsed(source: str) -> tuple[str, dict[str, str]]:
    name, _, query = source.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query))
    for option in options:
        if option not in ("config", "rows"):
            raise unknown(f"option of {PREFIX}{name} named", option, ("config", "rows"))
    if not name or not options.get("rows", "1").isdigit() or options.get("rows") == "0":
        raise ValueError(f"{source}: write hf:owner/name, ?config=NAME or ?rows=10000 after it.")
    return name, options


def _streamed(datasets: Any, name: str, config: str | None, rows: int) -> dict[str, Any]:
    """The first rows of each split, copied undecoded from a stream into the cache folder."""
    found = {}
    for split, stream in datasets.load_dataset(name, config, streaming=True).items():
        named = fingerprint(["hub", name, str(config), split, str(rows)])
        kept = cache_folder() / f"{named}.parquet"
        if not kept.is_file():
            for column, feature in (stream.features or {}).items():
                if isinstance(feature, datasets.Image):
                    stream = stream.cast_column(column, datasets.Image(decode=False))
            with replacing(kept) as temporary:
                _copy(stream.shuffle(seed=0, buffer_size=SHUFFLED), temporary, split, rows)
        found[split] = datasets.Dataset.from_parquet(str(kept))
    return found


def _copy(stream: Any, path: Path, split: str, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if stream.features is None:
        raise ValueError("a stream that does not say its columns; leave ?rows out")
    schema = stream.features.arrow_schema
    taken = islice(iter(stream), rows)
    with pq.ParquetWriter(path, schema) as writer, progress(f"streaming {split}", rows) as bar:
        while batch := builtins.list(islice(taken, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            bar.update(len(batch))


def _image_of(
    datasets: Any, features: Mapping[str, Any], source: str, asked: Asked
) -> tuple[str, Sequence[str]]:
    found = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not found:
        raise ValueError(f"{source}: none of its columns is an image ({', '.join(features)}).")
    image, notes = chosen_column(found, asked, source)
    assert image is not None
    return image, notes


def _names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    names: dict[str, Sequence[str]] = {}
    for name, feature in features.items():
        inner = getattr(feature, "feature", feature)
        found = getattr(inner, "names", None)
        if isinstance(found, builtins.list):
            names[name] = [str(word) for word in found]
    return names


def _read(
    parts: Sequence[Any], image: str, inside: Path, rows: NDArray[np.int64]
) -> Iterable[builtins.list[Encoded | str]]:
    start = 0
    for part in parts:
        here = rows[(rows >= start) & (rows < start + part.num_rows)] - start
        start += part.num_rows
        for first in range(0, len(here), BATCH):
            column = part[here[first : first + BATCH]][image].combine_chunks()
            yield encoded_images(column, inside)


def _identity(name: str, prints: Sequence[str], rows: NDArray[np.int64]) -> Iterable[str]:
    yield name
    yield from prints
    yield rows.tobytes().hex()
