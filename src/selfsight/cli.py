"""The verbs as commands: thin, one function a verb.

Flags are made from the settings of the verb; its first words are positional; ``--settings
file.yaml`` gives other defaults, which flags override.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from selfsight.settings import Settings, read_yaml, sentence, unknown


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code is 0, 1 where something was found, or 2 for bad input."""
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        from selfsight import __version__

        print(f"selfsight {__version__}")
        return 0
    if words[1:] in ([], ["-h"], ["--help"]) and (inner := _inner(words[0])):
        print(_table(inner))
        return 0
    from pydantic import ValidationError

    try:
        name, rest = _verb(words)
        return VERBS[name].run(parsed(name, rest))
    except ValidationError as error:
        print(f"selfsight: {sentence(error)}", file=sys.stderr)
    except ValueError as error:
        print(f"selfsight: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("selfsight: stopped.", file=sys.stderr)
        return 130
    return 2


def overview() -> str:
    """What ``selfsight --help`` prints; imports no torch."""
    from selfsight.methods import method_names

    return "\n".join(
        [
            "selfsight: image representations from unlabelled images, proved with few labels.",
            "",
            _table(VERBS),
            "",
            f"METHOD is {', '.join(method_names())}, or a file of your own (./mine.py).",
            "DATA is a folder of images, Parquet, CSV, .npy, .npz, HDF5, .tar, hf:owner/name,",
            "or `digits` (docs/data.md).",
            "`selfsight VERB --help` lists the settings, `selfsight pretrain METHOD --help` also",
            "those of the method.",
        ]
    )


def parsed(name: str, words: list[str]) -> Settings:
    """The settings of a verb from its words: defaults, then the YAML file, then flags.

    Raises:
        ValueError: a YAML file or a method that cannot be used.
        SystemExit: flags that do not fit (code 2), or ``--help`` (code 0).
    """
    import tyro

    verb = VERBS[name]
    words, file = _taken(words, "--settings")
    changes = {} if file is None else read_yaml(file)
    base = kind = verb.settings()
    program = f"selfsight {name}"
    if verb.method != "none":
        from selfsight.training.settings import Pretrain, typed

        assert issubclass(base, Pretrain)
        method, words, changes = _method(verb, words, changes)
        kind = typed(method, base)
        program += f" {method}" * (verb.method == "word")
    if changes:
        kind = kind.with_defaults(changes)
    found = tyro.cli(
        kind,
        args=words,
        prog=program,
        config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.AvoidSubcommands),
    )
    # The class made for the command line cannot be pickled; the plain one can.
    return base(**{field: getattr(found, field) for field in base.model_fields})


def _verb(words: list[str]) -> tuple[str, list[str]]:
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in VERBS:
            return name, words[length:]
    if inner := _inner(words[0]):
        raise unknown("command", " ".join(words[:2]), inner)
    raise unknown("command", words[0], VERBS)


def _inner(word: str) -> list[str]:
    """The verbs of two words that begin with this one."""
    return [name for name in VERBS if name.startswith(f"{word} ")]


def _table(names: Collection[str]) -> str:
    """A line a verb."""
    width = max(len(f"{name} {VERBS[name].words}") for name in names)
    return "\n".join(
        f"  {f'{name} {VERBS[name].words}':<{width}}  {VERBS[name].summary}" for name in names
    )


def _taken(words: list[str], flag: str) -> tuple[list[str], str | None]:
    """``words`` without a flag, and its value."""
    for i, word in enumerate(words):
        if word == flag:
            if i + 1 == len(words):
                raise ValueError(f"{flag} needs a value.")
            return [*words[:i], *words[i + 2 :]], words[i + 1]
        if word.startswith(flag + "="):
            return [*words[:i], *words[i + 1 :]], word.partition("=")[2]
    return words, None


def _method(
    verb: Verb, words: list[str], changes: Mapping[str, Any]
) -> tuple[str, list[str], dict[str, Any]]:
    """The method's name, from the words or the YAML file; the words and changes without it."""
    rest = dict(changes)
    inner = rest.pop("method", None)
    from_file = inner if isinstance(inner, str) else (inner or {}).get("name")
    if verb.method == "flag":
        words, given = _taken(words, "--method")
        name = given or from_file or "simclr"
    elif words and not words[0].startswith("-"):
        name, words = words[0], words[1:]
    elif from_file:
        name = from_file
    elif {"-h", "--help"} & set(words):
        name = "simclr"
    else:
        from selfsight.methods import method_names

        raise ValueError(f"pretrain needs a METHOD: {', '.join(method_names())}, or ./mine.py.")
    if from_file not in (None, name):
        raise ValueError(f"the settings file is for method {from_file!r}, not for {name!r}.")
    if isinstance(inner, Mapping):
        values = {key: value for key, value in inner.items() if key != "name"}
        if values:
            rest["method"] = values
    return str(name), words, rest


def _pretrain_settings() -> type[Settings]:
    from selfsight.training.settings import Pretrain

    return Pretrain


def _pretrain(settings: Any) -> int:
    from selfsight.training.pretrain import pretrain

    print(pretrain(settings).folder.path)
    return 0


def _run_settings() -> type[Settings]:
    from selfsight.pipeline import Pipeline

    return Pipeline


