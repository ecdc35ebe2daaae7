"""What a function of the API is given: objects to the words of settings, or one clear sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pydantic import ValidationError

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import say_notes
from selfsight.data.reading import Asked, ReadOptions
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.array_pixels import channels_last
from selfsight.settings import Settings, described, sentence

IMAGES = ("data", "images")
"""Settings that name images; a function takes images themselves in their place."""
QUERIES = "queries"
"""What `search` looks for: words, or images and representations themselves."""
_TAKES = {
    "data": "a path, an array (N, H, W) or (N, H, W, C), a list of arrays, an image set or a torch "
    "dataset",
    "queries": "row ids, paths, an array of images, a tensor of representations or an image set",
    "labels": "the path of a table, or with an array of images as many labels",
    "method": "a name in METHODS, or the path of a file",
    "run": "a run or its folder",
    "runs": "runs or their folders",
    "model": "a model or its folder",
    "index": "an index or its folder",
    "weights": "a run or its folder, a file of weights, or the name of published ones",
    "out": "a path",
}
_TAKES["images"] = _TAKES["data"]


def is_text(value: Any) -> bool:
    """A name or a path, or nothing."""
    return value is None or isinstance(value, str | Path)


def are_words(value: Any) -> bool:
    """Names or paths, one or several."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return is_text(value) or (several and all(isinstance(one, str | Path) for one in value))


def with_labels(images: Any, labels: Any, axes: str | None = None) -> list[tuple[Any, Any]]:
    """``(image, label)`` of images in memory and the labels that ``labels=`` gives of them.

    Args:
        images: an array, a tensor or a sequence.
        labels: an array, a list, a pandas series.
        axes: of an array, as in NCHW; None: guessed, as for every array.

    Raises:
        TypeError: the images are a path or an image set, or the labels are no sequence.
        ValueError: they are not as many.
    """
    labels = labels.to_numpy() if hasattr(labels, "to_numpy") else labels
    if isinstance(labels, dict) or not hasattr(labels, "__len__"):
        raise TypeError(f"labels takes {_TAKES['labels']}, not {described(labels)}.")
    if images is None or isinstance(images, ImageSet):
        of = "images of a path" if images is None else "an image set"
        raise TypeError(
            f"labels takes {_TAKES['labels']}, not {described(labels)} for {of}: put them into a "
            "CSV or Parquet file with their row ids, and give its path."
        )
    if isinstance(images, np.ndarray) and images.ndim == 4:
        asked = Asked(options=ReadOptions(axes=axes))
        pixels, notes = as_pixels({"images": images}, "images", asked)
        say_notes(notes)
        images = channels_last(images, pixels.axes)
    if len(images) != len(labels):
        raise ValueError(
            f"labels: there must be one for each image (got {counted(len(labels), 'label')} and "
            f"{counted(len(images), 'image')})."
        )
    return list(zip(images, labels, strict=True))


def check_no_pair(name: str, images: Any) -> None:
    """Raises ``TypeError`` for ``(images, labels)`` in the place of images."""
    if isinstance(images, tuple) and len(images) == 2 and len(getattr(images[0], "shape", ())) > 2:
        raise TypeError(f"{name} takes images alone: give the labels as labels=.")


def named(name: str, value: Any) -> Any:
    """The word of a setting for an object that has one: a method, the network of a run."""
    if name == "method" and isinstance(value, type) and hasattr(value, "Settings"):
        from selfsight.methods import name_of

        return name_of(value.Settings)
    if name == "weights" and isinstance(folder := getattr(value, "trained_in", None), str):
        return folder
    return value


def refuse(function: str, error: ValidationError) -> NoReturn:
    """Raises the sentence of an error: what an argument takes, where its type is wrong.

    Raises:
        TypeError: an object where there is no place for one.
        ValueError: any other value that is not allowed.
    """
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name in _TAKES and problem["type"].endswith("_type"):
            raise TypeError(
                f"{function}(): {name} takes {_TAKES[name]}, not {described(problem['input'])}."
            ) from None
    raise ValueError(sentence(error)) from None


def folder_of(what: str, value: Any, kind: str = "run") -> str | Path:
    """The folder of a run or a model, or of the object itself.

    Raises:
        TypeError: it is neither.
    """
    folder = getattr(value, "folder", None)
    folder = value if folder is None else getattr(folder, "path", folder)
    if not isinstance(folder, str | Path):
        raise TypeError(f"{what} {_TAKES[kind]}, not {described(value)}.")
    return folder


def updated(function: str, settings: Settings, changes: dict[str, Any]) -> Settings:
    """Settings with changes; see `refuse`."""
    try:
        return settings.updated(changes)
    except ValidationError as error:
        refuse(function, error)
