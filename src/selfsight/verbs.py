"""The verbs: one table for the command line and the Python API.

A verb is a function that takes the verb's settings, and images that are open already where it
reads images. What it returns knows its own text (``str``) and, where it is not 0, its exit code
(``exit_code``). The table names settings and function by ``module:name``, so that a verb is
imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from selfsight.plugins import is_file, module_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from selfsight.settings import Settings


class Verb(NamedTuple):
    """A verb.

    Attributes:
        name: of the command; two words for one of a family.
        words: its positional words.
        settings: their class, or ``module:name``.
        function: that does it, or ``module:name``.
        summary: one line of the overview, at most 46 characters.
        method: how a method is named: as the first word, by ``--method``, or not at all.
    """

    name: str
    words: str
    settings: str | type[Settings]
    function: str | Callable[..., Any]
    summary: str
    method: Literal["word", "flag", "none"] = "none"

    @property
    def settings_class(self) -> type[Settings]:
        kind: type[Settings] = _resolved(self.settings)
        return kind

    @property
    def call(self) -> Callable[..., Any]:
        function: Callable[..., Any] = _resolved(self.function)
        return function


_TABLE = (
    Verb(
        "audit",
        "DATA",
        "selfsight.labelling.audit:AuditImages",
        "selfsight.labelling.audit:audit_images",
        "Find leaks, copies, bad files, wrong labels.",
    ),
    Verb(
        "compare-starts",
        "DATA [START...]",
        "selfsight.models.starts:CompareStarts",
        "selfsight.models.starts:compare_starts",
        "Rank the weights a training can start from.",
    ),
    Verb(
        "run",
        "DATA",
        "selfsight.pipeline:Pipeline",
        "selfsight.pipeline:run",
        "Backbone, evaluation and report, in one go.",
        "flag",
    ),
    Verb(
        "pretrain",
        "METHOD DATA",
        "selfsight.training.settings:Pretrain",
        "selfsight.training.pretrain:pretrain",
        "Train a backbone on unlabelled images.",
        "word",
    ),
    Verb(
        "evaluate",
        "[RUN] [DATA]",
        "selfsight.evaluation.settings:Evaluate",
        "selfsight.models.scoring:evaluate",
        "Measure a run or a model beside its controls.",
    ),
    Verb(
        "suggest",
        "RUN [DATA]",
        "selfsight.labelling.suggest:Suggest",
        "selfsight.labelling.suggest:suggest",
        "Pick the images to label next.",
    ),
    Verb(
        "tune probe",
        "RUN [DATA]",
        "selfsight.tuning.probe:TuneProbe",
        "selfsight.tuning.probe:tune_probe",
        "Search the classifier on a frozen backbone.",
    ),
    Verb(
        "tune pretrain",
        "METHOD DATA",
        "selfsight.tuning.pretraining_settings:TunePretraining",
        "selfsight.tuning.pretrain:tune_pretraining",
        "Search the settings of a pretraining.",
        "word",
    ),
    Verb(
        "tune finetune",
        "RUN [DATA]",
        "selfsight.tuning.finetune:TuneFinetuning",
        "selfsight.tuning.finetune:tune_finetuning",
        "Search the settings of a fine-tuning.",
    ),
    Verb(
        "finetune",
        "RUN [DATA]",
        "selfsight.models.finetune:Finetune",
        "selfsight.models.finetune:finetune",
        "Fit a run to labels; write a model folder.",
    ),
    Verb(
        "predict",
        "MODEL IMAGES",
        "selfsight.models.predict:Predict",
        "selfsight.models.predict:predict",
        "Predict the targets of images with a model.",
    ),
    Verb(
        "embed",
        "RUN IMAGES",
        "selfsight.models.embed:Embed",
        "selfsight.models.embed:embed",
        "Write the representations of images.",
    ),
    Verb(
        "index",
        "RUN [IMAGES]",
        "selfsight.neighbours.build:IndexImages",
        "selfsight.neighbours.build:index",
        "Represent images once, to search them.",
    ),
    Verb(
        "merge",
        "OUT",
        "selfsight.merging:Merge",
        "selfsight.merging:merge",
        "Join the parts that --shard wrote.",
    ),
    Verb(
        "search",
        "INDEX QUERY...",
        "selfsight.neighbours.query:SearchIndex",
        "selfsight.neighbours.query:search",
        "Find the images that look most like a query.",
    ),
    Verb(
        "pairs",
        "INDEX",
        "selfsight.neighbours.pairs:ComparePairs",
        "selfsight.neighbours.pairs:pairs",
        "Judge pairs of images, or list similar ones.",
    ),
    Verb(
        "cluster",
        "INDEX",
        "selfsight.neighbours.clusters:ClusterImages",
        "selfsight.neighbours.clusters:cluster",
        "Group images by similarity, find duplicates.",
    ),
    Verb(
        "explore",
        "RUN|INDEX",
        "selfsight.neighbours.explore:Explore",
        "selfsight.neighbours.explore:explore",
        "Look at all images on one map.",
    ),
    Verb(
        "export",
        "RUN",
        "selfsight.exporting.export:Export",
        "selfsight.exporting.export:export",
        "Write a run or a model as ONNX or state dict.",
    ),
    Verb(
        "report",
        "RUN...",
        "selfsight.reporting.report:Report",
        "selfsight.reporting.report:report",
        "Write one HTML page on one or several runs.",
    ),
    Verb(
        "list-methods",
        "",
        "selfsight.catalogue:ListMethods",
        "selfsight.catalogue:list_methods",
        "List the methods: paper, needs, cost.",
    ),
    Verb(
        "cache",
        "",
        "selfsight.data.pixels.inventory:Cache",
        "selfsight.data.pixels.inventory:cache",
        "List decoded images and weights; clean up.",
    ),
    Verb(
        "completion",
        "SHELL",
        "selfsight.completions:Completion",
        "selfsight.completions:completion",
        "Print completions for bash, zsh or fish.",
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _TABLE}
"""In the order of the overview."""


def verb_named(name: str) -> Verb:
    """A verb of the table, or the ``VERB`` of a file of the user's own (``./count.py``).

    Raises:
        ValueError: there is no such verb.
    """
    if is_file(name):
        verb = getattr(module_at(name, "verb"), "VERB", None)
        if not isinstance(verb, Verb):
            raise ValueError(f"verb {name}: the file must define VERB, a selfsight.verbs.Verb.")
        return verb
    if name not in VERBS:
        from selfsight.settings import unknown

        raise unknown("command", name, VERBS)
    return VERBS[name]


def _resolved(reference: Any) -> Any:
    if not isinstance(reference, str):
        return reference
    from importlib import import_module

    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
