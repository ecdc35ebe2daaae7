"""The verb `evaluate`: probes on frozen representations, few labels, controls, intervals.

The rules it keeps:

* Probes are fitted on a labelled subset of the train rows; whatever they choose is chosen inside
  that subset. Validation labels are read by nothing here, so ``num_labels``, the size of the
  subset, counts every label that was read.
* Test is read once for each fitted probe, after all of its choices, and each reading is noted.
* Every probe is fitted to the trained backbone and to each control on the same label draws, and
  scored on the same images: differences are paired (see `selfsight.evaluation.intervals`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator

from selfsight.console import progress, say
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.request import Images
from selfsight.data.splits import LabelFraction
from selfsight.evaluation.controls import Material, Representation, Subject, controls_of, subjects
from selfsight.evaluation.embedding_map import write_map
from selfsight.evaluation.intervals import Resampling
from selfsight.evaluation.pooling import Pooling, by_image
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.results import Results, Row
from selfsight.evaluation.scratch_comparison import fine_tuned, fine_tuned_subjects, start_of
from selfsight.evaluation.summary import Scores, record, summarise
from selfsight.evaluation.without_labels import clustered, retrieved, without_labels
from selfsight.fitting.chance import base_rates
from selfsight.fitting.finetune import FineTuning, estimate
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.metrics import score
from selfsight.fitting.probes import PROBES, probes_of
from selfsight.fitting.representation_choice import best_representation
from selfsight.runs.folder import RunFolder
from selfsight.runs.lock import locked
from selfsight.runs.request import RunData, images_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device
from selfsight.training.trackers import publish


class Evaluate(RunData):
    """Measure what a run's representations are worth, beside controls."""

    fractions: tuple[LabelFraction, ...] = (0.01, 0.1, 1.0)
    """Shares of the labels of the train split."""
    draws: Annotated[int, Field(ge=1)] = 5
    """Draws of labels at each share below 1."""
    probes: tuple[str, ...] = ("knn", "linear")
    """Among knn, linear and mlp; each is used for the targets it can predict."""
    balanced: bool = False
    """Rare classes and labels count more in the linear and MLP probes, by inverse frequency."""
    controls: tuple[str, ...] = ("start", "untrained", "pixels")
    """What results stand beside: start (the weights the training began with, where they were not
    random), untrained, pixels, and folders of other runs."""
    representation: Representation = "run"
    """Of every subject alike: the network's output, the same standardised (mean), or three stages;
    run: the run's; auto: mean or stages, as each probe chooses inside its labels."""
    clusters: bool = True
    """Also compare clusters, found without labels, with the classes."""
    finetune: bool = False
    """Also fine-tune the backbone and its start, and train the same network from scratch; this
    takes long."""
    finetuning: FineTuning = FineTuning()
    """How that training is done and what it tries."""
    split: Literal["auto", "test", "validation"] = "auto"
    """Where results are read; auto: test, or validation where there is no test split."""
    out: str | None = None
    """Folder of the results and caches, for a run that can only be read; by default the run's."""

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if not fractions:
            raise ValueError("name at least one share, above 0 and at most 1")
        return tuple(sorted(set(fractions)))

    @field_validator("probes")
    @classmethod
    def _known_probes(cls, probes: tuple[str, ...]) -> tuple[str, ...]:
        for name in probes:
            if name not in PROBES:
                raise unknown("probe", name, PROBES)
        return tuple(dict.fromkeys(probes))


def evaluate(settings: Evaluate, images: Images | None = None) -> Results:
    """Fits the probes, compares them with the controls and writes the results into the run.

    Args:
        settings: see `Evaluate`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        The results; also in ``results.json`` and ``predictions.parquet`` of the run.

    Raises:
        ValueError: no such run, data, target or probe; the sentence says what to change.
    """
    device = choose_device(settings.device)
    run = load_run(settings.run)
    folder = run.folder if settings.out is None else RunFolder(settings.out)
    with locked(folder.path):
        return _evaluated(settings, run, folder, images, device)


