"""The API of selfsight for editors and type checkers; `make stub` writes this file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from numpy.typing import NDArray

from selfsight import losses as losses
from selfsight.data.audit import AuditData, Audited
from selfsight.data.imageset import ImageSet
from selfsight.estimators import ImageClassifier as ImageClassifier
from selfsight.estimators import ImageRegressor as ImageRegressor
from selfsight.estimators import SelfSupervisedTransformer as SelfSupervisedTransformer
from selfsight.evaluation.protocol import Evaluate
from selfsight.evaluation.results import Results
from selfsight.exporting.export import Export, Exported
from selfsight.fitting.labelled import FineTuning
from selfsight.fitting.stopping import Stopping
from selfsight.labelling.suggest import Suggest, Suggestions
from selfsight.method import Optimizer
from selfsight.methods import METHODS as METHODS
from selfsight.models.embed import Embed, Embeddings
from selfsight.models.finetune import Finetune
from selfsight.models.predict import Predict, PredictionTable
from selfsight.models.predictor import Predictor
from selfsight.neighbours.build import IndexImages
from selfsight.neighbours.clusters import ClusterImages, Clusters
from selfsight.neighbours.index import Index
from selfsight.neighbours.pairs import ComparePairs, PairsResults
from selfsight.neighbours.query import SearchResults
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network
from selfsight.pipeline import Pipeline, RunOutcome
from selfsight.reporting.report import Report
from selfsight.runs.run import Run
from selfsight.training.settings import Pretrain
from selfsight.training.supervision import Supervision
from selfsight.tuning.classifier import Classifier
from selfsight.tuning.finetuning import TuneFinetuning
from selfsight.tuning.pretraining import TunePretraining
from selfsight.tuning.probe import TuneProbe
from selfsight.tuning.recipe import Recipe
from selfsight.tuning.record import Tuned
from selfsight.tuning.settings import Search
from selfsight.version import __version__ as __version__
from selfsight.views.settings import View

__all__ = [
    "METHODS",
    "ImageClassifier",
    "ImageRegressor",
    "SelfSupervisedTransformer",
    "__version__",
    "audit",
    "cluster",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "index",
    "load",
    "load_model",
    "open_images",
    "pairs",
    "predict",
    "pretrain",
    "report",
    "run",
    "search",
    "suggest",
    "tune_finetune",
    "tune_pretrain",
    "tune_probe",
]

@overload
def audit(
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: AuditData | Mapping[str, Any] | None = ...,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    limit: int | None = ...,
    image_size: int | None = ...,
    seed: int = ...,
    max_unreadable: float = ...,
    out: str | Path | None = ...,
    near: bool = ...,
) -> Audited:
    """Look for what crosses the splits, duplicates, and broken or blank images.

    Args:
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        target: The column that says what is on an image; pretraining itself does not read it.
        labels: A table of targets (CSV, Parquet) that is joined to the images by row id.
        group: The column that no split may cut: a coil, a patient, a board.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; predictions are pooled by
            image.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is.
        allow_leaks: Go on with such leaks; the report carries them in red.
        limit: A seeded draw of this many images of the pool.
        image_size: Side that images of several sizes are brought to, pixels.
        seed: Seed of the weights, the order, the splits and every view.
        max_unreadable: Share of unreadable images above which the run stops.
        out: Folder of audit.html, audit.json and pictures.npz; by default runs/DATA-audit.
        near: Look for near-duplicates too.

    Returns:
        What was found, and the path of the page.

    Raises:
        ValueError: the images cannot be opened.
    """

@overload
def audit(settings: AuditData, /) -> Audited:
    """Look for what crosses the splits, duplicates, and broken or blank images."""

@overload
def run(
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: Pipeline | Mapping[str, Any] | None = ...,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    limit: int | None = ...,
    image_size: int | None = ...,
    seed: int = ...,
    max_unreadable: float = ...,
    method: str | Path = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    backbone: str = ...,
    epochs: int = ...,
    batch_size: int = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: Literal["auto", "paper", "small"] = ...,
    optimizer: Optimizer = ...,
    supervision: Supervision = ...,
    network: Network = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    memory_format: Literal["auto", "channels_last", "contiguous"] = ...,
    compile: Literal["auto", "on", "off"] = ...,
    placement: Literal["auto", "device", "host"] = ...,
    devices: int = ...,
    nodes: int = ...,
    accumulate_batches: int = ...,
    log_every: int = ...,
    monitor_images: int = ...,
    checkpoint_steps: int | None = ...,
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ...,
    views: tuple[View, ...] | None = ...,
    fractions: tuple[float, ...] = ...,
    draws: int = ...,
) -> RunOutcome:
    """Pretrain, evaluate and report, in one go.

    Args:
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        target: The column that says what is on an image; pretraining itself does not read it.
        labels: A table of targets (CSV, Parquet) that is joined to the images by row id.
        group: The column that no split may cut: a coil, a patient, a board.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; predictions are pooled by
            image.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is.
        allow_leaks: Go on with such leaks; the report carries them in red.
        limit: A seeded draw of this many images of the pool.
        image_size: Side that images of several sizes are brought to, pixels.
        seed: Seed of the weights, the order, the splits and every view.
        max_unreadable: Share of unreadable images above which the run stops.
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        out: The run's folder; by default runs/DATA-METHOD. The same command again resumes it.
        weights: What the backbone starts from: a finished run, or none for random weights.
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, file.py:build or auto.
        epochs: Passes over the pool.
        batch_size: Images of a step, over all processes.
        device: auto, cpu, or cuda.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: The method's recipe: its paper's, or one for images up to 64 px (auto: by the
            images).
        optimizer: The optimizer and its schedule.
        supervision: Labels joined to the method; off by default.
        network: Changes to the backbone: a ResNet of other widths and depths, another stem or
            patch.
        precision: Of the backbone; heads and losses are always fp32.
        memory_format: Of images and convolutions; auto: channels_last where there are
            convolutions.
        compile: Whether torch.compile is used; auto: on a GPU, where its compiler is installed.
        placement: Where the pixels lie; auto: on a GPU where they take less than half of its
            free memory.
        devices: Processes (GPUs) on each machine.
        nodes: Machines.
        accumulate_batches: Batches whose gradients are added up before a step.
        log_every: Steps between two rows of metrics.csv.
        monitor_images: Images that the line after each epoch looks at; 0 turns kNN and
            effective rank off.
        checkpoint_steps: Steps between two checkpoints, besides the one at the end of each
            epoch.
        trackers: Trackers that get the same numbers as metrics.csv.
        views: The views; None: the method's, adapted to the images.
        fractions: Shares of the training labels that the probes get.
        draws: Draws of the labels at each share below 1.

    Returns:
        The run, its results and the path of its page.

    Raises:
        ValueError: see `pretrain` and `evaluate`.
    """

@overload
def run(settings: Pipeline, /) -> RunOutcome:
    """Pretrain, evaluate and report, in one go."""

@overload
def pretrain(
    method: str | Path,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: Pretrain | Mapping[str, Any] | None = ...,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    limit: int | None = ...,
    image_size: int | None = ...,
    seed: int = ...,
    max_unreadable: float = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    backbone: str = ...,
    epochs: int = ...,
    batch_size: int = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: Literal["auto", "paper", "small"] = ...,
    optimizer: Optimizer = ...,
    supervision: Supervision = ...,
    network: Network = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    memory_format: Literal["auto", "channels_last", "contiguous"] = ...,
    compile: Literal["auto", "on", "off"] = ...,
    placement: Literal["auto", "device", "host"] = ...,
    devices: int = ...,
    nodes: int = ...,
    accumulate_batches: int = ...,
    log_every: int = ...,
    monitor_images: int = ...,
    checkpoint_steps: int | None = ...,
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ...,
    views: tuple[View, ...] | None = ...,
) -> Run:
    """Train a backbone on unlabelled images.

    Args:
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        target: The column that says what is on an image; pretraining itself does not read it.
        labels: A table of targets (CSV, Parquet) that is joined to the images by row id.
        group: The column that no split may cut: a coil, a patient, a board.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; predictions are pooled by
            image.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is.
        allow_leaks: Go on with such leaks; the report carries them in red.
        limit: A seeded draw of this many images of the pool.
        image_size: Side that images of several sizes are brought to, pixels.
        seed: Seed of the weights, the order, the splits and every view.
        max_unreadable: Share of unreadable images above which the run stops.
        out: The run's folder; by default runs/DATA-METHOD. The same command again resumes it.
        weights: What the backbone starts from: a finished run, or none for random weights.
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, file.py:build or auto.
        epochs: Passes over the pool.
        batch_size: Images of a step, over all processes.
        device: auto, cpu, or cuda.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: The method's recipe: its paper's, or one for images up to 64 px (auto: by the
            images).
        optimizer: The optimizer and its schedule.
        supervision: Labels joined to the method; off by default.
        network: Changes to the backbone: a ResNet of other widths and depths, another stem or
            patch.
        precision: Of the backbone; heads and losses are always fp32.
        memory_format: Of images and convolutions; auto: channels_last where there are
            convolutions.
        compile: Whether torch.compile is used; auto: on a GPU, where its compiler is installed.
        placement: Where the pixels lie; auto: on a GPU where they take less than half of its
            free memory.
        devices: Processes (GPUs) on each machine.
        nodes: Machines.
        accumulate_batches: Batches whose gradients are added up before a step.
        log_every: Steps between two rows of metrics.csv.
        monitor_images: Images that the line after each epoch looks at; 0 turns kNN and
            effective rank off.
        checkpoint_steps: Steps between two checkpoints, besides the one at the end of each
            epoch.
        trackers: Trackers that get the same numbers as metrics.csv.
        views: The views; None: the method's, adapted to the images.

    Returns:
        The run, finished.

    Raises:
        ValueError: data, target, method, batch size or folder cannot be used; the sentence says
            what to change.
    """

@overload
def pretrain(settings: Pretrain, /) -> Run:
    """Train a backbone on unlabelled images."""

@overload
def evaluate(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]] | None = ...,
    *,
    settings: Evaluate | Mapping[str, Any] | None = ...,
    target: str | None = ...,
    group: str | None = ...,
    fractions: tuple[float, ...] = ...,
    draws: int = ...,
    probes: tuple[str, ...] = ...,
    balanced: bool = ...,
    controls: tuple[str, ...] = ...,
    clusters: bool = ...,
    finetune: bool = ...,
    finetuning: FineTuning = ...,
    split: Literal["auto", "test", "validation"] = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Results:
    """Measure a run beside its controls, with few labels and all of them.

    Args:
        run: The folder of a finished run.
        data: Images to evaluate on; by default those of the run, with the run's splits. Or an
            image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        target: The target; by default the run's, or else every target there is.
        group: The column that no split may cut; for other data than the run's.
        fractions: Shares of the labels of the train split.
        draws: Draws of labels at each share below 1.
        probes: Among knn, linear and mlp; each is used for the targets it can predict.
        balanced: Rare classes and labels count more in the linear and MLP probes, by inverse
            frequency.
        controls: What results stand beside: untrained, pixels, and folders of other runs.
        clusters: Also compare clusters, found without labels, with the classes.
        finetune: Also fine-tune the backbone, and train the same network from scratch; this
            takes long.
        finetuning: How that training is done and what it tries.
        split: Where results are read; auto: test, or validation where there is no test split.
        seed: Seed of the label draws, folds and bootstrap.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that a run's backbone may name.

    Returns:
        The results; also in ``results.json`` and ``predictions.parquet`` of the run.

    Raises:
        ValueError: no such run, data, target or probe; the sentence says what to change.
    """

@overload
def evaluate(settings: Evaluate, /) -> Results:
    """Measure a run beside its controls, with few labels and all of them."""

@overload
def suggest(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]] | None = ...,
    *,
    settings: Suggest | Mapping[str, Any] | None = ...,
    count: int = ...,
    out: str | Path = ...,
    by: Literal["auto", "representative", "typical", "coverage", "uncertainty", "random"] = ...,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    per_group: int | None = ...,
    near: float = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Suggestions:
    """Pick the images whose labels will help most, and write a table to fill in.

    Args:
        run: The folder of a finished run.
        data: Images to choose from; by default those of the run. Or an image set, or arrays
            ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        count: How many images to suggest.
        out: Folder of labels.csv, sheet.png, suggestions.json and index.html.
        by: representative: facility location; typical: TypiClust; coverage: k-centre; auto:
            representative, and uncertainty from ten labels a class on.
        target: The target to label; by default the run's, or the only one.
        labels: A table of the labels known so far, such as an earlier labels.csv, filled in; by
            default the run's.
        group: The column of groups; for other data than the run's.
        per_group: Images of one group at most; None: twice an even share.
        near: Cosine of two representations above which their images are near-duplicates.
        seed: Seed of clusters and draws.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that a run's backbone may name.

    Returns:
        The images, the reason for each, and the folder of the files.

    Raises:
        ValueError: no such run or target, or no image without a label.
    """

@overload
def suggest(settings: Suggest, /) -> Suggestions:
    """Pick the images whose labels will help most, and write a table to fill in."""

@overload
def tune_probe(
    run: str | Path | Run,
    *,
    settings: TuneProbe | Mapping[str, Any] | None = ...,
    search: tuple[str, ...] = ...,
    trials: int = ...,
    minutes: float | None = ...,
    patience_trials: int | None = ...,
    sampler: Literal["tpe", "random"] = ...,
    pruner: Literal["median", "hyperband", "halving", "none"] = ...,
    storage: str | None = ...,
    workers: int = ...,
    join: bool = ...,
    heartbeat: int = ...,
    target: str | None = ...,
    out: str | Path | None = ...,
    metric: str | None = ...,
    fraction: float = ...,
    folds: int | None = ...,
    epochs: int = ...,
    stopping: Stopping = ...,
    watch: Literal["metric", "loss"] = ...,
    probe: Classifier = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Tuned | None:
    """Search the classifier on a run's representations; read test once, with the best.

    Args:
        run: The folder of a finished run.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        search: SETTING=RANGE words, as in "optimizer.lr=log(1e-4,1)" epochs=5..20
            backbone=resnet18,auto, or a YAML file of them; `default` is the default space.
        trials: Trials of the study, over all workers and all times it was started.
        minutes: No trial begins later than this after the command was started.
        patience_trials: The study stops after this many trials in a row without a better value.
        sampler: How the next trial is chosen: Optuna's TPE, or at random.
        pruner: How a trial that will not win is ended early; halving is Hyperband's strictest
            bracket.
        storage: postgresql://USER@HOST/DATABASE for many machines; by default
            OUT/study.journal.
        workers: Processes that this command starts; a study of one worker is a function of its
            seed.
        join: Only work on the trials of a study that another command began, and leave.
        heartbeat: Seconds between signs of life in a database; a worker silent for four of them
            is dead.
        target: The target to predict; by default the run's, or the only one there is.
        out: The study's folder; by default RUN/tuning/TARGET. The same command again continues
            it.
        metric: What trials are compared by; by default accuracy, mAP or r2, as in the report.
        fraction: Share of the train and validation labels that may be read.
        folds: Cross-validation inside these labels, by group; 1: the run's validation split; by
            default 5 up to 2,000 labels, else 1.
        epochs: Passes over the labelled images at most.
        stopping: When a trial is ended early.
        watch: What the early stopping looks at, on the rows held out.
        probe: What is not searched, and the first trial.
        seed: Seed of folds, weights and the search.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that a run's backbone may name.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: no such run, target, metric or space; the sentence says what to change.
    """

@overload
def tune_probe(settings: TuneProbe, /) -> Tuned | None:
    """Search the classifier on a run's representations; read test once, with the best."""

