"""The API of selfsight for editors and type checkers; `make stub` writes this file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from selfsight import losses as losses
from selfsight.catalogue import Catalogue, ListMethods
from selfsight.completions import Completion
from selfsight.data.audit import Audited
from selfsight.data.imageset import ImageSet
from selfsight.data.options import Images
from selfsight.data.pixels.inventory import Cache, Inventory
from selfsight.data.sources.memory import MapDataset
from selfsight.estimators import ImageClassifier as ImageClassifier
from selfsight.estimators import ImageRegressor as ImageRegressor
from selfsight.estimators import SelfSupervisedTransformer as SelfSupervisedTransformer
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.exporting.export import Export, Exported
from selfsight.fitting.recipe import FineTuning, Recipe
from selfsight.fitting.stack import Classifier
from selfsight.fitting.stopping import Stopping
from selfsight.labelling.audit import AuditImages
from selfsight.labelling.suggest import Suggest, Suggestions
from selfsight.merging import Merge
from selfsight.method import Method, Optimizer
from selfsight.methods import METHODS as METHODS
from selfsight.models.embed import Embed, Embeddings
from selfsight.models.finetune import Finetune
from selfsight.models.predict import Predict, PredictionTable
from selfsight.models.predictor import Predictor
from selfsight.models.start_table import StartTable
from selfsight.models.starts import CompareStarts
from selfsight.neighbours.build import IndexImages
from selfsight.neighbours.clusters import ClusterImages, Clusters
from selfsight.neighbours.explore import Explore, ImageMap
from selfsight.neighbours.index import Index
from selfsight.neighbours.pairs import ComparePairs, PairsResults
from selfsight.neighbours.query import SearchIndex, SearchResults
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network
from selfsight.pipeline import Pipeline, RunOutcome
from selfsight.reporting.report import Report
from selfsight.reporting.report.wandb_report import Published
from selfsight.runs.run import Run
from selfsight.training.settings import Pretrain
from selfsight.training.supervision import Supervision
from selfsight.tuning.finetune import TuneFinetuning
from selfsight.tuning.pretraining_settings import TunePretraining
from selfsight.tuning.probe import TuneProbe
from selfsight.tuning.record import Tuned
from selfsight.version import __version__ as __version__
from selfsight.views.settings import View

__all__ = [
    "METHODS",
    "ImageClassifier",
    "ImageRegressor",
    "SelfSupervisedTransformer",
    "__version__",
    "audit",
    "cache",
    "cluster",
    "compare_starts",
    "completion",
    "embed",
    "evaluate",
    "explore",
    "export",
    "finetune",
    "index",
    "list_methods",
    "load",
    "load_model",
    "merge",
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
    data: str | Path | ImageSet | NDArray[Any] | MapDataset,
    *,
    settings: AuditImages | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path | None = ...,
    near: bool = ...,
    run: str | Path | Run | Module | None = ...,
    against: str | None = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Audited:
    """Find leaks, copies, bad files, wrong labels.

    Args:
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: Folder of audit.html, audit.json and pictures.npz; by default runs/DATA-audit.
        near: Look for near-duplicates too.
        run: A finished run or a model whose representations find labels that are probably
            wrong.
        against: Other images, such as those of last year: which of these images are new beside
            them, and how far the two sets are apart; only with --run.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1; only with --run.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        What was found, and the paths of the pages.

    Raises:
        ValueError: the images or the run cannot be opened, there is no target of classes or
            labels (without other images), or too few images to compare.
    """

@overload
def audit(settings: AuditImages, /) -> Audited:
    """Find leaks, copies, bad files, wrong labels."""

@overload
def compare_starts(
    data: str | Path | ImageSet | NDArray[Any] | MapDataset,
    starts: tuple[str, ...] = ...,
    *,
    settings: CompareStarts | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    cached: bool = ...,
    normalise: tuple[Literal["weights", "data"], ...] = ...,
    max_images: int = ...,
    out: str | Path | None = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> StartTable:
    """Rank the weights a training can start from.

    Args:
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, arrays, a list of arrays, or a torch dataset.
        starts: More starts: a file of weights, the folder of a run, timm:NAME,
            torchvision:NAME, transformers:OWNER/NAME, or the name of a backbone with a package
            of weights.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        cached: Also compare weights that other libraries have downloaded to this machine.
        normalise: Normalisation of published weights: their own, that of the images, or both
            side by side.
        max_images: Labelled train images that are compared on at most, drawn as `evaluate`
            draws labels.
        out: Also write the table to this file: .csv, .parquet or .json.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.

    Returns:
        The table; its text is what the command prints.

    Raises:
        ValueError: data or target cannot be used, or a start that was named cannot be loaded.
    """

@overload
def compare_starts(settings: CompareStarts, /) -> StartTable:
    """Rank the weights a training can start from."""

@overload
def run(
    data: str | Path | ImageSet | NDArray[Any] | MapDataset,
    *,
    settings: Pipeline | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    method: str | Path | type[Method] = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    weights_part: str | None = ...,
    backbone: str = ...,
    epochs: int | None = ...,
    steps: int | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: str = ...,
    freeze: Literal["auto", "none", "early", "all_but_norms"] = ...,
    anchor: float = ...,
    batch_norm: Literal["auto", "trained", "held"] = ...,
    normalise: Literal["auto", "weights", "data", "imagenet", "half", "unit"] = ...,
    representation: Literal["auto", "output", "mean", "stages"] = ...,
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
    keep_every: int | None = ...,
    checkpoint_steps: int | None = ...,
    track: tuple[Literal["wandb", "mlflow", "tensorboard"], ...] = ...,
    views: tuple[View, ...] | None = ...,
    fractions: tuple[float, ...] = ...,
    draws: int | None = ...,
    allow_code: bool = ...,
) -> RunOutcome:
    """Backbone, evaluation and report, in one go.

    Args:
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        out: The run's folder; by default runs/DATA-METHOD, runs/DATA-start where nothing is
            trained. The same command again resumes it.
        weights: What the backbone starts from: `published` weights, a file of weights, the
            folder of a finished run or of a model, a .ckpt of a run, or `none`; auto: published
            ones where they are installed and suit the images.
        weights_part: The part of the file to take, where several fill the network: teacher,
            backbone, ...
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, efficientnet_lite0 to 2,
            timm:NAME, torchvision:NAME, transformers:OWNER/NAME, file.py:build or auto.
        epochs: Passes over the pool, 0 for the weights as they are; by default 100, and more
            where that makes less than 1,000 steps.
        steps: Length of the training in steps, in place of epochs; the preset `continue` takes
            60.
        batch_size: Images of a step, over all processes; by default 256, and less below 1,024
            images.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: Recipe for every setting that is not given; auto: chosen by the weights and the
            images. `paper` holds the authors' values and adapts nothing, `continue` adds to
            published weights; the defaults shown are those of the method's first preset.
        freeze: Weights of the backbone that stay as they are: none, those down to 1/8 of the
            side (early; of a ViT the first third), or all but scale and shift of the
            normalisations; auto: early under the preset `continue`.
        anchor: Strength of a pull of the backbone's weights towards those it started from: the
            penalty anchor / 2 |w - w0|^2 (L2-SP, arXiv:1802.01483).
        batch_norm: Statistics of batch normalisation: of the batches, or held at those of the
            start; auto: held under the preset `continue`.
        normalise: Mean and deviation of the channels: those the weights were trained with,
            those of the images, or fixed ones; auto: the weights' for published ones, else the
            images'.
        representation: What represents an image: the network's output as it is; the same
            standardised (mean); or mean and maximum of three stages, standardised; auto: stages
            for published weights, else output.
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
        keep_every: Epochs between two backbones that are kept, as
            checkpoints/epoch-N.safetensors; None: only the last backbone is.
        checkpoint_steps: Steps between two checkpoints; by default there is one at the end of
            each epoch only.
        track: Where curves, settings and results also go: wandb, mlflow, tensorboard, or
            several.
        views: The views; None: the method's, adapted to the images.
        fractions: Shares of the training labels that the probes get.
        draws: Draws of the labels at each share below 1; see `evaluate`.
        allow_code: Run the file.py:build of the backbone again for the evaluation.

    Returns:
        The run, its results and the path of its page.

    Raises:
        ValueError: see `pretrain` and `evaluate`.
    """

@overload
def run(settings: Pipeline, /) -> RunOutcome:
    """Backbone, evaluation and report, in one go."""

@overload
def pretrain(
    method: str | Path | type[Method],
    data: str | Path | ImageSet | NDArray[Any] | MapDataset,
    *,
    settings: Pretrain | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    weights_part: str | None = ...,
    backbone: str = ...,
    epochs: int | None = ...,
    steps: int | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: str = ...,
    freeze: Literal["auto", "none", "early", "all_but_norms"] = ...,
    anchor: float = ...,
    batch_norm: Literal["auto", "trained", "held"] = ...,
    normalise: Literal["auto", "weights", "data", "imagenet", "half", "unit"] = ...,
    representation: Literal["auto", "output", "mean", "stages"] = ...,
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
    keep_every: int | None = ...,
    checkpoint_steps: int | None = ...,
    track: tuple[Literal["wandb", "mlflow", "tensorboard"], ...] = ...,
    views: tuple[View, ...] | None = ...,
) -> Run:
    """Train a backbone on unlabelled images.

    Args:
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: The run's folder; by default runs/DATA-METHOD, runs/DATA-start where nothing is
            trained. The same command again resumes it.
        weights: What the backbone starts from: `published` weights, a file of weights, the
            folder of a finished run or of a model, a .ckpt of a run, or `none`; auto: published
            ones where they are installed and suit the images.
        weights_part: The part of the file to take, where several fill the network: teacher,
            backbone, ...
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, efficientnet_lite0 to 2,
            timm:NAME, torchvision:NAME, transformers:OWNER/NAME, file.py:build or auto.
        epochs: Passes over the pool, 0 for the weights as they are; by default 100, and more
            where that makes less than 1,000 steps.
        steps: Length of the training in steps, in place of epochs; the preset `continue` takes
            60.
        batch_size: Images of a step, over all processes; by default 256, and less below 1,024
            images.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: Recipe for every setting that is not given; auto: chosen by the weights and the
            images. `paper` holds the authors' values and adapts nothing, `continue` adds to
            published weights; the defaults shown are those of the method's first preset.
        freeze: Weights of the backbone that stay as they are: none, those down to 1/8 of the
            side (early; of a ViT the first third), or all but scale and shift of the
            normalisations; auto: early under the preset `continue`.
        anchor: Strength of a pull of the backbone's weights towards those it started from: the
            penalty anchor / 2 |w - w0|^2 (L2-SP, arXiv:1802.01483).
        batch_norm: Statistics of batch normalisation: of the batches, or held at those of the
            start; auto: held under the preset `continue`.
        normalise: Mean and deviation of the channels: those the weights were trained with,
            those of the images, or fixed ones; auto: the weights' for published ones, else the
            images'.
        representation: What represents an image: the network's output as it is; the same
            standardised (mean); or mean and maximum of three stages, standardised; auto: stages
            for published weights, else output.
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
        keep_every: Epochs between two backbones that are kept, as
            checkpoints/epoch-N.safetensors; None: only the last backbone is.
        checkpoint_steps: Steps between two checkpoints; by default there is one at the end of
            each epoch only.
        track: Where curves, settings and results also go: wandb, mlflow, tensorboard, or
            several.
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
    run: str | Path | Run | Module = ...,
    data: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
    *,
    settings: Evaluate | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
    features: str | None = ...,
    control: tuple[str, ...] = ...,
    fractions: tuple[float, ...] = ...,
    draws: int | None = ...,
    probes: tuple[str, ...] = ...,
    balanced: bool = ...,
    controls: tuple[str, ...] = ...,
    replicates: tuple[str, ...] = ...,
    representation: Literal["auto", "run", "output", "mean", "stages"] = ...,
    clusters: bool = ...,
    corruptions: bool = ...,
    finetune: bool = ...,
    finetuning: FineTuning = ...,
    split: Literal["auto", "test", "validation"] = ...,
    out: str | Path | None = ...,
) -> Results:
    """Measure a run or a model beside its controls.

    Args:
        run: The folder of a finished run, or of a model.
        data: Images, as for `pretrain`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.
        features: Representations made elsewhere, instead of a run: a table or .npz with row
            ids, a target, a split and a group, and a column of lists or numbered columns.
        control: Other representations of the same rows, matched by row id, that --features
            stand beside.
        fractions: Shares of the labels of the train split.
        draws: Draws of labels at each share below 1; None: 5, or, where the run was trained on
            a part of the labels, that part alone.
        probes: Among knn, linear and mlp; each is used for the targets it can predict.
        balanced: Rare classes and labels count more in the linear and MLP probes, by inverse
            frequency.
        controls: What results stand beside: start (the weights the training began with, where
            they were not random), untrained, pixels, and folders of other runs.
        replicates: Folders of runs that differ from RUN in the seed of the training alone: one
            row, and intervals that cover seeds, label draws and test images.
        representation: Of every subject alike: the network's output, the same standardised
            (mean), or three stages; run: the run's; auto: mean or stages, as each probe chooses
            inside its labels.
        clusters: Also compare clusters, found without labels, with the classes.
        corruptions: Also score the linear probe on test images with blur, noise, JPEG and less
            light, each at three strengths.
        finetune: Also fine-tune the backbone and its start, and train the same network from
            scratch; this takes long.
        finetuning: How that training is done and what it tries.
        split: Where results are read; auto: test, or validation where there is no test split.
        out: Folder of the results and caches, for a run that can only be read; by default the
            run's.

    Returns:
        The results; also in ``results.json`` and ``predictions.parquet`` of the run.

    Raises:
        ValueError: no such run, data, target or probe; the sentence says what to change.
    """