def _evaluated(
    settings: Evaluate, run: Run, folder: RunFolder, images: Images | None, device: torch.device
) -> Results:
    before = Results.read(folder.results) if folder.results.exists() else None
    controls = controls_of(settings.controls)
    others = [control for control in controls if isinstance(control, Run)]
    images = images_of(run, settings, images, others)
    targets = _targets(run, settings, images)
    split = _scored_split(images, settings.split)
    results = Results(folder.results)
    rows, train = _needed(images, bool(targets), split)
    material = Material(
        run,
        images,
        rows,
        train,
        device,
        settings.allow_code,
        representation=settings.representation,
        folder=folder.representations,
    )
    earlier = before.subjects if before else {}
    found, results.backbone, notes = subjects(material, controls, earlier)
    results.subjects = {s.name: s.identity for s in found if s.identity is not None}
    results.notes += [*images.cautions, *notes]
    results.allowed_leaks = [
        f"{images.name}: {leak}"
        for leak in images.leaks
        if settings.data is not None or leak not in run.environment.get("allowed_leaks", [])
    ]
    if run.labels_read is not None:
        results.notes.append(
            f"{run.labels_read} The probes' num_labels counts only those that they read themselves."
        )
    predictions = Predictions(by_image(images))
    if images.tile_of is not None:
        results.notes.append(
            "Images were cut into tiles: each result is of whole images, the mean over their "
            "tiles of probabilities of a class, numbers and representations, the maximum of "
            "probabilities of several labels."
        )
    scored = images.rows(split) if split else rows[:0]
    for target in targets:
        _evaluate_target(settings, results, material, target, found, split, predictions)
    without_labels(results, images.name, found, train, seed=settings.seed)
    if not targets:
        results.notes.append(
            f"{images.name} has no labels to learn from: no probe was fitted, only measures "
            "without labels."
        )
    elif split == "validation":
        results.notes.append("There is no test split: results are on the validation split.")
    results.notes.append(
        "One pretraining seed: the intervals say nothing of another seed, so they support no "
        "claim about methods, only about these weights."
    )
    results.notes += predictions.write(folder.predictions, before.files if before else {})
    shown = scored if len(scored) else train
    first = targets[0] if targets else None
    write_map(folder.representations, images, first, found[0].at(0), shown, results.backbone)
    results.write()  # last: it holds the checksums of the files above
    publish(folder)
    return results


def _targets(run: Run, settings: Evaluate, images: ImageSet) -> list[Target]:
    """The chosen target, the run's, or all, as far as a train row has a known value."""
    if settings.target is not None:
        if settings.target not in images.targets:
            raise unknown(f"target in {images.name} named", settings.target, images.targets)
        chosen = [images.targets[settings.target]]
    elif settings.data is None and (own := run.settings.target) and own in images.targets:
        chosen = [images.targets[own]]
    else:
        chosen = list(images.targets.values())
    train = images.rows("train")
    return [target for target in chosen if target.known[train].any()]


def _scored_split(images: ImageSet, wanted: str) -> str | None:
    """Test where there is one, else validation, else None."""
    for split in ("test", "validation") if wanted == "auto" else (wanted,):
        if len(images.rows(split)):
            return split
    if wanted != "auto":
        raise ValueError(f"split: {images.name} has no {wanted} images.")
    return None


