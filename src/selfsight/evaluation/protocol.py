"""The verb `evaluate`: probes on frozen representations, few labels, controls, intervals.

The rules it keeps:

* Probes are fitted on a labelled subset of the train rows; whatever they choose is chosen inside
  that subset. ``num_labels`` of a subject counts each label once that its probe, its training, its
  ancestors or the choice between trainings has read (`selfsight.runs.labels_read`).
* Test is read once for each fitted probe, after all of its choices, and each reading is noted.
* Every probe is fitted to the trained backbone and to each control on the same label draws, and
  scored on the same images: differences are paired (see `selfsight.evaluation.intervals`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from torch import nn

from selfsight.console import progress, say
from selfsight.data import request
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.request import Images
from selfsight.data.splits import LabelFraction
from selfsight.data.statistics import channel_statistics
from selfsight.evaluation.controls import (
    Material,
    Representation,
    Subject,
    controls_of,
    subjects,
    with_seeds,
)
from selfsight.evaluation.corruptions import corrupted
from selfsight.evaluation.embedding_map import write_map
from selfsight.evaluation.features import feature_subjects, open_features
from selfsight.evaluation.intervals import Resampling
from selfsight.evaluation.measured import Measured, learnable, needed, scored_split, source_of
from selfsight.evaluation.modules import module_subjects
from selfsight.evaluation.pooling import Pooling, by_image
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
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
from selfsight.reporting.report import write_report
from selfsight.runs.folder import RunFolder
from selfsight.runs.labels_read import LabelsRead, label_draw
from selfsight.runs.lineage import Lineage, lineage_of
from selfsight.runs.lineage import start_of as start_of_training
from selfsight.runs.request import RunData, images_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device
from selfsight.training.trackers import publish


class Evaluate(RunData):
    """Measure what representations are worth, beside controls: a run's, or --features."""

    run: tyro.conf.Positional[str] = ""
    """The folder of a finished run, or of a model."""
    features: str | None = None
    """Representations made elsewhere, instead of a run: a table or .npz with row ids, a target, a
    split and a group, and a column of lists or numbered columns."""
    control: tuple[str, ...] = ()
    """Other representations of the same rows, matched by row id, that --features stand beside."""

    fractions: tuple[LabelFraction, ...] = (0.01, 0.1, 1.0)
    """Shares of the labels of the train split."""
    draws: Annotated[int, Field(ge=1)] | None = None
    """Draws of labels at each share below 1; None: 5, or, where the run was trained on a part of
    the labels, that part alone."""
    probes: tuple[str, ...] = ("knn", "linear")
    """Among knn, linear and mlp; each is used for the targets it can predict."""
    balanced: bool = False
    """Rare classes and labels count more in the linear and MLP probes, by inverse frequency."""
    controls: tuple[str, ...] = ("start", "untrained", "pixels")
    """What results stand beside: start (the weights the training began with, where they were not
    random), untrained, pixels, and folders of other runs."""
    replicates: tuple[str, ...] = ()
    """Folders of runs that differ from RUN in the seed of the training alone: one row, and
    intervals that cover seeds, label draws and test images."""
    representation: Representation = "run"
    """Of every subject alike: the network's output, the same standardised (mean), or three stages;
    run: the run's; auto: mean or stages, as each probe chooses inside its labels."""
    clusters: bool = True
    """Also compare clusters, found without labels, with the classes."""
    corruptions: bool = False
    """Also score the linear probe on test images with blur, noise, JPEG and less light, each at
    three strengths."""
    finetune: bool = False
    """Also fine-tune the backbone and its start, and train the same network from scratch; this
    takes long."""
    finetuning: FineTuning = FineTuning()
    """How that training is done and what it tries."""
    split: Literal["auto", "test", "validation"] = "auto"
    """Where results are read; auto: test, or validation where there is no test split."""
    out: str | None = None
    """Folder of the results and caches, for a run that can only be read; by default the run's."""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Evaluate:
        if self.features is None and self.control:
            raise ValueError("control: it stands beside --features; other runs go to --controls")
        images = self.finetune or self.corruptions or self.data is not None
        if self.features is not None and images:
            raise ValueError(
                "features: they are only probed; leave out DATA, --finetune and --corruptions"
            )
        return self

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