@overload
def evaluate(settings: Evaluate, /) -> Results:
    """Measure a run or a model beside its controls."""

@overload
def suggest(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
    *,
    settings: Suggest | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
    count: int = ...,
    out: str | Path = ...,
    by: Literal["auto", "representative", "typical", "coverage", "uncertainty", "random"] = ...,
    per_group: int | None = ...,
    test_images: int | None = ...,
    near: float = ...,
) -> Suggestions:
    """Pick the images to label next.

    Args:
        run: The folder of a finished run.
        data: Images, as for `pretrain`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.
        count: How many images to suggest.
        out: Folder of labels.csv, sheet.png, suggestions.json and index.html.
        by: How to pick: representative (facility location), typical (TypiClust), coverage
            (k-centre), uncertainty or random; auto: representative, and uncertainty from ten
            labels a class on.
        per_group: Images of one group at most; None: twice an even share.
        test_images: Images of the test split to label too, drawn at random, so that results on
            test are of a random sample; None: one for every four that are suggested, as long as
            test has unlabelled images.
        near: Cosine of two representations above which their images are near-duplicates.

    Returns:
        The images, the reason for each, and the folder of the files.

    Raises:
        ValueError: no such run or target, or no image without a label.
    """

@overload
def suggest(settings: Suggest, /) -> Suggestions:
    """Pick the images to label next."""