@overload
def tune_pretrain(
    method: str | Path,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: TunePretraining | Mapping[str, Any] | None = ...,
    search: tuple[str, ...] = ...,
    trials: int = ...,
    minutes: float | None = ...,
    patience_trials: int | None = ...,
    sampler: Literal["tpe", "random"] = ...,
    pruner: Literal["median", "hyperband", "halving", "none"] = ...,
    storage: str | None = ...,
    workers: int = ...,
    join: bool = ...,
    heartbeat: int = ...,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    limit: int | None = ...,
    image_size: int | None = ...,
    seed: int = ...,
    max_unreadable: float = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    backbone: str = ...,
    epochs: int = ...,
    batch_size: int = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: Literal["auto", "paper", "small"] = ...,
    optimizer: Optimizer = ...,
    supervision: Supervision = ...,
    network: Network = ...,
    precision: Literal["auto", "fp32", "bf16"] = ...,
    memory_format: Literal["auto", "channels_last", "contiguous"] = ...,
    compile: Literal["auto", "on", "off"] = ...,
    placement: Literal["auto", "device", "host"] = ...,
    devices: int = ...,
    nodes: int = ...,
    accumulate_batches: int = ...,
    log_every: int = ...,
    monitor_images: int = ...,
    checkpoint_steps: int | None = ...,
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ...,
    views: tuple[View, ...] | None = ...,
    objective: Literal["auto", "knn", "linear", "rankme", "alpha_req"] = ...,
    stopping: Stopping = ...,
    fractions: tuple[float, ...] = ...,
) -> Tuned | None:
    """Search a pretraining's settings; end trials early that will not win.

    Args:
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        search: SETTING=RANGE words, as in "optimizer.lr=log(1e-4,1)" epochs=5..20
            backbone=resnet18,auto, or a YAML file of them; `default` is the default space.
        trials: Trials of the study, over all workers and all times it was started.
        minutes: No trial begins later than this after the command was started.
        patience_trials: The study stops after this many trials in a row without a better value.
        sampler: How the next trial is chosen: Optuna's TPE, or at random.
        pruner: How a trial that will not win is ended early: of those that came as far, halving
            lets the best third go on, hyperband lets some be for longer, and median keeps the
            better half.
        storage: postgresql://USER@HOST/DATABASE for many machines; by default
            OUT/study.journal.
        workers: Processes that this command starts; a study of one worker is a function of its
            seed.
        join: Only work on the trials of a study that another command began, and leave.
        heartbeat: Seconds between signs of life in a database; a worker silent for four of them
            is dead.
        target: The column that says what is on an image; pretraining itself does not read it.
        labels: A table of targets (CSV, Parquet) that is joined to the images by row id.
        group: The column that no split may cut: a coil, a patient, a board.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; predictions are pooled by
            image.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is.
        allow_leaks: Go on with such leaks; the report carries them in red.
        limit: A seeded draw of this many images of the pool.
        image_size: Side that images of several sizes are brought to, pixels.
        seed: Seed of the weights, the order, the splits and every view.
        max_unreadable: Share of unreadable images above which the run stops.
        out: The study's folder; by default runs/tune-DATA-METHOD. The same command continues
            it.
        weights: What the backbone starts from: a finished run, or none for random weights.
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, file.py:build or auto.
        epochs: Passes over the pool.
        batch_size: Images of a step, over all processes.
        device: auto, cpu, or cuda.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: The method's recipe: its paper's, or one for images up to 64 px (auto: by the
            images).
        optimizer: The optimizer and its schedule.
        supervision: Labels joined to the method; off by default.
        network: Changes to the backbone: a ResNet of other widths and depths, another stem or
            patch.
        precision: Of the backbone; heads and losses are always fp32.
        memory_format: Of images and convolutions; auto: channels_last where there are
            convolutions.
        compile: Whether torch.compile is used; auto: on a GPU, where its compiler is installed.
        placement: Where the pixels lie; auto: on a GPU where they take less than half of its
            free memory.
        devices: Processes (GPUs) on each machine.
        nodes: Machines.
        accumulate_batches: Batches whose gradients are added up before a step.
        log_every: Steps between two rows of metrics.csv.
        monitor_images: Images that the line after each epoch looks at; 0 turns kNN and
            effective rank off.
        checkpoint_steps: Steps between two checkpoints, besides the one at the end of each
            epoch.
        trackers: Trackers that get the same numbers as metrics.csv.
        views: The views; None: the method's, adapted to the images.
        objective: What a trial is worth: auto is kNN for classes, a linear probe for other
            labels, both on validation, and RankMe without labels.
        stopping: When a trial is ended early; by default never, for the learning rate falls to
            the end.
        fractions: Shares of the train labels for the one evaluation of the best run; () leaves
            it out.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: data, space, objective or storage cannot be used.
    """

