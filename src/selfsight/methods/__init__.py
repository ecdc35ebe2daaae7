"""The folder is the registry: one file a method; a path to a file works as a method too."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from selfsight.settings import sentence, unknown

if TYPE_CHECKING:
    from selfsight.method import Method


def method_names() -> list[str]:
    """Names of the methods that come with selfsight, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def is_file(name: str) -> bool:
    """Whether a method's name is a path to a file of the user's."""
    return name.endswith(".py")


class _Methods(Mapping[str, "type[Method]"]):
    """Name -> class; each is imported when it is asked for. A key may be a path (``./mine.py``)."""

    def __getitem__(self, name: str) -> type[Method]:
        if is_file(name):
            return _only_method(_module_of(Path(name)), name)
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


def _module_of(path: Path) -> object:
    path = path.resolve()
    if not path.is_file():
        raise ValueError(f"method {path}: there is no such file.")
    name = f"selfsight_method_{path.stem}_{hashlib.blake2b(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ValidationError as error:
        del sys.modules[name]
        raise ValueError(f"method {path}: {sentence(error)}") from error
    except ValueError as error:
        del sys.modules[name]
        raise ValueError(f"method {path}: {error}") from error
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"method {path}: it cannot be imported: {error!r}.") from error
    return module


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
    return found[0]