@overload
def tune_probe(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
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
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
    metric: str | None = ...,
    label_fraction: float = ...,
    stopping: Stopping = ...,
    out: str | Path | None = ...,
    folds: int | None = ...,
    watch: Literal["metric", "loss"] = ...,
    probe: Classifier = ...,
) -> Tuned | None:
    """Search the classifier on a frozen backbone.

    Args:
        run: The folder of a finished run.
        data: Images, as for `pretrain`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
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
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.
        metric: What trials are compared by: a metric of the target, or loss; by default
            accuracy, mAP or r2, as in the report.
        label_fraction: Share of the labels that may be read; here those of train and
            validation.
        stopping: When a trial is ended early, in looks at the images held out.
        out: The study's folder; by default RUN/tuning/TARGET. The same command again continues
            it.
        folds: Cross-validation inside these labels, by group; 1: the run's validation split; by
            default 5 up to 2,000 labels, else 1.
        watch: What the early stopping looks at, on the images held out.
        probe: What is not searched, and the first trial.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: no such run, target, metric or space; the sentence says what to change.
    """

@overload
def tune_probe(settings: TuneProbe, /) -> Tuned | None:
    """Search the classifier on a frozen backbone."""

@overload
def tune_pretrain(
    method: str | Path | type[Method],
    data: str | Path | ImageSet | NDArray[Any] | MapDataset,
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
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path | None = ...,
    weights: str | Path | Run = ...,
    weights_part: str | None = ...,
    backbone: str = ...,
    epochs: int | None = ...,
    steps: int | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    pool: tuple[str, ...] = ...,
    preset: str = ...,
    freeze: Literal["auto", "none", "early", "all_but_norms"] = ...,
    anchor: float = ...,
    batch_norm: Literal["auto", "trained", "held"] = ...,
    normalise: Literal["auto", "weights", "data", "imagenet", "half", "unit"] = ...,
    representation: Literal["auto", "output", "mean", "stages"] = ...,
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
    keep_every: int | None = ...,
    checkpoint_steps: int | None = ...,
    track: tuple[Literal["wandb", "mlflow", "tensorboard"], ...] = ...,
    views: tuple[View, ...] | None = ...,
    objective: Literal["auto", "knn", "linear", "rankme", "alpha_req"] = ...,
    stopping: Stopping = ...,
    fractions: tuple[float, ...] = ...,
    allow_code: bool = ...,
) -> Tuned | None:
    """Search the settings of a pretraining.

    Args:
        method: A name in `METHODS`, or the path of a file of your own (``./mine.py``).
        data: Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or
            `digits`. Or an image set, arrays, a list of arrays, or a torch dataset.
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
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: The study's folder; by default runs/tune-DATA-METHOD. The same command continues
            it.
        weights: What the backbone starts from: `published` weights, a file of weights, the
            folder of a finished run or of a model, a .ckpt of a run, or `none`; auto: published
            ones where they are installed and suit the images.
        weights_part: The part of the file to take, where several fill the network: teacher,
            backbone, ...
        backbone: resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, efficientnet_lite0 to 2,
            timm:NAME, torchvision:NAME, transformers:OWNER/NAME, file.py:build or auto.
        epochs: Passes over the pool, 0 for the weights as they are; by default 100, and more
            where that makes less than 1,000 steps.
        steps: Length of the training in steps, in place of epochs; the preset `continue` takes
            60.
        batch_size: Images of a step, over all processes; by default 256, and less below 1,024
            images.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        pool: More unlabelled images to pretrain on, of other sources.
        preset: Recipe for every setting that is not given; auto: chosen by the weights and the
            images. `paper` holds the authors' values and adapts nothing, `continue` adds to
            published weights; the defaults shown are those of the method's first preset.
        freeze: Weights of the backbone that stay as they are: none, those down to 1/8 of the
            side (early; of a ViT the first third), or all but scale and shift of the
            normalisations; auto: early under the preset `continue`.
        anchor: Strength of a pull of the backbone's weights towards those it started from: the
            penalty anchor / 2 |w - w0|^2 (L2-SP, arXiv:1802.01483).
        batch_norm: Statistics of batch normalisation: of the batches, or held at those of the
            start; auto: held under the preset `continue`.
        normalise: Mean and deviation of the channels: those the weights were trained with,
            those of the images, or fixed ones; auto: the weights' for published ones, else the
            images'.
        representation: What represents an image: the network's output as it is; the same
            standardised (mean); or mean and maximum of three stages, standardised; auto: stages
            for published weights, else output.
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
        keep_every: Epochs between two backbones that are kept, as
            checkpoints/epoch-N.safetensors; None: only the last backbone is.
        checkpoint_steps: Steps between two checkpoints; by default there is one at the end of
            each epoch only.
        track: Where curves, settings and results also go: wandb, mlflow, tensorboard, or
            several.
        views: The views; None: the method's, adapted to the images.
        objective: What a trial is worth: auto is kNN for classes, a linear probe for other
            labels, both on validation, and RankMe without labels.
        stopping: When a trial is ended early; by default never, for the learning rate falls to
            the end.
        fractions: Shares of the train labels for the one evaluation of the best run; () leaves
            it out.
        allow_code: Run the file.py:build of the backbone again for the evaluation.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: data, space, objective or storage cannot be used.
    """

