"""A training that has diverged: which images the first bad step saw, and where to go on from."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfsight.console import first_process
from selfsight.files import write_json
from selfsight.runs.checkpoint import whole
from selfsight.training.checkpoints import LAST, PREVIOUS
from selfsight.training.module import MethodModule
from selfsight.training.plan import Plan

NAME = "not_finite.json"
"""In the run folder: step, losses and row ids of the first step that was not finite."""


def diverged(plan: Plan, module: MethodModule, what: str) -> str:
    """The sentences for the user; writes the row ids of the first bad step beside the run.

    Args:
        plan: of the training.
        module: after the step at which it was noticed.
        what: is not finite: "The loss", "The weights".
    """
    step = module.first_bad_step or module.step
    path = plan.folder.path / NAME
    if first_process():
        content: dict[str, Any] = {
            "step": step,
            "what": what,
            "row_ids": rows_of(plan, module, step),
        }
        write_json(path, content)
    good = [plan.folder.checkpoints / name for name in (LAST, PREVIOUS)]
    start = next((str(path) for path in good if whole(path)), None)
    kept = (
        f" {start} holds the last good weights: a new run starts from them with --weights {start} "
        "--out ANOTHER."
        if start
        else ""
    )
    return (
        f"{what} not finite at step {step}; {path} names its images. Try a lower --optimizer.lr, "
        f"a longer --optimizer.warmup, or --precision fp32.{kept}"
    )


def rows_of(plan: Plan, module: MethodModule, step: int) -> list[str]:
    """Row ids of the images of a step, which counts from 1; ``pool i, row n`` of another pool."""
    loader = module.loader
    chosen = loader.rows_of(step - 1).numpy()
    starts = loader.starts.numpy()
    ids = []
    for part, place in zip(np.searchsorted(starts, chosen, side="right") - 1, chosen, strict=True):
        row = int(plan.parts[part][1][place - starts[part]])
        ids.append(str(plan.images.row_ids[row]) if part == 0 else f"pool {part}, row {row}")
    return ids
