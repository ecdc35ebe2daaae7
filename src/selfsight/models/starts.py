"""The verb `compare-starts`: which weights to start from, ranked on one's own images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from pydantic import Field

from selfsight.console import counted, progress, say
from selfsight.data import request
from selfsight.data.imageset import ImageSet, choose_target
from selfsight.data.options import Data, Images
from selfsight.data.statistics import channel_statistics
from selfsight.evaluation.pooling import Pooling
from selfsight.evaluation.start_ranking import (
    HeldOut,
    Represented,
    brought_to,
    comparable,
    megabytes,
    predict_held_out,
    ranked,
    represent_start,
    resampling_of,
    rows_to_compare,
)
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.representations import calibrate
from selfsight.models.start_table import SUFFIXES, StartLine, StartTable, write_table
from selfsight.models.tables import check_suffix
from selfsight.networks.backbones import Backbone
from selfsight.networks.published.caches import cached_weights
from selfsight.networks.published.find import FILE_SIZE, natural_size
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import NAMES, BackboneSpec, library_of
from selfsight.runs.checkpoint import in_run
from selfsight.runs.folder import is_run
from selfsight.runs.frame import Frame
from selfsight.runs.lineage import lineage_of, source_of
from selfsight.runs.request import reading_of
from selfsight.runs.run import Run, load_run
from selfsight.training.device import choose_device
from selfsight.training.settings import Pretrain
from selfsight.training.start import Beginning, begin
from selfsight.vocabulary import headline


class CompareStarts(Data):
    """Rank the weights that a training could start from, on the labels of the train split.

    Compared are the installed packages of weights, what timm, torchvision and transformers have
    downloaded, the starts that are named, and random weights. Each train label is predicted by a
    linear probe that was fitted without it; test is never read. Without labels the effective rank
    (RankMe) is shown alone.
    """

    starts: tyro.conf.Positional[tuple[str, ...]] = ()
    """More starts: a file of weights, the folder of a run, timm:NAME, torchvision:NAME,
    transformers:OWNER/NAME, or the name of a backbone with a package of weights."""
    cached: bool = True
    """Also compare weights that other libraries have downloaded to this machine."""
    normalise: tuple[Literal["weights", "data"], ...] = ("weights",)
    """Normalisation of published weights: their own, that of the images, or both side by side."""
    max_images: Annotated[int, Field(ge=20)] = 2000
    """Labelled train images that are compared on at most, drawn as `evaluate` draws labels."""
    out: str | None = None
    """Also write the table to this file: .csv, .parquet or .json."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that a run's backbone may name."""


def compare_starts(settings: CompareStarts, images: Images | None = None) -> StartTable:
    """Represents the train images by each start and ranks them.

    Args:
        settings: see `CompareStarts`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        The table; its text is what the command prints.

    Raises:
        ValueError: data or target cannot be used, or a start that was named cannot be loaded.
    """
    if settings.out is not None:
        check_suffix(settings.out, SUFFIXES, settings)
    device = choose_device(settings.device)
    opened, notes = _opened(settings, images)
    subset = _labels(settings, opened)
    rows = rows_to_compare(opened, subset, settings.max_images)
    if len(rows) < 2:
        raise ValueError(f"{opened.name}: a comparison needs two train images at least.")
    wishes = _wishes(settings)
    say(f"{opened.name}: {counted(len(wishes), 'start')} on {counted(len(rows), 'train image')}")
    found: list[tuple[StartLine, Represented]] = []
    for name, named in wishes.items():
        try:
            made = _started(name, settings, opened, images, rows, device)
        except ValueError as error:
            if named:
                raise
            notes.append(f"{name} is left out: {error}")
            continue
        found += made
        if read := made[0][0].labels_read:
            notes.append(f"{name}: {read} Its score is no comparison on them.")
    lines = _lines(found, subset, notes)
    if subset is not None:
        notes.append(
            "Each label was predicted by a probe fitted without it, inside the train split; test "
            "was not read. The best of several looks a little better than it is."
        )
    else:
        notes.append(
            "No labels to compare on: a higher effective rank (RankMe) promises a better probe, "
            "and proves nothing."
        )
    table = StartTable(
        opened.name,
        None if subset is None else subset.target.name,
        None if subset is None else headline(subset.kind),
        len(rows if subset is None else subset),
        str(device),
        lines,
        tuple(notes),
        settings.out,
    )
    if settings.out is not None:
        write_table(settings.out, table)
    return table


def _opened(settings: CompareStarts, images: Images | None) -> tuple[ImageSet, list[str]]:
    """The images, no larger than any start is made for where that was left open."""
    opened = request.open(settings, images)
    if images is None and settings.image_size is None:
        largest = max(FILE_SIZE, *map(_side, _wishes(settings)))
        if max(opened.height, opened.width) > largest:
            opened = request.open(settings.updated({"image_size": largest}))
    return opened, list(opened.cautions)


def _side(name: str) -> int:
    """Side of the images that a start was made for, pixels; that of files where it is unknown."""
    with suppress(ValueError):
        if library_of(name) is not None or name in PACKAGES:
            return natural_size("published", name)
    return FILE_SIZE


