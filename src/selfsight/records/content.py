"""Records as files: checked when they are read, plain when they are written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from selfsight.files import read_json
from selfsight.settings import sentence


class FileContent:
    """A dataclass that is the content of a JSON file."""

    def plain(self) -> dict[str, Any]:
        """Dictionaries, lists, numbers and text, as in the file."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


Schema = TypeVar("Schema")


def read_record(kind: type[Schema], path: str | Path) -> Schema:
    """A file as ``kind``, one of the schemas of this module.

    Raises:
        ValueError: the file is missing or damaged; names the file and the field.
    """
    return checked(kind, read_json(path), path)


def checked(kind: type[Schema], content: Any, path: str | Path) -> Schema:
    """Plain content as ``kind``.

    Args:
        kind: a schema of this module.
        content: dictionaries, lists, numbers and text.
        path: how the error calls it.

    Raises:
        ValueError: a field is missing, wrong or unknown; names it.
    """
    try:
        record: Schema = TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {sentence(error)}.") from None
    return record