@overload
def tune_pretrain(settings: TunePretraining, /) -> Tuned | None:
    """Search a pretraining's settings; end trials early that will not win."""

@overload
def tune_finetune(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]] | None = ...,
    *,
    settings: TuneFinetuning | Mapping[str, Any] | None = ...,
    search: tuple[str, ...] = ...,
    trials: int = ...,
    minutes: float | None = ...,
    patience_trials: int | None = ...,
    sampler: Literal["tpe", "random"] = ...,
    pruner: Literal["median", "hyperband", "halving", "none"] = ...,
    storage: str | None = ...,
    workers: int = ...,
    join: bool = ...,
    heartbeat: int = ...,
    target: str | None = ...,
    group: str | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    out: str | Path | None = ...,
    metric: str | None = ...,
    fraction: float = ...,
    stopping: Stopping = ...,
    recipe: Recipe = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Tuned | None:
    """Search how a run's backbone is fine-tuned; read test once, with the best.

    Args:
        run: The folder of a finished run.
        data: Labelled images to fine-tune on; by default those of the run, with the run's
            splits. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        search: SETTING=RANGE words, as in "optimizer.lr=log(1e-4,1)" epochs=5..20
            backbone=resnet18,auto, or a YAML file of them; `default` is the default space.
        trials: Trials of the study, over all workers and all times it was started.
        minutes: No trial begins later than this after the command was started.
        patience_trials: The study stops after this many trials in a row without a better value.
        sampler: How the next trial is chosen: Optuna's TPE, or at random.
        pruner: How a trial that will not win is ended early; halving is Hyperband's strictest
            bracket.
        storage: postgresql://USER@HOST/DATABASE for many machines; by default
            OUT/study.journal.
        workers: Processes that this command starts; a study of one worker is a function of its
            seed.
        join: Only work on the trials of a study that another command began, and leave.
        heartbeat: Seconds between signs of life in a database; a worker silent for four of them
            is dead.
        target: The target to predict; by default the run's, or the only one there is.
        group: The column that no split may cut; for other data than the run's.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is.
        allow_leaks: Go on with such leaks; the report names them.
        out: The study's folder; by default RUN/tuning/finetune-TARGET. The same command
            continues it.
        metric: What trials are compared by; by default accuracy, mAP or r2, as in the report.
        fraction: Share of the train and validation labels that may be read.
        stopping: When a trial is ended early, in looks at the images held out: there are 20 at
            most.
        recipe: What is not searched, and the first trial.
        seed: Seed of the held-out images, order, views and the search.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that a run's backbone may name.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: no such run, data, target, metric or space; the sentence says what to change.
    """

