"""Class names that come with a table: in the schema, or in ``dataset_info.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsight.data.sources.steps.columns import LABEL


def feature_names(schema: Any) -> dict[str, Sequence[str]]:
    """Class names in the Hugging Face metadata of a schema."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    try:
        features = json.loads(raw)["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return _names_in(features)


def _names_in(features: Any) -> dict[str, Sequence[str]]:
    names: dict[str, Sequence[str]] = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        while isinstance(feature, dict) and "names" not in feature and "feature" in feature:
            feature = feature["feature"]
        found = feature[0] if isinstance(feature, list) and feature else feature
        found = found.get("names") if isinstance(found, dict) else None
        if isinstance(found, list) and found:
            names[name] = [str(word) for word in found]
    return names


def info_names(folder: Path, columns: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Class names in ``dataset_info.json``: its features, ``<column>_names`` or ``class_names``."""
    file = folder / "dataset_info.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(info, dict):
        return {}
    names = _names_in(info.get("features"))
    for column in columns:
        stem = column.removesuffix("_label")
        keys = (f"{column}_names", f"{stem}_names", "class_names" if LABEL.search(column) else "")
        found = next((info[key] for key in keys if isinstance(info.get(key), list)), None)
        if found and column not in names:
            names[column] = [str(word) for word in found]
    return names
