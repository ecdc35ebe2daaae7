"""The folder is the registry: a source is one file with ``opens(path)`` and ``list(path, asked)``.

``opens`` says whether the source takes a path (or a name, or an object in memory); ``list`` says
what is there before a pixel is decoded. A module may set ``ORDER``: smaller ones are asked first.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from selfsight.data.pixels.formats import SUFFIXES
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.listing import Listing
from selfsight.plugins import names_in

ORDER = 50
"""Place of a source that says none."""
STEPS = "steps"
"""The folder of what sources share, which is no source."""


@cache
def _sources() -> tuple[ModuleType, ...]:
    names = [name for name in names_in(*__path__) if name != STEPS]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(sorted(modules, key=lambda module: getattr(module, "ORDER", ORDER)))


def is_there(source: str | Path) -> bool:
    """Whether `list_source` has something to open under this name; it may be damaged."""
    path = Path(source).expanduser()
    return path.exists() or any(each.opens(source) for each in _sources())


def list_source(source: Any, asked: Asked | None = None) -> Listing:
    """What a source holds: the first module of this folder that opens it is asked.

    Args:
        source: a path, a name such as ``digits`` or ``hf:owner/name``, or images in memory.
        asked: columns that the user named, and how files are read.

    Raises:
        ValueError: there is no such source, or it is damaged; the sentence names it.
    """
    if isinstance(source, str | Path):
        expanded = Path(source).expanduser()
        source = expanded if expanded.exists() else source
    if isinstance(source, Path) and source.exists() and not (source.is_file() or source.is_dir()):
        raise ValueError(f"{source}: it is no plain file; give a file or a folder of images.")
    module = next((each for each in _sources() if each.opens(source)), None)
    if module is not None:
        listing: Listing = module.list(source, asked or Asked())
        return listing
    path = Path(source)
    if not path.exists():
        raise ValueError(f"{source}: there is no such file or folder.")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        raise ValueError(f"{path} is one image; give the folder that it lies in.")
    hint = {
        ".zip": "; unpack it and give the folder",
        ".gz": "; unpack it and give what is in it",
        ".tgz": "; unpack it and give the folder",
        ".mat": "; save its arrays as .npz",
        ".xlsx": "; save the sheet as CSV",
        ".xls": "; save the sheet as CSV",
        ".pkl": "; pickles are never loaded since they can run code: save np.savez('images.npz', "
        "images=..., labels=...)",
        ".pickle": "; pickles are never loaded since they can run code: save "
        "np.savez('images.npz', images=..., labels=...)",
    }.get(suffix, "")
    known = ", ".join(word for each in _sources() for word in getattr(each, "SUFFIXES", ()))
    raise ValueError(
        f"{path}: its format is not known{hint}; give a folder of images or one of {known}."
    )