@overload
def tune_finetune(settings: TuneFinetuning, /) -> Tuned | None:
    """Search how a run's backbone is fine-tuned; read test once, with the best."""

@overload
def finetune(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]] | None = ...,
    *,
    settings: Finetune | Mapping[str, Any] | None = ...,
    out: str | Path,
    target: str | None = ...,
    labels: str | None = ...,
    group: str | None = ...,
    head_only: Literal["linear", "mlp"] | None = ...,
    fraction: float = ...,
    finetuning: FineTuning = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Predictor:
    """Fit a run to labels, all of its weights or a head, and write a model folder.

    Args:
        run: The folder of a finished run.
        data: Images with labels; by default those of the run, with the run's splits. Or an
            image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The model's folder.
        target: The target; by default the run's, or the only one.
        labels: A table of targets (CSV, Parquet) that is joined to the images by row id.
        group: The column that no fold may cut; for other data than the run's.
        head_only: Leave the backbone as it is and fit only a head, in seconds: linear (logistic
            regression; ridge for numbers) or mlp.
        fraction: Share of the labels of the train split, drawn as `evaluate` draws them.
        finetuning: How the weights are trained and what is tried.
        seed: Seed of the label draw, folds, order and views.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that the run's backbone may name.

    Returns:
        The model; also in the folder ``settings.out``.

    Raises:
        ValueError: no such run, data or target, no labels, or a folder that is not empty.
    """