@overload
def tune_pretrain(settings: TunePretraining, /) -> Tuned | None:
    """Search the settings of a pretraining."""

@overload
def tune_finetune(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
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
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
    metric: str | None = ...,
    label_fraction: float = ...,
    stopping: Stopping = ...,
    out: str | Path | None = ...,
    finetuning: Recipe = ...,
) -> Tuned | None:
    """Search the settings of a fine-tuning.

    Args:
        run: The folder of a finished run.
        data: Images, as for `pretrain`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
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
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.
        metric: What trials are compared by: a metric of the target, or loss; by default
            accuracy, mAP or r2, as in the report.
        label_fraction: Share of the labels that may be read; here those of train and
            validation.
        stopping: When a trial is ended early, in looks at the images held out.
        out: The study's folder; by default RUN/tuning/finetune-TARGET. The same command
            continues it.
        finetuning: What is not searched, and the first trial.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: no such run, data, target, metric or space; the sentence says what to change.
    """

@overload
def tune_finetune(settings: TuneFinetuning, /) -> Tuned | None:
    """Search the settings of a fine-tuning."""

@overload
def finetune(
    run: str | Path | Run,
    data: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
    *,
    settings: Finetune | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    device: str = ...,
    allow_code: bool = ...,
    out: str | Path,
    head_only: Literal["linear", "mlp"] | None = ...,
    label_fraction: float = ...,
    balanced: bool = ...,
    finetuning: FineTuning = ...,
    probe: Classifier = ...,
) -> Predictor:
    """Fit a run to labels; write a model folder.

    Args:
        run: The folder of a finished run.
        data: Images, as for `pretrain`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that a run's backbone may name.
        out: The model's folder.
        head_only: Leave the backbone as it is and fit only a head, in seconds: linear (logistic
            regression; ridge for numbers) or mlp.
        label_fraction: Share of the labels that may be read, drawn as `evaluate` draws them;
            here those of train.
        balanced: Rare classes and labels count more, by inverse frequency; classes are then
            chosen by balanced accuracy.
        finetuning: How the weights are trained and what is tried.
        probe: The network of --head-only mlp, and how it is trained.

    Returns:
        The model; also in the folder ``settings.out``.

    Raises:
        ValueError: no such run, data or target, no labels, or a folder that is not empty.
    """

