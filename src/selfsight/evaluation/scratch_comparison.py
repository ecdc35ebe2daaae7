"""Fine-tuning beside that of the start and training from scratch, each kept in the run.

An evaluation that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress, say
from selfsight.evaluation.material import Material
from selfsight.evaluation.subject import Representation
from selfsight.files import cached_arrays
from selfsight.fitting.finetune import Start
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.representation_cache import cache_key, weights_key
from selfsight.fitting.search import fine_tune
from selfsight.training.start import kept_start


def fine_tuned_subjects(found: Collection[str]) -> tuple[str, ...]:
    """What is fine-tuned: the run, the start where it is among the subjects, and fresh weights."""
    return ("trained", *(name for name in ("start",) if name in found), "scratch")


def start_of(material: Material, subject: str, seed: int, kind: Representation) -> Start:
    """The weights to begin with: the run's, those of its start, or fresh ones of the seed.

    Args:
        material: the run that is measured.
        subject: one of `fine_tuned_subjects`.
        seed: of fresh weights.
        kind: what the head is put on; fresh weights always give the network's output.
    """
    run, device = material.run, material.device
    if subject == "scratch":
        return Start(run.untrained(seed), run.statistics, device)
    if subject == "start":
        backbone = kept_start(run.folder, allow_code=material.allow_code)
        assert backbone is not None
        start = Start(backbone, run.statistics, device, run.started_published)
    else:
        start = Start.of_run(run, device, allow_code=material.allow_code)
    material.shape(start.backbone, kind, run)
    return start


def fine_tuned(
    material: Material,
    subject: str,
    subset: Subset,
    rows: Rows,
    settings: FineTuning,
    kind: Representation,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Fine-tunes, unless the run's folder has it already.

    Args:
        material: the run that is measured.
        subject: one of `fine_tuned_subjects`.
        subset: what may be read.
        rows: ``(M,)`` scored rows.
        settings: of the training; all subjects search alike.
        kind: see `start_of`.

    Returns:
        ``(M, K)`` predictions, and what was chosen.
    """
    start = start_of(material, subject, subset.seed, kind)
    key = cache_key(
        weights_key(start.backbone),
        material.fingerprint,
        start.statistics,
        settings.plain(),
        start.published,
        subset.target.name,
        subset.values.tobytes(),
        material.images.row_ids[subset.rows].tolist(),
        material.images.row_ids[rows].tolist(),
        subset.seed,
    )

    def make() -> dict[str, NDArray[Any]]:
        say(f"fine-tuning on {counted(len(subset), 'label')}, draw {subset.seed}: {subject}")
        with progress(f"fine-tuning, {subject}"):
            result = fine_tune(start, subset, settings)
        choice = dict(result.choice)
        if result.thresholds is not None:
            choice["thresholds"] = result.thresholds.tolist()
        output = result.predict(material.images, rows)
        return {"output": output, "choice": np.array(json.dumps(choice))}

    arrays = cached_arrays(material.cache / f"finetune-{subject}-{key}.npz", make)
    return arrays["output"], json.loads(str(arrays["choice"]))
