"""The images that a verb on a run takes: the run's own in its own splits, or others in its form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from selfsight.console import say, warn
from selfsight.data import request
from selfsight.data.describe import beyond
from selfsight.data.imageset import ImageSet
from selfsight.data.leaks import Seen
from selfsight.data.notes import say_notes
from selfsight.data.options import DataOptions, Images
from selfsight.data.parts import RowPart
from selfsight.data.reading import OF_TARGETS, Reading, recorded
from selfsight.data.sources import is_there
from selfsight.files import read_json
from selfsight.runs.fitted import FittedModel
from selfsight.runs.folder import MODEL_CARD, is_model, is_run
from selfsight.runs.frame import Frame
from selfsight.runs.lineage import lineage_of
from selfsight.runs.run import Run, load_run
from selfsight.runs.sides import sides_of

FIXED = ("group", "split_column", "tile", "image_size", "limit", "validation", "test", "splits",
         "root", "image_column", "axes", "masks", "bits", "value_range", "nodata")  # fmt: skip
"""Options that the training of a run has settled for its own images."""


class RunData(DataOptions):
    """A finished run, and the images that a verb takes beside it."""

    run: tyro.conf.Positional[str]
    """The folder of a finished run."""
    data: tyro.conf.Positional[str | None] = None
    """Images, as for `pretrain`; by default those of the run, with the run's splits."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that a run's backbone may name."""


def images_of(
    run: Run,
    settings: RunData,
    source: Images | None = None,
    controls: Sequence[Run] = (),
    model: FittedModel | None = None,
) -> ImageSet:
    """The images of a verb; test images that the weights were trained on are looked for.

    Args:
        run: whose form the images are brought to.
        settings: of the verb; without ``data`` the run's own images are opened. Images are cut into
            the tiles of the run, unless others are asked for.
        source: what to open instead of ``settings.data``.
        controls: runs that results stand beside, which must not know the test images either.
        model: that was fitted to the run, where it is the model that is scored.

    Raises:
        ValueError: see `selfsight.data.request.open`; or an option is given for the run's own
            images that their training has settled.
    """
    moved, caution = moved_images(run, settings) if source is None else (None, None)
    own = source is None and (moved is not None or settings.data is None)
    scored: list[Run | FittedModel] = [run] if model is None else [model, run]
    of_run = lineage_of(scored, settings.labels, without=[run] if own else [])
    lineage = lineage_of(controls, known=of_run)
    if own:
        images = own_images(moved or run, settings.updated({"data": None}), lineage.seen)
    else:
        if settings.tile is None:  # its representations are of tiles
            settings = settings.updated({"tile": run.settings.tile})
        images = request.open(
            settings,
            source,
            records=of_run.records,
            scale=Frame.of_run(run).scale(run.name),
            seen=lineage.seen,
            reading=reading_of(run),
        )
    cautions = (*images.cautions, *lineage.cautions, *([caution] if caution else []))
    return images.changed(cautions=tuple(dict.fromkeys(cautions)))


def moved_images(run: Run, settings: RunData) -> tuple[Run | None, str | None]:
    """The run with its own images at the place that ``data`` names, where they were moved there.

    They are the same where pixels and row ids are, and every one of them is there.

    Args:
        run: whose images are not where its training found them.
        settings: of the verb; an option of `FIXED` asks for other images.

    Returns:
        The run, or None where these are other images; and a sentence that says so.
    """
    if settings.data is None or is_there(run.settings.data) or not is_there(settings.data):
        return None, None
    if any(getattr(settings, n) != DataOptions.model_fields[n].default for n in FIXED):
        return None, None
    moved = replace(run, settings=run.settings.updated({"data": settings.data, "root": None}))
    sides = sides_of(run)
    try:
        request.open(
            moved.settings.updated({"allow_leaks": True, "drop_leaks": False}),
            sides=sides,
            scale=Frame.of_run(run).scale(run.name),
        )
    except ValueError:
        return None, (
            f"{settings.data} does not hold the images that {run.folder.path} was trained on "
            f"({run.settings.data}, which is not there any more): pixels or row ids differ. It "
            "is taken as other images, and its splits are not those of the training."
        )
    say(f"{settings.data} holds the images that {run.folder.path} was trained on: its splits hold.")
    return moved, None


def own_images(
    run: Run, settings: DataOptions | None = None, seen: Sequence[Seen] = ()
) -> ImageSet:
    """The images that a run was trained on, with the splits and groups that it recorded.

    Args:
        run: a finished run.
        settings: target, labels and flags may differ from those of the training.
        seen: see `selfsight.data.request.open`.

    Raises:
        ValueError: the images are gone, or are not those that the run was trained on.
    """
    settings = settings or DataOptions()
    for name in FIXED:
        value = getattr(settings, name)
        own = getattr(run.settings, name)
        if name in ("splits", "root") and _same_path(value, own):
            continue
        if value not in (DataOptions.model_fields[name].default, own):
            raise ValueError(
                f"{name}: the images of {run.folder.path} are opened as its training opened them; "
                f"name the data to choose another {name}."
            )
    if not is_there(run.settings.data):
        raise ValueError(
            f"{run.settings.data}: the images that {run.folder.path} was trained on are not there "
            "(they were moved, or given from Python); name them, or other images."
        )
    sides, scale = sides_of(run), Frame.of_run(run).scale(run.name)
    flags: dict[str, Any] = {
        "max_unreadable": max(settings.max_unreadable, run.settings.max_unreadable),
        "drop_leaks": settings.drop_leaks,
        "allow_leaks": settings.allow_leaks
        or (run.settings.allow_leaks and not settings.drop_leaks),
    }
    read = {name: getattr(settings, name) for name in ("kinds", *OF_TARGETS)}
    if settings.labels is None or _same_path(settings.labels, run.settings.labels):
        target = settings.target or run.settings.target
        defaults = DataOptions.model_fields
        read = {name: value for name, value in read.items() if value != defaults[name].default}
        changed = run.settings.updated({**flags, **read, "target": target})
        return request.open(changed, sides=sides, scale=scale, seen=seen)
    images = request.open(run.settings.updated(flags), sides=sides, scale=scale)
    wish = DataOptions(labels=settings.labels, target=settings.target, **read, **flags)
    reading = reading_of(run)
    return _labelled(request.open(wish, images, sides=sides, seen=seen, reading=reading))


def _same_path(one: str | None, other: str | None) -> bool:
    """Whether two names mean one place in this working directory."""
    if one is None or other is None or one == other:
        return one == other
    return os.path.abspath(Path(one).expanduser()) == os.path.abspath(Path(other).expanduser())


def _labelled(images: ImageSet) -> ImageSet:
    """The images, those that the training saw without a label in train where they have one now."""
    known = np.any([target.known for target in images.targets.values()], axis=0)
    now = (images.splits == "unlabelled") & known
    return images.changed(splits=np.where(now, "train", images.splits).astype("<U10"))


def reading_of(run: Run) -> dict[str, tuple[str, ...]]:
    """How a run read its images: what it guessed and what its user said."""
    return recorded(run.settings, run.environment["data"].get("guesses", {}))


def images_in(
    frame: Frame,
    owner: str,
    settings: DataOptions,
    source: Images,
    reading: Reading | None = None,
    part: RowPart | None = None,
) -> ImageSet:
    """Images in the form of a network that only looks at them; says what was done to them.

    Their splits are not cut, and nothing is learned or scored: there is nothing to leak.

    Args:
        frame: the form.
        owner: how sentences call the network.
        settings: of the verb.
        source: what to open.
        reading: how the network's own images were read, which these are held to.
        part: of the source; None: all of it.

    Raises:
        ValueError: see `selfsight.data.request.open`.
    """
    wish = settings.updated({"validation": 0.0, "test": 0.0, "allow_leaks": True})
    scale = frame.scale(owner)
    images = request.open(
        wish, source, scale=scale, whole=True, near=False, reading=reading, part=part
    )
    say_notes([*images.notes, *beyond(images, settings)])
    tile = _tile_of(owner)
    if tile is not None and images.tile_of is None:
        warn(
            f"{owner} was trained on tiles of {tile} pixels, and each image is brought to its size "
            f"as a whole: --tile {tile} cuts them in the same way."
        )
    return images


def _tile_of(owner: str) -> int | None:
    """The side of the tiles that a run or a model was trained on; None: of none."""
    if is_model(owner):
        tile = read_json(Path(owner) / MODEL_CARD).get("tile")
        return None if tile is None else int(tile)
    return load_run(owner).settings.tile if is_run(owner) else None