def _run(settings: Any) -> int:
    from selfsight.pipeline import run

    page = run(settings)
    print(f"The report: {page}")
    return 0


def _evaluate_settings() -> type[Settings]:
    from selfsight.evaluation.protocol import Evaluate

    return Evaluate


def _evaluate(settings: Any) -> int:
    from selfsight.evaluation.protocol import evaluate

    print(evaluate(settings).table())
    return 0


def _suggest_settings() -> type[Settings]:
    from selfsight.labelling.suggesting import Suggest

    return Suggest


def _suggest(settings: Any) -> int:
    from selfsight.labelling.suggesting import suggest

    found = suggest(settings)
    print(f"{len(found.rows)} images to label: {found.folder / 'labels.csv'}")
    return 0


def _tune_probe_settings() -> type[Settings]:
    from selfsight.tuning.probe import TuneProbe

    return TuneProbe


def _tune_probe(settings: Any) -> int:
    from selfsight.tuning.probe import tune_probe

    return _tuned(tune_probe(settings))


def _tune_pretrain_settings() -> type[Settings]:
    from selfsight.tuning.pretraining import TunePretraining

    return TunePretraining


def _tune_pretrain(settings: Any) -> int:
    from selfsight.tuning.pretraining import tune_pretraining

    return _tuned(tune_pretraining(settings))


def _tune_finetune_settings() -> type[Settings]:
    from selfsight.tuning.finetuning import TuneFinetuning

    return TuneFinetuning


def _tune_finetune(settings: Any) -> int:
    from selfsight.tuning.finetuning import tune_finetuning

    return _tuned(tune_finetuning(settings))


def _tuned(found: Any) -> int:
    if found is not None:
        print(found.text())
        print(f"The study: {found.folder / 'report.html'}")
    return 0


def _finetune_settings() -> type[Settings]:
    from selfsight.predicting.finetuning import Finetune

    return Finetune


def _finetune(settings: Any) -> int:
    from selfsight.predicting.finetuning import finetune

    finetune(settings)
    print(settings.out)
    return 0


def _predict_settings() -> type[Settings]:
    from selfsight.predicting.prediction import Predict

    return Predict


def _predict(settings: Any) -> int:
    from selfsight.predicting.prediction import predict

    print(predict(settings))
    return 0


def _embed_settings() -> type[Settings]:
    from selfsight.predicting.embedding import Embed

    return Embed


def _embed(settings: Any) -> int:
    from selfsight.predicting.embedding import embed

    print(embed(settings))
    return 0


def _export_settings() -> type[Settings]:
    from selfsight.exporting.writing import Export

    return Export


def _export(settings: Any) -> int:
    from selfsight.exporting.writing import export

    found = export(settings)
    print(f"{found.path}\n{found.said}")
    return 0


def _report_settings() -> type[Settings]:
    from selfsight.reporting.settings import Report

    return Report


def _report(settings: Any) -> int:
    from selfsight.reporting.page import write_report

    print(f"The report: {write_report(settings.runs, settings.out)}")
    return 0


def _audit_settings() -> type[Settings]:
    from selfsight.reporting.auditing import AuditData

    return AuditData


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
        _audit_settings,
        _audit,
    ),
    "run": Verb("Pretrain, evaluate and report, in one go.", "DATA", _run_settings, _run, "flag"),
    "pretrain": Verb(
        "Train a backbone on unlabelled images.",
        "METHOD DATA",
        _pretrain_settings,
        _pretrain,
        "word",
    ),
    "evaluate": Verb(
        "Measure a run beside its controls, with few labels and all of them.",
        "RUN [DATA]",
        _evaluate_settings,
        _evaluate,
    ),
    "suggest": Verb(
        "Pick the images whose labels will help most, and write a table to fill in.",
        "RUN [DATA]",
        _suggest_settings,
        _suggest,
    ),
    "tune probe": Verb(
        "Search the classifier on a run's representations; read test once, with the best.",
        "RUN",
        _tune_probe_settings,
        _tune_probe,
    ),
    "tune pretrain": Verb(
        "Search a pretraining's settings, ending early what will not win.",
        "METHOD DATA",
        _tune_pretrain_settings,
        _tune_pretrain,
        "word",
    ),
    "tune finetune": Verb(
        "Search how a run's backbone is fine-tuned; read test once, with the best.",
        "RUN [DATA]",
        _tune_finetune_settings,
        _tune_finetune,
    ),
    "finetune": Verb(
        "Fit a run to labels, all of its weights or a head, and write a model folder.",
        "RUN [DATA]",
        _finetune_settings,
        _finetune,
    ),
    "predict": Verb(
        "Predict classes, labels or numbers of images with a model.",
        "MODEL IMAGES",
        _predict_settings,
        _predict,
    ),
    "embed": Verb(
        "Write the representations of images.",
        "RUN IMAGES",
        _embed_settings,
        _embed,
    ),
    "export": Verb(
        "Write a run or a model as ONNX, or as a state dict of torchvision, timm, transformers.",
        "RUN",
        _export_settings,
        _export,
    ),
    "report": Verb(
        "Write one self-contained page on one run, or on several side by side.",
        "RUN...",
        _report_settings,
        _report,
    ),
}
