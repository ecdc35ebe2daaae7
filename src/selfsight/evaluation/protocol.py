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

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

from selfsight.console import progress, say
from selfsight.data import request
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.options import Images
from selfsight.evaluation.controls import controls_of, subjects, with_seeds
from selfsight.evaluation.embedding_map import write_map
from selfsight.evaluation.features import feature_subjects, open_features
from selfsight.evaluation.material import Material
from selfsight.evaluation.measured import Measured, learnable, needed, scored_split, source_of
from selfsight.evaluation.modules import module_subjects
from selfsight.evaluation.pooling import by_image
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.evaluation.subject import Subject
from selfsight.evaluation.target_evaluation import evaluate_target
from selfsight.evaluation.without_labels import without_labels
from selfsight.fitting.labelled import Rows
from selfsight.reporting.report import write_report
from selfsight.runs.folder import RunFolder
from selfsight.runs.labels_read import label_draw
from selfsight.runs.lineage import Lineage, lineage_of
from selfsight.runs.lineage import start_of as start_of_training
from selfsight.runs.request import images_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device
from selfsight.training.trackers import publish

UNKNOWN_TRAINING = (
    "What {} trained on is not known here: it may have seen images of test, and their labels. "
    "`selfsight evaluate RUN` checks that for a run."
)


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
    material = measured.material
    targets = _known(settings, measured.images, None if material is None else material.run)
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
        evaluate_target(settings, results, measured, target, predictions)
    about = measured.enter(results, None, balanced=settings.balanced, seed=settings.seed)
    without_labels(results, about, found, measured.train, seed=settings.seed)
    name = measured.images.name
    if not targets:
        results.notes.append(
            f"{name} has no labels to learn from: no probe was fitted, only measures "
            "without labels."
        )
    elif measured.split == "validation":
        results.notes.append("There is no test split: results are on the validation split.")
    own = settings.run if material is not None else ""
    results.notes.append(_of_seeds([own, *settings.replicates]))
    first = targets[0] if targets else None
    measured.keep(results, predictions, partial(_write_map, measured, first))
    if material is None:
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
    folder = getattr(network, "trained_in", None)
    lineage = lineage_of([] if folder is None else [load_run(folder)], settings.labels)
    images = request.open(settings, images, records=lineage.records, seen=lineage.seen)
    images = images.changed(cautions=(*images.cautions, *lineage.cautions))
    split, rows, train = _rows(settings, images)
    found, weights, notes = module_subjects(network, images, rows, train, settings.controls, device)
    if folder is None:
        notes.append(UNKNOWN_TRAINING.format("this network was"))
    out = settings.out or f"{type(network).__name__}-evaluation"
    return Measured(
        RunFolder(out), images, source, split, train, found, weights,
        notes=tuple(notes), lineages={"trained": lineage} if folder else {},
    )  # fmt: skip


def _of_features(settings: Evaluate) -> Measured:
    """Representations from a file, beside others of the same rows."""
    assert settings.features is not None
    path, device = Path(settings.features), choose_device(settings.device)
    images = open_features(path, settings)
    out = path.with_name(f"{path.stem}-evaluation") if settings.out is None else settings.out
    split, rows, train = _rows(settings, images)
    found = feature_subjects(images, settings.control, rows, train, device)
    weights = images.fingerprint()
    folder = RunFolder(out)
    notes = (UNKNOWN_TRAINING.format("the network of these representations was"),)
    return Measured(
        folder, images, source_of(path), split, train, found, weights, notes=notes
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
    if not runs[0]:
        return (
            "The intervals cover label draws and test images. How the results vary with another "
            "training of the network they do not say."
        )
    if load_run(runs[0]).plain.get("epochs") == 0:
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
    split, rows, train = _rows(settings, images, run)
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
    told = run.environment.get("allowed_leaks", []) if settings.data is None else []
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
        told,
        _lineages(run, found),
    )


def _rows(
    settings: Evaluate, images: ImageSet, run: Run | None = None
) -> tuple[str | None, Rows, Rows]:
    """The split that is scored, all rows that are needed, and those that statistics are of."""
    split = scored_split(images, settings.split)
    return split, *needed(images, bool(_known(settings, images, run)), split)


def _write_map(measured: Measured, target: Target | None) -> None:
    """The scored images on a map, coloured by the target; those of train where none is scored."""
    folder, shown = measured.folder.representations, measured.scored
    shown = shown if len(shown) else measured.train
    with progress("placing the images on a map"):
        write_map(folder, measured.images, target, measured.found[0].at(0), shown, measured.weights)


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
    if settings.target is not None and images.targets:
        if settings.target not in images.targets:
            raise unknown(f"target in {images.name} named", settings.target, images.targets)
        chosen = [images.targets[settings.target]]
    elif own is not None and own in images.targets:
        chosen = [images.targets[own]]
    else:
        chosen = list(images.targets.values())
    train = images.rows("train")
    return [target for target in chosen if target.known[train].any()]