def evaluate(
    settings: Evaluate, images: Images | None = None, network: nn.Module | None = None
) -> Results:
    """Fits the probes, compares them with the controls and writes the results into the run.

    Args:
        settings: see `Evaluate`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.
        network: instead of a run: any module ``(B, C, H, W)`` to ``(B, F)``; it gets pixels in unit
            scale, not normalised.

    Returns:
        The results; also in ``results.json`` and ``predictions.parquet`` of the run.

    Raises:
        ValueError: no such run, data, target or probe; the sentence says what to change.
    """
    if bool(settings.run) == (settings.features is not None):
        raise ValueError("run: name the folder of a run, or --features FILE; one of the two.")
    settings, drawn = _drawn_as_trained(settings, settings.run if network is None else "")
    if network is not None:
        measured = _of_network(settings, images, network)
    else:
        measured = _of_run(settings, images) if settings.run else _of_features(settings)
    targets = _targets(settings, measured)
    results = Results(measured.folder.results, measured.weights)
    found = measured.found
    results.subjects = {s.name: s.identity for s in found if s.identity is not None}
    results.notes += [*measured.notes, *drawn]
    results.allowed_leaks += measured.leaks
    results.cautions += measured.images.cautions
    targets = learnable(targets, measured, results.notes)
    of_targets = {target.name: target for target in targets}
    predictions = Predictions(by_image(measured.images.changed(targets=of_targets)))
    for target in targets:
        _evaluate_target(settings, results, measured, target, predictions)
    about = _place(settings, results, measured, None)
    without_labels(results, about, found, measured.train, seed=settings.seed)
    name = measured.images.name
    if not targets:
        results.notes.append(
            f"{name} has no labels to learn from: no probe was fitted, only measures "
            "without labels."
        )
    elif measured.split == "validation":
        results.notes.append("There is no test split: results are on the validation split.")
    results.notes.append(_of_seeds([settings.run, *settings.replicates]))
    first = targets[0] if targets else None
    measured.keep(results, predictions, partial(_write_map, measured, first))
    if measured.material is None:
        say(f"The report: {write_report([measured.folder.path])}")
    else:
        publish(measured.folder)
    return results


def _of_network(settings: Evaluate, images: Images | None, network: nn.Module) -> Measured:
    """A network from Python, beside itself with fresh weights and the pixels."""
    device = choose_device(settings.device)
    if images is None and settings.data is None:
        raise ValueError("data: name the images that the network is measured on.")
    if settings.finetune:
        raise ValueError("finetune: a network from Python is only probed; leave it out.")
    source = source_of(settings.data if images is None else images)
    images = request.open(settings, images)
    split = scored_split(images, settings.split)
    rows, train = needed(images, bool(_known(settings, images, None)), split)
    found, weights, notes = module_subjects(network, images, rows, train, settings.controls, device)
    out = settings.out or f"{type(network).__name__}-evaluation"
    leaks = tuple(f"{images.name}: {leak}" for leak in images.leaks)
    return Measured(
        RunFolder(out), images, source, split, train, found, weights,
        notes=tuple(notes), leaks=leaks,
    )  # fmt: skip


def _of_features(settings: Evaluate) -> Measured:
    """Representations from a file, beside others of the same rows."""
    assert settings.features is not None
    path, device = Path(settings.features), choose_device(settings.device)
    images = open_features(path, settings)
    out = path.with_name(f"{path.stem}-evaluation") if settings.out is None else settings.out
    split = scored_split(images, settings.split)
    rows, train = needed(images, bool(_known(settings, images, None)), split)
    found = feature_subjects(images, settings.control, rows, train, device)
    leaks = tuple(f"{images.name}: {leak}" for leak in images.leaks)
    weights = images.fingerprint()
    folder = RunFolder(out)
    return Measured(
        folder, images, source_of(path), split, train, found, weights, leaks=leaks
    )  # fmt: skip