@overload
def finetune(settings: Finetune, /) -> Predictor:
    """Fit a run to labels, all of its weights or a head, and write a model folder."""

@overload
def predict(
    model: str | Path | Predictor,
    images: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: Predict | Mapping[str, Any] | None = ...,
    out: str | Path | None = ...,
    batch_size: int = ...,
    max_unreadable: float = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Path | PredictionTable:
    """Predict classes, labels or numbers of images with a model.

    Args:
        model: The folder of a model.
        images: Images: a folder, a Parquet file or folder, CSV, .npy or .npz; labels are not
            read. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The table: .parquet or .csv; by default CSV is printed.
        batch_size: Images that go through the network at once.
        max_unreadable: Share of unreadable images above which it stops; they are left out.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that the model's backbone may name.

    Returns:
        The path of the table; without ``settings.out`` the table itself.

    Raises:
        ValueError: the model or the images cannot be read, or do not fit each other.
    """

@overload
def predict(settings: Predict, /) -> Path | PredictionTable:
    """Predict classes, labels or numbers of images with a model."""

@overload
def embed(
    run: str | Path | Run,
    images: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]],
    *,
    settings: Embed | Mapping[str, Any] | None = ...,
    out: str | Path | None = ...,
    batch_size: int = ...,
    max_unreadable: float = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Path | Embeddings:
    """Write the representations of images.

    Args:
        run: The folder of a finished run, or of a model.
        images: Images: a folder, a Parquet file or folder, CSV, .npy or .npz; labels are not
            read. Or an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: .parquet, .csv, .npz, or .npy (row ids in NAME.row_ids.npy); by default CSV is
            printed.
        batch_size: Images that go through the network at once.
        max_unreadable: Share of unreadable images above which it stops; they are left out.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        The path of the file; without ``settings.out`` row ids ``(N,)`` and representations
        ``(N, F)`` float32.

    Raises:
        ValueError: the run or the images cannot be read, or do not fit each other.
    """

