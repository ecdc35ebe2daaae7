"""The verbs of the command line: what each takes, and what it prints; thin, one function a verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, cast

from selfsight.settings import Settings


@dataclass(frozen=True)
class Verb:
    """A command.

    Attributes:
        summary: one line of the overview.
        words: its positional words.
        settings: imports and returns its settings.
        run: does it; the exit code.
        method: how a method is named: as the first word, by ``--method``, or not at all.
    """

    summary: str
    words: str
    settings: Callable[[], type[Settings]]
    run: Callable[[Any], int]
    method: Literal["word", "flag", "none"] = "none"


def _class(module: str, name: str) -> Callable[[], type[Settings]]:
    """Settings that are imported when their verb is used."""
    return lambda: cast(type[Settings], getattr(import_module(module), name))


def _pretrain(settings: Any) -> int:
    from selfsight.training.pretrain import pretrain

    print(pretrain(settings).folder.path)
    return 0


def _run(settings: Any) -> int:
    from selfsight.pipeline import run

    page = run(settings)
    print(f"The report: {page}")
    return 0


def _evaluate(settings: Any) -> int:
    from selfsight.evaluation.protocol import evaluate

    print(evaluate(settings).table())
    return 0


def _suggest(settings: Any) -> int:
    from selfsight.labelling.suggest import suggest

    found = suggest(settings)
    print(f"{len(found.rows)} images to label: {found.folder / 'labels.csv'}")
    return 0


def _tune_probe(settings: Any) -> int:
    from selfsight.tuning.probe import tune_probe

    return _tuned(tune_probe(settings))


def _tune_pretrain(settings: Any) -> int:
    from selfsight.tuning.pretrain import tune_pretraining

    return _tuned(tune_pretraining(settings))


def _tune_finetune(settings: Any) -> int:
    from selfsight.tuning.finetune import tune_finetuning

    return _tuned(tune_finetuning(settings))


def _tuned(found: Any) -> int:
    if found is not None:
        print(found)
    return 0


def _finetune(settings: Any) -> int:
    from selfsight.models.finetune import finetune

    finetune(settings)
    print(settings.out)
    return 0


def _predict(settings: Any) -> int:
    from selfsight.models.predict import predict

    print(predict(settings))
    return 0


def _embed(settings: Any) -> int:
    from selfsight.models.embed import embed

    print(embed(settings))
    return 0


def _export(settings: Any) -> int:
    from selfsight.exporting.export import export

    found = export(settings)
    print(f"{found.path}\n{found.said}")
    return 0


def _report(settings: Any) -> int:
    from selfsight.reporting.page import write_report

    print(f"The report: {write_report(settings.runs, settings.out)}")
    return 0


def _audit(settings: Any) -> int:
    from selfsight.reporting.auditing import audit

    page, found = audit(settings)
    for crossing in found.crossings:
        print(crossing.what)
    print(f"The audit: {page}")
    return 1 if found.crossings else 0


VERBS: dict[str, Verb] = {
    "audit": Verb(
        "Look for what crosses the splits, duplicates, and broken or blank images.",
        "DATA",
        _class("selfsight.reporting.auditing", "AuditData"),
        _audit,
    ),
    "run": Verb(
        "Pretrain, evaluate and report, in one go.",
        "DATA",
        _class("selfsight.pipeline", "Pipeline"),
        _run,
        "flag",
    ),
    "pretrain": Verb(
        "Train a backbone on unlabelled images.",
        "METHOD DATA",
        _class("selfsight.training.settings", "Pretrain"),
        _pretrain,
        "word",
    ),
    "evaluate": Verb(
        "Measure a run beside its controls, with few labels and all of them.",
        "RUN [DATA]",
        _class("selfsight.evaluation.protocol", "Evaluate"),
        _evaluate,
    ),
    "suggest": Verb(
        "Pick the images whose labels will help most, and write a table to fill in.",
        "RUN [DATA]",
        _class("selfsight.labelling.suggest", "Suggest"),
        _suggest,
    ),
    "tune probe": Verb(
        "Search the classifier on a run's representations; read test once, with the best.",
        "RUN",
        _class("selfsight.tuning.probe", "TuneProbe"),
        _tune_probe,
    ),
    "tune pretrain": Verb(
        "Search a pretraining's settings, ending early what will not win.",
        "METHOD DATA",
        _class("selfsight.tuning.pretrain", "TunePretraining"),
        _tune_pretrain,
        "word",
    ),
    "tune finetune": Verb(
        "Search how a run's backbone is fine-tuned; read test once, with the best.",
        "RUN [DATA]",
        _class("selfsight.tuning.finetune", "TuneFinetuning"),
        _tune_finetune,
    ),
    "finetune": Verb(
        "Fit a run to labels, all of its weights or a head, and write a model folder.",
        "RUN [DATA]",
        _class("selfsight.models.finetune", "Finetune"),
        _finetune,
    ),
    "predict": Verb(
        "Predict classes, labels or numbers of images with a model.",
        "MODEL IMAGES",
        _class("selfsight.models.predict", "Predict"),
        _predict,
    ),
    "embed": Verb(
        "Write the representations of images.",
        "RUN IMAGES",
        _class("selfsight.models.embed", "Embed"),
        _embed,
    ),
    "export": Verb(
        "Write a run or a model as ONNX, or as a state dict of torchvision, timm, transformers.",
        "RUN",
        _class("selfsight.exporting.export", "Export"),
        _export,
    ),
    "report": Verb(
        "Write one self-contained page on one run, or on several side by side.",
        "RUN...",
        _class("selfsight.reporting.settings", "Report"),
        _report,
    ),
}