def _of_seeds(runs: Sequence[str]) -> str:
    """What the intervals are about, by the trainings behind the weights.

    Args:
        runs: folders, one a training seed; a network or features from elsewhere have an empty one.
    """
    if len(runs) > 1:
        return (
            f"{len(runs)} pretraining seeds ({', '.join(runs)}): the intervals of probes cover "
            "seeds, label draws and test images; fine-tuning, clusters, corruptions and measures "
            "without labels are of the first seed."
        )
    if runs[0] and load_run(runs[0]).plain.get("epochs") == 0:
        return (
            "Nothing was trained: results called `trained` are of the weights as they were given. "
            "The intervals cover label draws and test images."
        )
    return (
        "One pretraining seed: the intervals say nothing of another seed, so they support no "
        "claim about methods, only about these weights."
    )


def _of_run(settings: Evaluate, images: Images | None) -> Measured:
    """A run, its images and the controls as representations."""
    device = choose_device(settings.device)
    run = load_run(settings.run)
    folder = run.folder if settings.out is None else RunFolder(settings.out)
    before = Results.read(folder.results) if folder.results.exists() else None
    controls = controls_of(settings.controls)
    others = [control for control in controls if isinstance(control, Run)]
    replicates = [load_run(name) for name in settings.replicates]
    given = run.settings.data if images is None and settings.data is None else settings.data
    source = source_of(given if images is None else images)
    images = images_of(run, settings, images, [*others, *replicates])
    if settings.replicates and settings.representation == "auto":
        raise ValueError("representation: name one where there are replicates (mean or stages).")
    split = scored_split(images, settings.split)
    rows, train = needed(images, bool(_known(settings, images, run)), split)
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
    found, weights, representation, said = subjects(
        material, controls, before.subjects if before else {}
    )
    found[0] = with_seeds(material, found[0], replicates, representation)
    notes = list(said)
    if run.labels_read is not None:
        notes.append(f"{run.labels_read} They count among the labels of `trained`, each once.")
    if images.tile_of is not None:
        notes.append(
            "Images were cut into tiles: each result is of whole images, the mean over their "
            "tiles of probabilities of a class, numbers and representations, the maximum of "
            "probabilities of several labels."
        )
    of_training = run.environment.get("allowed_leaks", []) if settings.data is None else []
    leaks = [f"{images.name}: {leak}" for leak in images.leaks if leak not in of_training]
    return Measured(
        folder,
        images,
        source,
        split,
        train,
        found,
        weights,
        "auto" if settings.representation == "auto" else representation,
        material,
        tuple(notes),
        tuple(leaks),
        _lineages(run, found),
    )


def _write_map(measured: Measured, target: Target | None) -> None:
    """The scored images on a map, coloured by the target; those of train where none is scored."""
    folder, shown = measured.folder.representations, measured.scored
    shown = shown if len(shown) else measured.train
    with progress("placing the images on a map"):
        write_map(folder, measured.images, target, measured.found[0].at(0), shown, measured.weights)


def _place(settings: Evaluate, results: Results, measured: Measured, target: Target | None) -> Row:
    key = measured.enter(
        results,
        target,
        balanced=settings.balanced,
        seed=settings.seed,
        finetuning=_own(settings.finetuning) if settings.finetune and target is not None else "",
    )
    return {"evaluation": key, "data": measured.images.name, "split": measured.split}


def _own(finetuning: FineTuning) -> str:
    """The settings that are not the defaults."""
    default = FineTuning().plain()
    own = {n: v for n, v in finetuning.plain().items() if v != default[n]}
    return ", ".join(f"{name}={value}" for name, value in sorted(own.items()))


