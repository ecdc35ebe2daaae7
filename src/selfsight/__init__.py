"""selfsight: image representations from unlabelled images, proved with few labels.

The verbs of the command line are functions here; heavy libraries are imported when one is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight.methods import METHODS

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet
    from selfsight.estimators import (
        ImageClassifier,
        ImageRegressor,
        SelfSupervisedTransformer,
    )
    from selfsight.evaluation.results import Results
    from selfsight.exporting.export import Exported
    from selfsight.labelling.suggest import Suggestions
    from selfsight.models.predictor import Predictor
    from selfsight.networks.backbones import Backbone
    from selfsight.runs.run import Run
    from selfsight.tuning.record import Tuned

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "ImageClassifier",
    "ImageRegressor",
    "SelfSupervisedTransformer",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "load",
    "load_model",
    "open_images",
    "predict",
    "pretrain",
    "report",
    "run",
    "suggest",
    "tune_finetune",
    "tune_pretrain",
    "tune_probe",
]


def __getattr__(name: str) -> Any:
    # The estimators are classes of scikit-learn, which takes a second to import.
    if name in ("ImageClassifier", "ImageRegressor", "SelfSupervisedTransformer"):
        from selfsight import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'selfsight' has no attribute {name!r}")


def open_images(source: str | Path, **options: Any) -> ImageSet:
    """Opens images: see `selfsight.data.sources.open_images`.

    More than 20,000 encoded images stay undecoded until they are read or trained on, unless
    ``decode=True``.
    """
    from selfsight.data import sources

    return sources.open_images(source, **{"decode": None, **options})


def pretrain(
    method: str,
    data: str | Path | ImageSet,
    *,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """Trains a backbone on images without labels: ``pretrain("simclr", "digits", epochs=20)``.

    Args:
        method: a name in `METHODS`, or the path of a file of your own.
        data: what `open_images` takes, or an image set.
        settings: more settings, nested or dotted: ``{"optimizer.lr": 1e-3}``.
        changes: settings of `selfsight.training.settings.Pretrain` by name.

    Returns:
        The finished run.

    Raises:
        ValueError: one sentence on what cannot be used and what to change.
    """
    from selfsight.data.imageset import ImageSet
    from selfsight.training import pretrain as training
    from selfsight.training.settings import Pretrain

    images = data if isinstance(data, ImageSet) else None
    name = data.name if isinstance(data, ImageSet) else str(data)
    base = Pretrain.model_validate({"method": method, "data": name})
    return training.pretrain(base.updated({**(settings or {}), **changes}), images)


def run(data: str | Path, *, method: str = "simclr", **changes: Any) -> Path:
    """Pretrains, evaluates and reports; returns the path of the page."""
    from selfsight import pipeline

    base = pipeline.Pipeline.model_validate({"method": method, "data": str(data)})
    return pipeline.run(base.updated(changes))


def evaluate(run: str | Path | Run, data: str | Path | None = None, **changes: Any) -> Results:
    """Measures a run beside its controls: see `selfsight.evaluation.protocol.evaluate`."""
    from selfsight.evaluation import protocol

    path = run if isinstance(run, str | Path) else run.folder.path
    base = protocol.Evaluate(run=str(path), data=None if data is None else str(data))
    return protocol.evaluate(base.updated(changes))


def suggest(run: str | Path | Run, data: str | Path | None = None, **changes: Any) -> Suggestions:
    """Picks images to label next: see `selfsight.labelling.suggest.suggest`."""
    from selfsight.labelling import suggest as suggesting

    path = run if isinstance(run, str | Path) else run.folder.path
    base = suggesting.Suggest(run=str(path), data=None if data is None else str(data))
    return suggesting.suggest(base.updated(changes))


def tune_probe(run: str | Path | Run, **changes: Any) -> Tuned | None:
    """Searches the classifier on a run: see `selfsight.tuning.probe.tune_probe`."""
    from selfsight.tuning import probe

    path = run if isinstance(run, str | Path) else run.folder.path
    return probe.tune_probe(probe.TuneProbe(run=str(path)).updated(changes))


def tune_finetune(
    run: str | Path | Run, data: str | Path | None = None, **changes: Any
) -> Tuned | None:
    """Searches a fine-tuning of a run: see `selfsight.tuning.finetune.tune_finetuning`."""
    from selfsight.tuning import finetune as finetuning

    path = run if isinstance(run, str | Path) else run.folder.path
    base = finetuning.TuneFinetuning(run=str(path), data=None if data is None else str(data))
    return finetuning.tune_finetuning(base.updated(changes))


def tune_pretrain(method: str, data: str | Path | ImageSet, **changes: Any) -> Tuned | None:
    """Searches a pretraining: see `selfsight.tuning.pretrain.tune_pretraining`."""
    from selfsight.data.imageset import ImageSet
    from selfsight.tuning import pretrain as pretraining

    images = data if isinstance(data, ImageSet) else None
    name = data.name if isinstance(data, ImageSet) else str(data)
    base = pretraining.TunePretraining.model_validate({"method": method, "data": name})
    return pretraining.tune_pretraining(base.updated(changes), images)


def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes one self-contained page on one run or several; returns its path."""
    from selfsight.reporting.page import write_report

    return write_report([runs] if isinstance(runs, str | Path) else runs, out)