@overload
def finetune(settings: Finetune, /) -> Predictor:
    """Fit a run to labels; write a model folder."""

@overload
def predict(
    model: str | Path | Predictor,
    images: str | Path | ImageSet | NDArray[Any] | MapDataset,
    *,
    settings: Predict | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    shard: str | None = ...,
    allow_code: bool = ...,
) -> Path | PredictionTable:
    """Predict the targets of images with a model.

    Args:
        model: The folder of a model.
        images: Images, as for `pretrain`; labels and splits are not read. Or an image set,
            arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: The table: .parquet or .csv; by default CSV is printed.
        batch_size: Images that go through the network at once; by default as many as stay in a
            CPU's cache, or 512 on a GPU.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        shard: I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the
            parts.
        allow_code: Run the file.py:build that the model's backbone may name.

    Returns:
        The path of the table, of the part where there is a ``shard``; without ``settings.out`` the
        table itself.

    Raises:
        ValueError: the model or the images cannot be read, or do not fit each other.
    """

@overload
def predict(settings: Predict, /) -> Path | PredictionTable:
    """Predict the targets of images with a model."""

@overload
def embed(
    run: str | Path | Run,
    images: str | Path | ImageSet | NDArray[Any] | MapDataset,
    *,
    settings: Embed | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    shard: str | None = ...,
    allow_code: bool = ...,
) -> Path | Embeddings:
    """Write the representations of images.

    Args:
        run: The folder of a finished run, or of a model.
        images: Images, as for `pretrain`; labels and splits are not read. Or an image set,
            arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: .parquet, .csv, .npz, or .npy (row ids in NAME.row_ids.npy); by default CSV is
            printed.
        batch_size: Images that go through the network at once; by default as many as stay in a
            CPU's cache, or 512 on a GPU.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        shard: I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the
            parts.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        The path of the file, of the part where there is a ``shard``; without ``settings.out`` row
        ids ``(N,)`` and representations ``(N, F)`` float32.

    Raises:
        ValueError: the run or the images cannot be read, or do not fit each other.
    """

