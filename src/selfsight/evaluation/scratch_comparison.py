"""Fine-tuning beside training from scratch, each kept in the run: a stopped evaluation goes on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress, say
from selfsight.evaluation.controls import Material
from selfsight.files import cached_arrays
from selfsight.fitting.finetune import FineTuning, Start, fine_tune
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.representations import cache_key, weights_key

SUBJECTS = ("trained", "scratch")


def start_of(material: Material, subject: str, seed: int) -> Start:
    """The run's weights, or fresh ones of the seed for ``scratch``."""
    run = material.run
    backbone = (
        run.untrained(seed)
        if subject == "scratch"
        else run.backbone(allow_code=material.allow_code)
    )
    return Start(backbone, run.statistics, material.device)


def fine_tuned(
    material: Material, subject: str, subset: Subset, rows: Rows, settings: FineTuning
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Fine-tunes, unless the run's folder has it already.

    Args:
        material: the run that is measured.
        subject: one of `SUBJECTS`.
        subset: what may be read.
        rows: ``(M,)`` scored rows.
        settings: of the training; both subjects search alike.

    Returns:
        ``(M, K)`` predictions, and what was chosen.
    """
    start = start_of(material, subject, subset.seed)
    key = cache_key(
        weights_key(start.backbone),
        material.images.fingerprint(material.rows),
        start.statistics,
        settings.plain(),
        subset.target.name,
        subset.values.tobytes(),
        material.images.row_ids[subset.rows].tolist(),
        material.images.row_ids[rows].tolist(),
        subset.seed,
    )

    def make() -> dict[str, NDArray[Any]]:
        say(f"fine-tuning on {len(subset):,} labels, draw {subset.seed}: {subject}")
        with progress(f"fine-tuning, {subject}"):
            result = fine_tune(start, subset, settings)
        choice = dict(result.choice)
        if result.thresholds is not None:
            choice["thresholds"] = result.thresholds.tolist()
        output = result.predict(material.images, rows)
        return {"output": output, "choice": np.array(json.dumps(choice))}

    arrays = cached_arrays(material.cache / f"finetune-{subject}-{key}.npz", make)
    return arrays["output"], json.loads(str(arrays["choice"]))
