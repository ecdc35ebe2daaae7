"""What a command may write over: nothing that it reads, and no file of the user's."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfsight.files import CHECKSUM
from selfsight.settings import Settings

MARK = b"selfsight"
"""Key in the metadata of a Parquet table that a verb wrote; its value lists the columns."""
_GENERATOR = b'<meta name="generator" content="selfsight'
_EXPORTED = (".onnx", ".safetensors", ".pth", ".pt")
_HEADERS = (
    ["query", "rank", "row_id", "cosine", "label", "split", "source", "distance", "novel"],
    ["row_id", "cluster", "size", "duplicate_of", "label"],
    ["a", "b", "same", "fold", "cosine", "predicted"],
    ["kind", "a", "b", "cosine", "label_a", "label_b"],
)
"""Of the CSV files of `search`, `cluster` and `pairs`."""
_START = ["start", "backbone", "score", "low", "high", "behind"]
"""The first columns of `compare-starts`."""


def check_output(
    path: str | Path, settings: Settings | None = None, beside: Sequence[str] = ()
) -> None:
    """Raises ``ValueError`` where writing a file would lose one of the user's.

    Verbs call it before they work for minutes. A file that a verb wrote is written again, as long
    as its columns are still those.

    Args:
        path: of the file.
        settings: of the verb: what they name is read, and never written.
        beside: suffixes of further files that are written beside it.
    """
    place = Path(path)
    for each in (place, *(place.with_suffix(suffix) for suffix in beside)):
        named = f"out {path}:" if each == place else f"out {path}: {each} is written beside it, and"
        for name in _reading(settings, each):
            raise ValueError(f"{named} this command reads it ({name}); choose another --out.")
        if not each.exists() or _is_ours(each):
            continue
        if each.is_dir():
            raise ValueError(f"{named} it is a folder; name a file.")
        kind = "" if each.suffix in _EXPORTED else " that is not as selfsight writes it"
        raise ValueError(
            f"{named} there is a file already{kind}, and it would be lost; move it away or choose "
            "another --out."
        )


def check_not_the_data(path: str | Path | None, data: object) -> None:
    """Raises ``ValueError`` where a folder to write into is the folder of the images."""
    if path is not None and isinstance(data, str | Path) and _same(path, data):
        raise ValueError(
            f"out {path}: it is the folder of the images, which stays as it is; choose another "
            "--out."
        )


def check_own_folder(path: str | Path | None, names: Collection[str]) -> None:
    """Raises ``ValueError`` where a verb would mix its files with others of the user.

    Args:
        path: the folder; it may be missing, or empty but for hidden files and logs.
        names: of files, one of which says that the verb wrote the folder.
    """
    there = [] if path is None else _entries(Path(path))
    if there and not any(name in there for name in names):
        more = f" and {len(there) - 1:,} more" if len(there) > 1 else ""
        raise ValueError(
            f"out {path}: it is a folder of other files ({there[0]}{more}), and this command would "
            "mix its own with them; choose another --out."
        )


def marked(schema: Any) -> Any:
    """A pyarrow schema that says that selfsight wrote a table of these columns."""
    return schema.with_metadata({**(schema.metadata or {}), MARK: json.dumps(schema.names)})


def _entries(folder: Path) -> list[str]:
    """Names in a folder, sorted, without hidden files, logs and what killed processes left."""
    logs = (".log", ".out", ".err", ".tmp")
    if not folder.is_dir():
        return []
    names = (entry.name for entry in os.scandir(folder))
    return sorted(n for n in names if not n.startswith(".") and not n.endswith(logs))


def _reading(settings: Settings | None, place: Path) -> Iterator[str]:
    """Names of the settings that name this file."""
    for name in () if settings is None else type(settings).model_fields:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if name != "out" and any(_same(place, v) for v in values if isinstance(v, str)):
            yield name


def _same(one: str | Path, other: str | Path) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(Path(one).expanduser(), Path(other).expanduser())
    return False


def _is_ours(path: Path) -> bool:
    """Whether a verb wrote the file, or it is empty."""
    ways = {
        ".csv": _csv_is_ours,
        ".parquet": _parquet_is_ours,
        ".npz": _npz_is_ours,
        ".npy": _npy_is_ours,
        ".json": _json_is_ours,
        ".html": _page_is_ours,
    }
    if not path.is_file():
        return False
    if not path.stat().st_size:
        return True
    way = ways.get(path.suffix.lower())
    try:
        return way is not None and way(path)
    except Exception:  # a file of another program may raise anything
        return False


def _csv_is_ours(path: Path) -> bool:
    """Whether its header is that of a verb, quoted as pyarrow does and spreadsheets do not."""
    with open(path, newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    quoted = ",".join('"{}"'.format(name.replace('"', '""')) for name in columns)
    with open(path, "rb") as raw:
        if raw.read(len(quoted.encode())) != quoted.encode():
            return False
    classes = columns[:4] == ["row_id", "predicted", "distance", "novel"] and all(
        name.startswith("p_") for name in columns[4:]
    )
    predictions = classes or columns[:3] == ["row_id", "distance", "novel"]
    features = ["row_id", *(f"f{k}" for k in range(len(columns) - 1))]
    starts = columns[: len(_START)] == _START
    return predictions or columns == features or columns in _HEADERS or starts


def _parquet_is_ours(path: Path) -> bool:
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    return bool(json.loads((schema.metadata or {})[MARK]) == schema.names)


def _npz_is_ours(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        return sorted(file.namelist()) == ["representations.npy", "row_ids.npy"]


def _npy_is_ours(path: Path) -> bool:
    """Whether it has row ids beside it; they are text, a name each."""
    import numpy as np

    ids = path if path.name.endswith(".row_ids.npy") else path.with_suffix(".row_ids.npy")
    texts = np.load(ids, mmap_mode="r").dtype.kind == "U"
    return texts and (ids == path or np.load(path, mmap_mode="r").dtype == np.float32)


def _json_is_ours(path: Path) -> bool:
    value = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(value, dict) and CHECKSUM in value


def _page_is_ours(path: Path) -> bool:
    with open(path, "rb") as file:
        return _GENERATOR in file.read(4096)