@overload
def embed(settings: Embed, /) -> Path | Embeddings:
    """Write the representations of images."""

@overload
def index(
    run: str | Path | Run,
    images: str | Path | ImageSet | NDArray[Any] | MapDataset | None = ...,
    *,
    settings: IndexImages | Mapping[str, Any] | None = ...,
    kinds: tuple[str, ...] = ...,
    separator: str | None = ...,
    empty: Literal["unknown", "none"] = ...,
    uncertain: Literal["unknown", "yes", "no", "class"] = ...,
    image_column: str | None = ...,
    axes: str | None = ...,
    masks: bool = ...,
    bits: int | None = ...,
    value_range: tuple[float, float] | None = ...,
    nodata: str | None = ...,
    max_pixels: int = ...,
    target: str | None = ...,
    labels: str | Path | NDArray[Any] | None = ...,
    group: str | None = ...,
    split_column: str | None = ...,
    tile: int | None = ...,
    image_size: int | None = ...,
    limit: int | None = ...,
    drop_leaks: bool = ...,
    allow_leaks: bool = ...,
    drop_near: bool = ...,
    allow_near: bool = ...,
    max_unreadable: float = ...,
    validation: float = ...,
    test: float = ...,
    splits: str | None = ...,
    root: str | None = ...,
    seed: int = ...,
    out: str | Path = ...,
    append: bool = ...,
    prefix: str | None = ...,
    kind: Literal["auto", "exact", "ivf_flat", "ivf_sq8"] = ...,
    recall: float = ...,
    pictures: int = ...,
    shard: str | None = ...,
    batch_size: int | None = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> Index | Path:
    """Represent images once, to search them.

    Args:
        run: The folder of a finished run, or of a model.
        images: Images, as for `embed`; by default those of the run, with the run's splits. Or
            an image set, arrays, a list of arrays, or a torch dataset.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        kinds: What columns are: age:number grade:class defects:labels person:identity.
        separator: What separates several labels in a text cell: |, ; or a comma; none for a
            single class.
        empty: What an empty cell of several labels means: not known, or none of them.
        uncertain: What -1 means beside 0 and 1: not known, yes, no, or a class of its own.
        image_column: The column or key of the images, where there are several.
        axes: The axes of an array, as in NHWC or NCHW.
        masks: Take files that look like masks of other images as images too.
        bits: Bits that the values of integer images use, as in 12 of 16.
        value_range: The values that mean black and white, where the type of the images does not
            say it.
        nodata: A pixel value that holds no data, or nan for all that are not finite; it becomes
            the mean of its channel in the image.
        max_pixels: Pixels of an image above which it is taken for a decompression bomb and left
            out.
        target: The column that says what is on an image, or none; by default the run's, or the
            only one.
        labels: A table of targets (CSV, Parquet), joined by row id; target, group and split
            column are then columns of it.
        group: The column that no split may cut: a coil, a patient, a board; `near` keeps
            near-duplicates and runs of file names together, `none` takes no column.
        split_column: The column that says train, validation or test; by default guessed, or the
            files' names.
        tile: Side in pixels of tiles that large images are cut into; results are pooled by
            image.
        image_size: Side that images of several sizes are brought to, pixels.
        limit: A seeded draw of this many images of the pool; validation and test stay whole.
        drop_leaks: Leave out train images that are in validation or test too, or whose group
            is, and test images that a run has been trained on.
        allow_leaks: Go on with such leaks; every result carries them in red.
        drop_near: Leave out train images that nearly equal a test image: re-encoded, mirrored,
            cropped.
        allow_near: Go on where more than 1 % of the test images have such a train image;
            results carry it.
        max_unreadable: Share of unreadable images above which it stops; the others are left out
            and named.
        validation: Share of train that is cut as validation where the images have none.
        test: Share that is cut as test where the images have none, labelled or not; 0: no test
            split.
        splits: A table of row ids and splits, such as splits.parquet of a run, that says on
            which side each image is; images that it does not name are placed by group, or by a
            hash of their name.
        root: Folder that the paths of a table must stay in; by default the one it lies in.
        seed: Seed of every draw: weights, order and views of a training, splits, labels, folds.
        out: The folder of the index.
        append: Add images to the index in --out; those that it has under their names are left
            out.
        prefix: What the row ids and groups of these images begin with in the index, as in
            siteB, so that images of several sources may have the same names.
        kind: exact, or inverted lists of faiss with whole vectors (ivf_flat) or a byte a number
            (ivf_sq8); auto: exact up to 500,000 images, then ivf_sq8.
        recall: Share of the ten exact neighbours that an approximate search must find; it
            visits as many lists as that takes on these images.
        pictures: Longest side in pixels of the small pictures that are kept for pages; 0: none.
        shard: I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the
            parts.
        batch_size: Images that go through the network at once; by default as many as stay in a
            CPU's cache, or 512 on a GPU.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        The index, opened from its folder; with a ``shard`` the folder of the part.

    Raises:
        ValueError: the run or the images cannot be read or do not fit each other, there is an
            index already, or one to add to was made with other weights.
    """

@overload
def index(settings: IndexImages, /) -> Index | Path:
    """Represent images once, to search them."""

@overload
def merge(
    out: str | Path,
    *,
    settings: Merge | Mapping[str, Any] | None = ...,
    parts: tuple[str, ...] = ...,
) -> Path:
    """Join the parts that --shard wrote.

    Args:
        out: The --out of the parts.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        parts: Folders of the parts, where they are not all in OUT.parts.

    Returns:
        The path of the file, or of the folder of the index.

    Raises:
        ValueError: parts are missing, damaged, there twice, or of different outputs; names them.
    """

@overload
def merge(settings: Merge, /) -> Path:
    """Join the parts that --shard wrote."""

@overload
def search(
    index: str | Path | Index,
    queries: str | Path | Sequence[str | Path] | ImageSet | NDArray[Any] | Tensor,
    *,
    settings: SearchIndex | Mapping[str, Any] | None = ...,
    k: int = ...,
    far: bool = ...,
    out: str | Path | None = ...,
    run: str | Path | Run | Module | None = ...,
    device: str = ...,
    allow_code: bool = ...,
) -> SearchResults:
    """Find the images that look most like a query.

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
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that the backbone may name.

    Returns:
        Neighbours, the table, and where it was written.

    Raises:
        ValueError: no such index, or one that is damaged; a query that cannot be read; or the run
            has other weights than those of the index.
    """

@overload
def search(settings: SearchIndex, /) -> SearchResults:
    """Find the images that look most like a query."""

@overload
def pairs(
    index: str | Path | Index,
    *,
    settings: ComparePairs | Mapping[str, Any] | None = ...,
    pairs: str | None = ...,
    draw: int | None = ...,
    out: str | Path = ...,
    count: int = ...,
    copies: float = ...,
    seed: int = ...,
) -> PairsResults:
    """Judge pairs of images, or list similar ones.

    Args:
        index: The folder of an index.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        pairs: CSV or Parquet: two columns of images (a and b, or NAME_a and NAME_b), same (1 or
            0), perhaps fold. Without it the most and the least similar pairs of the index are
            listed.
        draw: Draw this many pairs from the labels of the index, such as people, in place of a
            file: half of them same, in folds that share no label.
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
    """Judge pairs of images, or list similar ones."""

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
    """Group images by similarity, find duplicates.

    Args:
        index: The folder of an index.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: .csv or .parquet: row_id, cluster, size, duplicate_of, label; a page is written
            beside it.
        by: How to group: hdbscan, which needs no threshold, or average linkage at one; auto:
            linkage where there are pairs or a threshold.
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
    """Group images by similarity, find duplicates."""

@overload
def explore(
    index: str | Path | Index,
    *,
    settings: Explore | Mapping[str, Any] | None = ...,
    out: str | Path | None = ...,
    serve: bool = ...,
    points: int = ...,
    k: int = ...,
    columns: tuple[str, ...] = ...,
    port: int = ...,
    run: str | Path | Run | Module | None = ...,
    device: str = ...,
    allow_code: bool = ...,
    seed: int = ...,
) -> ImageMap:
    """Look at all images on one map.

    Args:
        index: The folder of an index, or of a run, whose images are indexed first.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: .html, one page that opens offline, or .parquet, a table that embedding-atlas
            reads; by default map.html, and nothing under --serve.
        serve: Serve the page on this machine until Ctrl-C: it then searches by an image that
            you choose, and shows images in full size.
        points: Images on the map at most; of more a seeded draw.
        k: Neighbours of each image.
        columns: Tables (CSV, Parquet) with a row_id and columns to colour by, such as
            clusters.csv.
        port: Of the server; 0: a free one.
        run: The run of the index, where it has moved; only a search by image needs it.
        device: auto, cpu, cuda, or one GPU of several, as in cuda:1.
        allow_code: Run the file.py:build that the backbone may name.
        seed: Seed of the draw and of the map.

    Returns:
        The map, and where it was written.

    Raises:
        ValueError: no such index or run, a table of columns that does not fit, or a port that is
            taken.
    """

@overload
def explore(settings: Explore, /) -> ImageMap:
    """Look at all images on one map."""

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
    """Write a run or a model as ONNX or state dict.

    Args:
        run: The folder of a finished run, or of a model of `finetune`.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The file: .onnx, or for a state dict .safetensors, .pth or .pt.
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
    """Write a run or a model as ONNX or state dict."""

@overload
def report(
    runs: str | Path | Run | Sequence[str | Path | Run],
    *,
    settings: Report | Mapping[str, Any] | None = ...,
    out: str | Path | None = ...,
    to: Literal["wandb"] | None = ...,
) -> Path | Published:
    """Write one HTML page on one or several runs.

    Args:
        runs: Folders of finished runs.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        out: The page; by default report.html in the run, or comparison.html in the first of
            several.
        to: Also make a report at Weights & Biases, in the project WANDB_PROJECT (else
            selfsight).

    Returns:
        The path of the file; with ``settings.to`` also where it was published.

    Raises:
        ValueError: no run is given, there is no such folder, a file of one is damaged, or Weights &
            Biases is not installed or cannot be used.
    """

@overload
def report(settings: Report, /) -> Path | Published:
    """Write one HTML page on one or several runs."""

@overload
def list_methods(
    *,
    settings: ListMethods | Mapping[str, Any] | None = ...,
) -> Catalogue:
    """List the methods: paper, needs, cost.

    Args:
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).

    Returns:
        One entry each, by name.
    """

@overload
def list_methods(settings: ListMethods, /) -> Catalogue:
    """List the methods: paper, needs, cost."""

@overload
def cache(
    *,
    settings: Cache | Mapping[str, Any] | None = ...,
    clean: bool = ...,
    older_days: float = ...,
) -> Inventory:
    """List decoded images and weights; clean up.

    Args:
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).
        clean: Remove the stores of selfsight; downloaded weights stay, other programs share
            them.
        older_days: With --clean: only what no command has read for this many days.

    Returns:
        What is kept, and what was removed.

    Raises:
        ValueError: a store cannot be removed.
    """

@overload
def cache(settings: Cache, /) -> Inventory:
    """List decoded images and weights; clean up."""

@overload
def completion(
    shell: Literal["bash", "zsh", "fish"],
    *,
    settings: Completion | Mapping[str, Any] | None = ...,
) -> str:
    """Print completions for bash, zsh or fish.

    Args:
        shell: bash, zsh or fish.
        settings: A settings object, or a mapping with nested or dotted names
            (``{'optimizer.lr': 1e-3}``).

    Returns:
        Its text.
    """

@overload
def completion(settings: Completion, /) -> str:
    """Print completions for bash, zsh or fish."""

def open_images(source: Images, **options: Any) -> ImageSet:
    """Opens images: see `selfsight.data.request.open_images`; arrays and datasets too.

    More than 20,000 encoded images stay undecoded until they are read or trained on, unless
    ``decode=True``, or ``drop_near`` or ``allow_near`` asks for near-duplicates.
    """

def load(run: str | Path | Run) -> Backbone:
    """The trained backbone of a run, in eval mode: ``(B, C, H, W)`` normalised -> ``(B, F)``."""

def load_model(folder: str | Path) -> Predictor:
    """A model of `finetune`, on the CPU: `selfsight.models.predictor.Predictor`."""
