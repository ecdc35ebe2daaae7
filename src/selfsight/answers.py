"""What a verb returns as one JSON object, for ``--json``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(verb: str, result: Any) -> str:
    """One object: the verb, and what it returned by its names.

    Args:
        verb: its name.
        result: what its function returned; a path stands under ``path``, other values that have no
            names of their own under ``result``.
    """
    value = plain(result)
    if isinstance(result, Path):
        value = {"path": value}
    elif value is None:
        value = {}
    elif not isinstance(value, dict):
        value = {"result": value}
    return json.dumps({"verb": verb, **value}, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Dictionaries, lists, numbers, text and None; a number that is not finite is None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return plain(value.tolist())
    if hasattr(value, "to_pylist"):  # tables
        return plain(value.to_pylist())
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if callable(found := getattr(value, "plain", None)):
        return plain(found())
    folder = getattr(value, "folder", None)
    if folder is not None and hasattr(folder, "path"):  # a run
        about = {"run": str(folder.path), "settings": plain(found)}
        return about | {"environment": plain(value.environment)}
    if hasattr(value, "card"):  # a model
        return {"model": plain(folder), "card": plain(value.card)}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.repr]
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)