def _needed(
    images: ImageSet, labelled: bool, split: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All rows that are needed, ascending, and those that statistics are fitted on."""
    if labelled:
        return images.rows("train", "validation", "test"), images.rows("train")
    pool = images.pool
    if len(pool) > 20_000:
        pool = np.sort(np.random.default_rng(0).choice(pool, 20_000, replace=False))
    scored = images.rows(split) if split else pool[:0]
    return np.union1d(pool, scored), pool


def _evaluate_target(
    settings: Evaluate,
    results: Results,
    material: Material,
    target: Target,
    found: Sequence[Subject],
    split: str | None,
    predictions: Predictions,
) -> None:
    images = material.images
    results.shown.append((images.name, target.name))
    rows = images.rows(split) if split else np.zeros(0, np.int64)
    tiles = rows[target.known[rows]]
    pooling = Pooling.of(images)
    rows = pooling.heads(tiles)
    if not len(rows) or split is None:
        results.notes.append(f"{target.name}: no test or validation image has a known value.")
        return
    groups = groups_of(images.groups, rows)
    place = {"data": images.name, "task": target.kind, "target": target.name, "split": split}
    whole = [Subject(s.name, tuple(map(pooling.represented, s.of_draw))) for s in found]
    if target.kind == "identity":
        retrieved(results, place, target, whole, rows, seed=settings.seed)
        return
    resampling = Resampling.of(groups, seed=settings.seed)
    scores: list[Scores] = []
    probes = [name for name in settings.probes if name in probes_of(target.kind)]
    train = images.rows("train")
    subjects = {subject.name: subject for subject in found}
    tuned = fine_tuned_subjects(subjects)
    say(f"{images.name}, {target.name}: {', '.join(probes)} beside {len(found) - 1} controls")
    if settings.finetune:
        probes.append("finetune")
        largest = Subset.drawn(images, target, train, max(settings.fractions), settings.seed)
        times = [1 if fraction == 1.0 else settings.draws for fraction in settings.fractions]
        known = int(target.known[train].sum())
        sizes = np.repeat([max(2, round(f * known)) for f in settings.fractions], times).tolist()
        start = start_of(material, "trained", settings.seed, "run")
        longest = estimate(start, largest, settings.finetuning, len(tuned) * sizes)
        say(f"fine-tuning and training from scratch: {longest}.")

    def predicted(
        probe: str, name: str, subset: Subset, draw: int
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if name == "chance":
            constant = base_rates(subset)
            output = np.tile(constant, (len(rows), 1))
            return output, {"chosen": True, "constant": constant.tolist()}
        if probe == "finetune":
            kind, chosen = material.representation, {}
            if kind == "auto" and name in subjects:  # by the linear probe that the head starts from
                candidates = subjects[name].candidates(draw)
                kind, _ = best_representation(PROBES["linear"], subset, candidates)
                chosen = {"representation": kind} if len(candidates) > 1 else {}
            how = settings.finetuning
            output, choice = fine_tuned(material, name, subset, tiles, how, kind)
            return pooling.pooled(tiles, output, target.kind), {**choice, **chosen}
        candidates = subjects[name].candidates(draw)
        kind, fitted = best_representation(PROBES[probe], subset, candidates)
        representations, choice = candidates[kind], dict(fitted.choice)
        if fitted.thresholds is not None:
            choice["thresholds"] = fitted.thresholds.tolist()
        output = fitted.predict(representations.at(tiles)).float().cpu().numpy()
        return pooling.pooled(tiles, output, target.kind), choice

    def measure(here: Scores, subset: Subset, num_labels: int, draw: int) -> None:
        """One subject on one label draw; where all labels are used, each initialisation of it."""
        probe, name = here.probe, here.subject
        several = probe != "finetune" and name in subjects and here.label_fraction == 1.0
        count = len(subjects[name].of_draw) if several else 1
        here.num_labels, here.of_seeds = num_labels, count > 1
        about = {
            **place,
            "probe": probe,
            "subject": name,
            "label_fraction": here.label_fraction,
            "num_labels": num_labels,
            "label_seed": settings.seed + draw,
        }
        for number in range(draw, draw + count):
            output, choice = predicted(probe, name, subset, number)
            thresholds = np.array(choice["thresholds"]) if "thresholds" in choice else None
            values = score(target, output, rows, resampling.weights, thresholds)
            which = {"initialisation": number - draw} if count > 1 else {}
            if "representation" in choice:
                which["representation"] = choice["representation"]
            record(results, {**about, **which}, values)
            here.of_draw.append(values)
            if number == draw:
                results.choices.append({**about, "choice": choice})
                predictions.add(about, rows, output, keep=draw == 0)
                if target.kind == "class" and here.label_fraction == max(settings.fractions):
                    _confusion(results, about, target, output, rows, draw)

    draws = sum(1 if fraction == 1.0 else settings.draws for fraction in settings.fractions)
    fits = draws * sum(1 + len(tuned if p == "finetune" else subjects) for p in probes)
    with progress(f"fits for {target.name}", fits) as step:
        for fraction, probe in itertools.product(settings.fractions, probes):
            names = (*(tuned if probe == "finetune" else subjects), "chance")
            here = [Scores(probe, name, fraction) for name in names]
            for draw in range(1 if fraction == 1.0 else settings.draws):
                seed = settings.seed + draw
                drawn = Subset.drawn(images, target, pooling.heads(train), fraction, seed)
                balanced = settings.balanced and probe != "finetune"
                subset = replace(drawn, rows=pooling.all_of(drawn.rows, train), balanced=balanced)
                for each in here:
                    measure(each, subset, len(drawn), draw)
                    step.update()
            scores += here
    summarise(results, place, scores, resampling)
    _say_defaults(results, place)
    _say_representations(results, place)
    if target.kind == "class" and settings.clusters:
        clustered(
            results,
            place,
            target,
            whole,
            pooling.heads(train),
            rows,
            groups,
            draws=settings.draws,
            seed=settings.seed,
        )


def _confusion(
    results: Results,
    about: Row,
    target: Target,
    output: NDArray[np.float32],
    rows: NDArray[np.int64],
    draw: int,
) -> None:
    count = len(target.names)
    if about["subject"] != "trained" or draw or count > 100:
        return
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (target.values[rows], output.argmax(1)), 1)
    results.confusion.append({**about, "names": list(target.names), "matrix": matrix.tolist()})


def _say_representations(results: Results, place: Row) -> None:
    """A note on which representation each probe chose for each subject."""
    together: dict[tuple[str, str], Counter[str]] = {}
    for row in results.choices:
        if row["target"] == place["target"] and "representation" in row["choice"]:
            counts = together.setdefault((row["probe"], row["subject"]), Counter())
            counts[row["choice"]["representation"]] += 1
    for probe in dict.fromkeys(probe for probe, _ in together):
        of_subject = ", ".join(
            f"{subject} stages in {counts['stages']} of {counts.total()}"
            for (of, subject), counts in together.items()
            if of == probe
        )
        results.notes.append(
            f"{place['target']}, {probe}: stages or mean, chosen inside the labels of each fit: "
            f"{of_subject}. Measures without labels are of the mean."
        )


def _say_defaults(results: Results, place: Row) -> None:
    """A note where labels were too few to choose by."""
    fixed = sorted(
        {
            (row["probe"], row["label_fraction"])
            for row in results.choices
            if row["target"] == place["target"] and not row["choice"]["chosen"]
        }
    )
    for probe, fraction in fixed:
        results.notes.append(
            f"{place['target']}, {probe} at {100 * fraction:g} %: too few labels to choose by "
            "(fewer than two a class, or than ten, or one group); fixed defaults were used."
        )