def _labels(settings: CompareStarts, images: ImageSet) -> Subset | None:
    """The labelled train images to compare on; None where there are too few."""
    if settings.target is None and len(images.targets) > 1:
        names = ", ".join(images.targets)
        raise ValueError(f"target: {images.name} has several ({names}); name one with --target.")
    target = choose_target(images, settings.target)
    train = images.rows("train")
    known = 0 if target is None else int(target.known[train].sum())
    if target is None or known < 2:
        return None
    heads = Pooling.of(images).heads(train)
    known = int(target.known[heads].sum())
    share = min(1.0, settings.max_images / max(known, 1))
    subset = Subset.drawn(images, target, heads, share, settings.seed)
    return subset if comparable(subset) else None


def _wishes(settings: CompareStarts) -> dict[str, bool]:
    """What is compared, and whether it was named: named ones must load."""
    installed = [name for name, package in PACKAGES.items() if package.path() is not None]
    cached = cached_weights() if settings.cached else []
    wishes = dict.fromkeys((*settings.starts, *installed, *cached, "none"), False)
    return wishes | dict.fromkeys(settings.starts, True)


def _started(
    name: str,
    settings: CompareStarts,
    images: ImageSet,
    source: Images | None,
    rows: Rows,
    device: torch.device,
) -> list[tuple[StartLine, Represented]]:
    """A start's line without its score and its representations, for each normalisation."""
    published = name in NAMES or library_of(name) is not None
    wish = Pretrain.model_validate({
        "data": settings.data,
        "method": "simclr",
        "weights": "published" if published else name,
        "backbone": name if published else "auto",
        "seed": settings.seed,
    })  # fmt: skip
    images, rows = _in_its_form(name, settings, images, source, rows)
    size = None if is_run(name) else brought_to(images, _side(name))
    beginning = begin(wish, images)
    spec = beginning.spec(images, device.type, tokens=False)
    backbone = _backbone(beginning, spec, settings.allow_code)
    own = channel_statistics(images, rows)
    ways: tuple[str, ...] = ("auto",)
    if beginning.source == "published":
        ways = tuple("auto" if way == "weights" else way for way in settings.normalise)
    found = []
    for way in ways:
        asked = replace(beginning, settings=beginning.settings.updated({"normalise": way}))
        _, statistics, _ = asked.normalisation(own)
        if beginning.source == "none":
            calibrate(backbone, images, rows, statistics, device=device)
        with progress(f"start {name}"):
            start = represent_start(backbone, images, rows, statistics, size=size, device=device)
        height, width = size or (images.height, images.width)
        line = StartLine(
            start=name + ", normalised by the images" * (way == "data"),
            backbone=spec.name,
            rankme=start.rankme,
            features=backbone.outputs,
            height=height,
            width=width,
            images_per_second=start.images_per_second,
            megabytes=megabytes(backbone),
            licence=_licence(beginning),
            labels_read="" if beginning.source == "none" else _labels_read(wish.weights),
        )
        found.append((line, start))
    return found


def _backbone(beginning: Beginning, spec: BackboneSpec, allow_code: bool) -> Backbone:
    run = beginning.run
    if run is not None and not in_run(beginning.settings.weights):
        return run.backbone(allow_code=allow_code)
    return beginning.backbone(spec)


def _in_its_form(
    name: str, settings: CompareStarts, images: ImageSet, source: Images | None, rows: Rows
) -> tuple[ImageSet, Rows]:
    """The images as a run takes them, and the rows there; as they are for any other start."""
    if not is_run(name):
        return images, rows
    run = load_run(name)
    scale = Frame.of_run(run).scale(run.name)
    if scale.form == images.scale.form:
        return images, rows
    wanted = settings.updated({"image_size": None})
    own = request.open(wanted, source, scale=scale, reading=reading_of(run))
    place = {row_id: i for i, row_id in enumerate(own.row_ids.tolist())}
    return own, np.array([place[row_id] for row_id in images.row_ids[rows].tolist()], np.int64)


def _labels_read(weights: str) -> str:
    """What a start, its ancestors and its teachers read of labels; empty: nothing that is known."""
    source = source_of(weights)
    if isinstance(source, Run) and source.labels_read is not None:
        return source.labels_read
    seen = [] if source is None else lineage_of([source]).seen
    read = {
        (labels.target, i) for s in seen for labels in s.labels for i in labels.row_ids.tolist()
    }
    return f"Its weights were made with {counted(len(read), 'label')}." if read else ""


def _licence(beginning: Beginning) -> str:
    if beginning.origin is not None:
        return beginning.origin.licence
    if beginning.run is not None:
        return str((beginning.run.environment.get("start") or {}).get("licence", ""))
    return ""


def _lines(
    found: Sequence[tuple[StartLine, Represented]], subset: Subset | None, notes: list[str]
) -> tuple[StartLine, ...]:
    """The lines with their scores, the best first."""
    if subset is None:
        return tuple(sorted((line for line, _ in found), key=lambda line: -line.rankme))
    resampling = resampling_of(subset)
    results: list[HeldOut] = []
    with progress("probes on held-out labels", len(found)) as step:
        for _, start in found:
            results.append(predict_held_out(start, subset, resampling))
            step.update()
    lines = []
    for placed in ranked(results, resampling):
        line, score, behind = found[placed.index][0], placed.score, placed.behind
        representation = results[placed.index].representation
        line = replace(line, score=score.mean, low=score.low, high=score.high)
        line = replace(line, representation=representation)
        if behind is None:  # the best one
            notes += [score.reason] if score.reason else []
        else:
            line = replace(line, behind=behind.mean, behind_low=behind.low, behind_high=behind.high)
        lines.append(line)
    return tuple(lines)