@overload
def embed(settings: Embed, /) -> Path | Embeddings:
    """Write the representations of images."""

@overload
def index(
    run: str | Path | Run,
    images: str | Path | ImageSet | NDArray[Any] | Sequence[NDArray[Any]] | None = ...,
    *,
    settings: IndexImages | Mapping[str, Any] | None = ...,
    out: str | Path = ...,
    append: bool = ...,
    target: str | None = ...,
    labels: str | None = ...,
    kind: Literal["auto", "exact", "ivf_flat", "ivf_sq8"] = ...,
    recall: float = ...,
    pictures: int = ...,
    batch_size: int = ...,
    max_unreadable: float = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Index:
    """Represent images once, and keep them in a folder that can be searched.

    Args:
        run: The folder of a finished run, or of a model.
        images: Images, as for `embed`; by default those of the run, with the run's splits. Or
            an image set, or arrays ``(N, H, W)`` or ``(N, H, W, C)``.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The folder of the index.
        append: Add images to the index in --out; those of the same source that it has are left
            out.
        target: The column whose label stands beside the images; by default the run's, or the
            only one.
        labels: A table of targets that is joined to the run's own images by row id.
        kind: exact, or inverted lists of faiss with whole vectors (ivf_flat) or a byte a number
            (ivf_sq8); auto: exact up to 500,000 images, then ivf_sq8.
        recall: Share of the ten exact neighbours that an approximate search must find; it
            visits as many lists as that takes on these images.
        pictures: Longest side in pixels of the small pictures that are kept for pages; 0: none.
        batch_size: Images that go through the network at once.
        max_unreadable: Share of unreadable images above which it stops; they are left out.
        seed: Seed of the lists and of the images that ask for the measured recall.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        The index, opened from its folder.

    Raises:
        ValueError: the run or the images cannot be read or do not fit each other, there is an
            index already, or one to add to was made with other weights.
    """

@overload
def index(settings: IndexImages, /) -> Index:
    """Represent images once, and keep them in a folder that can be searched."""

@overload
def search(
    index: str | Path | Index,
    queries: str | Path | Sequence[str | Path],
    *,
    settings: Search | Mapping[str, Any] | None = ...,
    k: int = ...,
    far: bool = ...,
    out: str | Path | None = ...,
    run: str | Path | Run | None = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> SearchResults:
    """Find the images of an index that look most like a query, or least.

    Args:
        index: The folder of an index.
        queries: Image files, folders or tables of images, or row ids of the index.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        k: Neighbours of each query; a query by row id is not its own neighbour.
        far: The least similar images instead.
        out: .csv or .parquet; a page of pictures is written beside it. By default CSV is
            printed.
        run: The run of the index, where it has moved; only images that are not indexed need it.
        device: auto, cpu, or cuda.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        Neighbours, the table, and where it was written.

    Raises:
        ValueError: no such index, or one that is damaged; a query that cannot be read; or the run
            has other weights than those of the index.
    """

@overload
def search(settings: Search, /) -> SearchResults:
    """Find the images of an index that look most like a query, or least."""

@overload
def pairs(
    index: str | Path | Index,
    *,
    settings: ComparePairs | Mapping[str, Any] | None = ...,
    pairs: str | None = ...,
    out: str | Path = ...,
    count: int = ...,
    copies: float = ...,
    seed: int = ...,
) -> PairsResults:
    """Decide of pairs of images whether they are the same, or list the most similar ones.

    Args:
        index: The folder of an index.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        pairs: CSV or Parquet: two columns of images (a and b, or NAME_a and NAME_b), same (1 or
            0), perhaps fold. Without it the most and the least similar pairs of the index are
            listed.
        out: .csv or .parquet; a page and its JSON are written beside it.
        count: Pairs that are listed at each end, where there is no file of pairs.
        copies: Cosine from which an image of a pair counts as a copy of an image that
            pretraining saw.
        seed: Seed of the folds, where the file has none.

    Returns:
        Scores, the table, and where they were written.

    Raises:
        ValueError: no such index or file of pairs, or no pair whose images are in the index.
    """

@overload
def pairs(settings: ComparePairs, /) -> PairsResults:
    """Decide of pairs of images whether they are the same, or list the most similar ones."""

@overload
def cluster(
    index: str | Path | Index,
    *,
    settings: ClusterImages | Mapping[str, Any] | None = ...,
    out: str | Path = ...,
    by: Literal["auto", "hdbscan", "linkage"] = ...,
    pairs: str | None = ...,
    threshold: float | None = ...,
    near: float = ...,
) -> Clusters:
    """Group the images of an index by similarity, and name near-duplicates.

    Args:
        index: The folder of an index.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: .csv or .parquet: row_id, cluster, size, duplicate_of, label; a page is written
            beside it.
        by: hdbscan needs no threshold; linkage: average linkage at a threshold; auto: linkage
            where there are pairs or a threshold.
        pairs: Labelled pairs, as for `pairs`; the threshold lies 3.3 deviations above the mean
            cosine of the different ones.
        threshold: Mean cosine of two groups from which average linkage joins them.
        near: Cosine from which two images are near-duplicates.

    Returns:
        The groups, how they agree with the labels, and where they were written.

    Raises:
        ValueError: no such index or file of pairs, or settings that do not go together.
    """

@overload
def cluster(settings: ClusterImages, /) -> Clusters:
    """Group the images of an index by similarity, and name near-duplicates."""

@overload
def export(
    run: str | Path | Run,
    *,
    settings: Export | Mapping[str, Any] | None = ...,
    out: str | Path,
    format: Literal["onnx", "torchvision", "timm", "transformers"] = ...,
    input: Literal["float32", "own"] = ...,
    allow_code: bool = ...,
) -> Exported:
    """Write a run or a model as ONNX, or as a state dict of torchvision, timm, transformers.

    Args:
        run: The folder of a finished run, or of a model of `finetune`.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: .onnx; for a state dict .safetensors, or .pth or .pt.
        format: ONNX from raw pixels on, or a state dict that this library loads strictly.
        input: ONNX: dtype of the input; own: that of the images, such as uint8. Values are the
            same.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        The path, and how the file is used.

    Raises:
        ValueError: no such run or model, a package that is missing, a network that the library
            does not have, or an ONNX file that gives other numbers than torch.
    """

@overload
def export(settings: Export, /) -> Exported:
    """Write a run or a model as ONNX, or as a state dict of torchvision, timm, transformers."""

@overload
def report(
    runs: str | Path | Run | Sequence[str | Path | Run],
    *,
    settings: Report | Mapping[str, Any] | None = ...,
    out: str | Path | None = ...,
) -> Path:
    """Write one self-contained page on one run, or on several side by side.

    Args:
        runs: Folders of finished runs.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The page; by default report.html in the run, or comparison.html in the first of
            several.

    Returns:
        The path of the file.

    Raises:
        ValueError: no run is given, there is no such folder, or a file of one is damaged.
    """

@overload
def report(settings: Report, /) -> Path:
    """Write one self-contained page on one run, or on several side by side."""

def open_images(source: str | Path | ImageSet, **options: Any) -> ImageSet:
    """Opens images: see `selfsight.data.sources.open_images`.

    More than 20,000 encoded images stay undecoded until they are read or trained on, unless
    ``decode=True``.
    """

def load(run: str | Path) -> Backbone:
    """The trained backbone of a run, in eval mode: ``(B, C, H, W)`` normalised -> ``(B, F)``."""

def load_model(folder: str | Path) -> Predictor:
    """A model of `finetune`, on the CPU: `selfsight.models.predictor.Predictor`."""