def _targets(settings: Evaluate, measured: Measured) -> list[Target]:
    run = None if measured.material is None else measured.material.run
    return _known(settings, measured.images, run)


def _drawn_as_trained(settings: Evaluate, run: str) -> tuple[Evaluate, list[str]]:
    """The settings with their draws of labels, and a sentence where the training chose them."""
    if settings.draws is not None:
        return settings, []
    seed = label_draw(load_run(run)) if run else None
    if seed is None or settings.seed not in (0, seed):
        return settings.updated({"draws": 5}), []
    sentence = (
        f"The training read one draw of labels (seed {seed}), so the probes get this draw alone; "
        "--draws 5 reads further labels."
    )
    return settings.updated({"draws": 1, "seed": seed}), [sentence]


def _lineages(run: Run, found: Sequence[Subject]) -> dict[str, Lineage]:
    """Of the subjects that are runs or starts of one."""
    start = start_of_training(run)
    runs = {"trained": [run], "start": [start] if isinstance(start, Run) else []}
    for subject in found:
        if subject.identity is not None and subject.name != "trained":
            runs[subject.name] = [load_run(subject.identity["run"])]
    names = [subject.name for subject in found if runs.get(subject.name)]
    return {name: lineage_of(runs[name]) for name in names}


def _known(settings: Evaluate, images: ImageSet, run: Run | None) -> list[Target]:
    """The chosen target, the run's, or all, as far as a train row has a known value."""
    own = None if run is None or settings.data is not None else run.settings.target
    if settings.target is not None:
        if settings.target not in images.targets:
            raise unknown(f"target in {images.name} named", settings.target, images.targets)
        chosen = [images.targets[settings.target]]
    elif own is not None and own in images.targets:
        chosen = [images.targets[own]]
    else:
        chosen = list(images.targets.values())
    train = images.rows("train")
    return [target for target in chosen if target.known[train].any()]


