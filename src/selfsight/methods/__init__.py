"""The folder is the registry: one file a method; a path to a file works as a method too."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from selfsight.plugins import is_file, module_at, names_in
from selfsight.settings import unknown

if TYPE_CHECKING:
    from selfsight.method import Method


def method_names() -> list[str]:
    """Names of the methods that come with selfsight, without importing them."""
    return names_in(*__path__)


class _Methods(Mapping[str, "type[Method]"]):
    """Name -> class; each is imported when it is asked for. A key may be a path (``./mine.py``)."""

    def __getitem__(self, name: str) -> type[Method]:
        if is_file(name):
            return _only_method(module_at(name, "method"), name)
        if name not in method_names():
            raise unknown("method", name, method_names())
        return _only_method(importlib.import_module(f"{__name__}.{name}"), name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in method_names() or is_file(name))

    def __iter__(self) -> Iterator[str]:
        return iter(method_names())

    def __len__(self) -> int:
        return len(method_names())


METHODS: Mapping[str, type[Method]] = _Methods()


def name_of(settings: type) -> str:
    """The name, or the path of the user's file, of the method whose ``Settings`` this class is."""
    module = sys.modules[settings.__module__]
    package, _, name = module.__name__.rpartition(".")
    return name if package == __name__ else str(module.__file__)


def _only_method(module: object, name: str) -> type[Method]:
    from selfsight.method import Method

    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Method)
        and member.__module__ == getattr(module, "__name__", None)
    ]
    if len(found) != 1:
        names = ", ".join(sorted(member.__name__ for member in found)) or "none"
        raise ValueError(f"method {name}: the file must define one Method; it defines {names}.")
    _check_words(found[0], name)
    return found[0]


def _check_words(kind: type[Method], name: str) -> None:
    """Raises ``ValueError`` where a class does not say what every method must."""
    missing = {
        "a docstring": "its first line stands in the help",
        "presets": "one Preset at least, as `presets = {'small': Preset(...)}`",
        "views": "what it wants to see, as `views = (View(), View())`",
        "paper": "where it is from, as `paper = 'arXiv:2006.07733'`",
    }
    for what, why in missing.items():
        said = kind.__doc__ if what == "a docstring" else getattr(kind, what, None)
        if not said or not str(said).strip():
            raise ValueError(f"method {name}: the class {kind.__name__} needs {what}: {why}.")
