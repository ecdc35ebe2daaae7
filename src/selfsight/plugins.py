"""Modules by name and by path: a folder is a registry, and a file of the user's own joins it."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NamedTuple

OWN = "selfsight_"
"""How the names of modules begin that were run from files of the user's own."""


class OwnLine(NamedTuple):
    """A line of a file of the user's own.

    Attributes:
        what: the file holds: ``method``, ``backbone``, ``verb``.
        path: of the file.
        line: of it, from 1.
        innermost: whether no code of selfsight runs below it.
    """

    what: str
    path: str
    line: int
    innermost: bool


def names_in(*folders: str) -> list[str]:
    """The modules of some folders, sorted; none is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(folders))


def is_file(name: str) -> bool:
    """Whether a name is the path of a Python file."""
    return name.endswith(".py")


def module_at(path: str | Path, what: str) -> ModuleType:
    """The module in a file of the user's own; the same object each time.

    Args:
        path: of the file, which is run.
        what: it should hold, for errors: ``method``.

    Raises:
        ValueError: there is no such file, or it cannot be imported.
    """
    import hashlib

    path = Path(path).resolve()
    if not path.is_file():
        raise ValueError(f"{what} {path}: there is no such file.")
    digest = hashlib.blake2b(str(path).encode()).hexdigest()[:8]
    name = f"{OWN}{what}_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        return run_file(path, name)
    except Exception as error:
        raise ValueError(f"{what} {path}: {_problem(error)}") from error


def run_file(path: Path, name: str) -> ModuleType:
    """Runs a file as the module of this name.

    It stands in ``sys.modules`` unless it fails: dataclasses and pickling look a class's module up
    there.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _problem(error: Exception) -> str:
    from pydantic import ValidationError

    from selfsight.settings import sentence

    if isinstance(error, ValidationError):
        return sentence(error)
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return str(error)
    return f"it cannot be imported: {described(error)}."


def described(error: BaseException) -> str:
    """``SyntaxError: invalid syntax (line 3)``: an error of a file of the user's own."""
    if isinstance(error, SyntaxError):
        line, text = error.lineno, error.msg
    else:
        place, text = place_of(error), str(error)
        line = None if place is None else place.line
    lines = text.strip().splitlines()
    words = f"{type(error).__name__}: {lines[0][:300].rstrip('.')}" if lines else repr(error)
    return words if line is None else f"{words} (line {line})"


def place_of(error: BaseException) -> OwnLine | None:
    """The last line of a file of the user's own that ran before an error; None: no such file."""
    place: OwnLine | None = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_globals.get("__name__", "")
        if name.startswith(OWN):
            path = step.tb_frame.f_code.co_filename
            place = OwnLine(name.split("_")[1], path, step.tb_lineno, True)
        elif name.partition(".")[0] == "selfsight" and place is not None:
            place = place._replace(innermost=False)
        step = step.tb_next
    return place
