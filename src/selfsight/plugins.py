"""Modules by name and by path: a folder is a registry, and a file of the user's own joins it."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType


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
    name = f"selfsight_{what}_{path.stem}_{digest}"
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
    return str(error) if isinstance(error, ValueError) else f"it cannot be imported: {error!r}."
