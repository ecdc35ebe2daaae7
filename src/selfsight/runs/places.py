"""Paths that a run or a model recorded, found from any working directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selfsight.files import read_json
from selfsight.runs.folder import MODEL_CARD, RunFolder


def here(folder: str | Path) -> dict[str, str]:
    """What is recorded with relative paths: the working directory, and where the folder lies."""
    return {"directory": os.getcwd(), "folder": os.path.abspath(folder)}


@dataclass(frozen=True)
class RecordedPlace:
    """What the paths of a folder are relative to.

    Attributes:
        directory: the working directory when they were recorded; empty: it is not known.
        before: where the folder was then.
        folder: where it is now.
    """

    directory: str
    before: str
    folder: Path

    @classmethod
    def of(cls, folder: str | Path) -> RecordedPlace:
        """The place of a run or a model; nothing is known of one that does not record it."""
        folder = Path(folder)
        for path in (folder / MODEL_CARD, RunFolder(folder).environment):
            if path.is_file():
                try:
                    record = read_json(path)["recorded"]
                    return cls(str(record["directory"]), str(record["folder"]), folder)
                except (ValueError, KeyError, TypeError):  # who needs the file says what it lacks
                    break
        return cls("", "", folder)

    def then(self, name: str) -> str:
        """The absolute path that a name meant when it was recorded."""
        return os.path.normpath(Path(self.directory or os.getcwd()) / Path(name).expanduser())

    def found(self, name: str, there: Callable[[str], bool] = os.path.exists) -> str:
        """A recorded path as it is found now: where it was, or where it moved with the folder.

        Of a folder that has not moved it is where it was. Of one that has, it lies beside the
        folder as before, or below the working directory. A path that is nowhere, and a name that is
        no path (``digits``, ``s3://...``), stay as they are, and so does one that means the same
        here.

        Args:
            name: as it was recorded.
            there: whether something that can be opened has this name.
        """
        if not name or "://" in name or not self.directory:
            return name
        path, then = Path(name).expanduser(), self.then(name)
        beside = os.path.normpath(
            Path(os.path.abspath(self.folder)) / os.path.relpath(then, self.before)
        )
        if os.path.realpath(self.folder) == os.path.realpath(self.before):
            places = [then, name]
        elif path.is_absolute():
            places = [name, beside]
        else:
            places = [beside, name, then]
        for place in places:
            if Path(place).expanduser().parent.is_dir() and there(place):
                return name if os.path.abspath(Path(name).expanduser()) == place else place
        return name