def finetune(
    run: str | Path | Run,
    data: str | Path | ImageSet | None = None,
    *,
    out: str | Path,
    **changes: Any,
) -> Predictor:
    """Fits a run to labels and writes a model: see `selfsight.models.finetune.finetune`."""
    from selfsight.data.imageset import ImageSet
    from selfsight.models import finetune as finetuning

    path = run if isinstance(run, str | Path) else run.folder.path
    images = data if isinstance(data, ImageSet) else None
    name = None if data is None else data.name if isinstance(data, ImageSet) else str(data)
    base = finetuning.Finetune(run=str(path), data=name, out=str(out))
    return finetuning.finetune(base.updated(changes), images)


def predict(
    model: str | Path, images: str | Path | ImageSet, *, out: str | Path, **changes: Any
) -> Path:
    """Writes a table of predictions: see `selfsight.models.predict.predict`."""
    from selfsight.data.imageset import ImageSet
    from selfsight.models import predict as prediction

    given = images if isinstance(images, ImageSet) else None
    name = images.name if isinstance(images, ImageSet) else str(images)
    base = prediction.Predict(model=str(model), images=name, out=str(out))
    return prediction.predict(base.updated(changes), given)


def embed(
    run: str | Path | Run, images: str | Path | ImageSet, *, out: str | Path, **changes: Any
) -> Path:
    """Writes representations: see `selfsight.models.embed.embed`."""
    from selfsight.data.imageset import ImageSet
    from selfsight.models import embed as embedding

    path = run if isinstance(run, str | Path) else run.folder.path
    given = images if isinstance(images, ImageSet) else None
    name = images.name if isinstance(images, ImageSet) else str(images)
    base = embedding.Embed(run=str(path), images=name, out=str(out))
    return embedding.embed(base.updated(changes), given)


def export(run: str | Path | Run, *, out: str | Path, **changes: Any) -> Exported:
    """Writes ONNX or a state dict: see `selfsight.exporting.export.export`."""
    from selfsight.exporting import export as writing

    path = run if isinstance(run, str | Path) else run.folder.path
    return writing.export(writing.Export(run=str(path), out=str(out)).updated(changes))


def load_model(folder: str | Path) -> Predictor:
    """A model of `finetune`, on the CPU: `selfsight.models.predictor.Predictor`."""
    from selfsight.models.predictor import Predictor

    return Predictor.load(folder)


def load(run: str | Path) -> Backbone:
    """The trained backbone of a run, in eval mode: ``(B, C, H, W)`` normalised -> ``(B, F)``."""
    from selfsight.runs.run import load_run

    return load_run(run).backbone()