def _evaluate_target(
    settings: Evaluate,
    results: Results,
    measured: Measured,
    target: Target,
    predictions: Predictions,
) -> None:
    images, found, split = measured.images, measured.found, measured.split
    rows = measured.scored
    tiles = rows[target.known[rows]]
    pooling = Pooling.of(images)
    rows = pooling.heads(tiles)
    if not len(rows) or split is None:
        results.notes.append(f"{target.name}: no test or validation image has a known value.")
        return
    groups = groups_of(images.groups, rows)
    place = _place(settings, results, measured, target)
    place |= {"task": target.kind, "target": target.name}
    train = images.rows("train")
    place["known_labels"] = int(target.known[pooling.heads(train)].sum())
    whole = [Subject(s.name, tuple(map(pooling.represented, s.of_draw))) for s in found]
    if target.kind == "identity":
        retrieved(results, place, target, whole, rows, seed=settings.seed)
        return
    resampling = Resampling.of(groups, seed=settings.seed)
    scores: list[Scores] = []
    probes = [name for name in settings.probes if name in probes_of(target.kind)]
    subjects = {subject.name: subject for subject in found}
    material = measured.material
    labels_before = {
        name: LabelsRead.by(lineage, images, target.name)
        for name, lineage in measured.lineages.items()
    }
    assert settings.draws is not None
    tuned = fine_tuned_subjects(subjects)
    beside = "1 control" if len(found) == 2 else f"{len(found) - 1} controls"
    say(f"{images.name}, {target.name}: {', '.join(probes)} beside {beside}")
    if settings.finetune and material is not None:
        probes.append("finetune")
        largest = Subset.drawn(images, target, train, max(settings.fractions), settings.seed)
        times = [1 if fraction == 1.0 else settings.draws for fraction in settings.fractions]
        known = int(target.known[train].sum())
        sizes = np.repeat([max(2, round(f * known)) for f in settings.fractions], times).tolist()
        start = start_of(material, "trained", settings.seed, "run")
        longest = estimate(start, largest, settings.finetuning, len(tuned) * sizes)
        say(f"fine-tuning and training from scratch: {longest}.")

    def predicted(
        probe: str, name: str, subset: Subset, draw: int, seed: int
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if name == "chance":
            constant = base_rates(subset)
            output = np.tile(constant, (len(rows), 1))
            return output, {"chosen": True, "constant": constant.tolist()}
        if probe == "finetune":
            assert material is not None
            kind, chosen = material.representation, {}
            if kind == "auto" and name in subjects:  # by the linear probe that the head starts from
                candidates = subjects[name].candidates(draw)
                kind, _ = best_representation(PROBES["linear"], subset, candidates)
                chosen = {"representation": kind} if len(candidates) > 1 else {}
            how = settings.finetuning
            output, choice = fine_tuned(material, name, subset, tiles, how, kind)
            return pooling.pooled(tiles, output, target.kind), {**choice, **chosen}
        candidates = subjects[name].candidates(draw, seed)
        kind, fitted = best_representation(PROBES[probe], subset, candidates)
        representations, choice = candidates[kind], dict(fitted.choice)
        if fitted.thresholds is not None:
            choice["thresholds"] = fitted.thresholds.tolist()
        output = fitted.predict(representations.at(tiles)).float().cpu().numpy()
        return pooling.pooled(tiles, output, target.kind), choice

    def measure(here: Scores, subset: Subset, draw: int) -> None:
        """One subject on one label draw; where all labels are used, each initialisation of it."""
        probe, name = here.probe, here.subject
        several = probe != "finetune" and name in subjects and here.label_fraction == 1.0
        count = len(subjects[name].of_draw) if several else 1
        seeds = 1 + len(subjects[name].seeds) if probe != "finetune" and name in subjects else 1
        read = labels_before.get(name, LabelsRead(np.zeros(len(images), bool)))
        num_labels = read.with_rows(subset.rows, images.tile_of)
        here.num_labels = max(here.num_labels, num_labels)
        here.of_seeds, here.seeds = count > 1, seeds
        about = {
            **place,
            "probe": probe,
            "subject": name,
            "label_fraction": here.label_fraction,
            "num_labels": num_labels,
            "label_seed": settings.seed + draw,
        }
        for number, seed in itertools.product(range(draw, draw + count), range(seeds)):
            output, choice = predicted(probe, name, subset, number, seed)
            thresholds = np.array(choice["thresholds"]) if "thresholds" in choice else None
            values = score(target, output, rows, resampling.weights, thresholds)
            which = {"initialisation": number - draw} if count > 1 else {}
            which |= {"initialisation": seed} if seed else {}
            if "representation" in choice:
                which["representation"] = choice["representation"]
            record(results, {**about, **which}, values)
            here.of_draw.append(values)
            if number == draw and seed == 0:
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
                    measure(each, subset, draw)
                    step.update()
            scores += here
    summarise(results, place, scores, resampling)
    if settings.corruptions and images.tile_of is None:
        subset = Subset.drawn(images, target, train, max(settings.fractions), settings.seed)
        subset = replace(subset, balanced=settings.balanced)
        statistics = channel_statistics(images, train)
        corrupted(
            results, place, target, found, images, subset, rows, statistics, resampling
        )  # fmt: skip
    _say_defaults(results, place)
    _say_representations(results, place)
    if target.kind == "class" and settings.clusters:
        with progress("clusters"):
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
            if row["evaluation"] == place["evaluation"] and not row["choice"]["chosen"]
        }
    )
    for probe, fraction in fixed:
        results.notes.append(
            f"{place['target']}, {probe} at {100 * fraction:g} %: too few labels to choose by "
            "(fewer than two a class, or than ten, or one group); fixed defaults were used."
        )
