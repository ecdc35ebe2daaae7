"""The verb `run`: pretrain, evaluate, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from selfsight.console import counted, say
from selfsight.data import request
from selfsight.data.options import DataOptions, Images
from selfsight.data.splits import LabelFraction
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.markup import lines
from selfsight.networks.specs import code_file
from selfsight.reporting.report import write_report
from selfsight.runs.run import Run
from selfsight.training.device import choose_device
from selfsight.training.settings import Pretrain
from selfsight.training.start import backbone_named, check_code
from selfsight.training.trackers import publish


class Pipeline(Pretrain):
    """Take published weights or train a backbone, measure it beside its controls with few labels
    and all of them, and write one report page.
    """

    fractions: tuple[LabelFraction, ...] = (0.01, 0.1, 1.0)
    """Shares of the training labels that the probes get."""
    draws: Annotated[int, Field(ge=1)] | None = None
    """Draws of the labels at each share below 1; see `evaluate`."""
    allow_code: bool = False
    """Run the file.py:build of the backbone again for the evaluation."""


@dataclass(frozen=True)
class RunOutcome:
    """What `run` leaves.

    Attributes:
        run: the finished run.
        results: of its evaluation.
        page: path of its report.
    """

    run: Run
    results: Results
    page: Path

    def __str__(self) -> str:
        return f"{self.results}\nThe report: {self.page}"

    def _repr_html_(self) -> str:
        """The results and where the page is, for notebooks."""
        return self.results._repr_html_() + lines([f"The report: {self.page}"])


def run(settings: Pipeline, images: Images | None = None) -> RunOutcome:
    """A backbone for ``settings.data``, evaluated beside controls, and its report.

    Published weights, where they are taken, stay as they are unless ``settings`` asks for a
    training (`selfsight.training.continuing.asks_for_training`). Without them a method trains
    random ones.

    Args:
        settings: of the training, and the shares and draws of the evaluation.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        The run, its results and the path of its page.

    Raises:
        ValueError: see `pretrain` and `evaluate`.
    """
    alone = "`selfsight pretrain` alone"
    backbone = backbone_named(settings)
    check_code(backbone, allowed=settings.allow_code, instead=alone)
    fields = Pretrain.model_fields
    training = Pretrain(**{name: getattr(settings, name) for name in fields})
    training = training.marked(settings.model_fields_set & fields.keys())
    if code_file(backbone) is not None:  # of the run that it starts from, and allowed
        training = training.updated({"backbone": backbone})
    choose_device(settings.device)  # a device that is not there is said before anything else
    shares = ", ".join(f"{100 * share:g} %" for share in settings.fractions)
    say(
        f"First the backbone, then probes on {shares} of the labels "
        f"({counted(settings.draws or 5, 'draw')} of each share) beside controls, then the report."
    )
    # Lightning takes seconds to import, and help shows these settings without it.
    from selfsight.training.pretrain import pretrain

    opened = None if images is None else request.open(training, images)
    finished = pretrain(training, opened, trains=False)
    path = str(finished.folder.path)
    evaluation = Evaluate(
        run=path,
        fractions=settings.fractions,
        draws=settings.draws,
        device=settings.device,
        allow_code=settings.allow_code,
        **{name: getattr(settings, name) for name in DataOptions.model_fields},
    )
    results = evaluate(evaluation, opened)
    page = write_report([path])
    publish(finished.folder)
    return RunOutcome(finished, results, page)
