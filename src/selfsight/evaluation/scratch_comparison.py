"""Fine-tuning beside training from scratch, at each fraction and label draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import duration, say
from selfsight.data.imageset import Target
from selfsight.data.splits import few_labels
from selfsight.evaluation.controls import Material
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.results import Results, Row
from selfsight.evaluation.summary import Scores, record
from selfsight.files import cached_arrays
from selfsight.fitting.finetune import FineTuning, Labelled, fine_tune, seconds_of_a_step
from selfsight.fitting.metrics import Floats
from selfsight.fitting.representations import cache_key, weights_key
from selfsight.fitting.tasks import score
from selfsight.networks.backbones import Backbone


@dataclass(frozen=True)
class Wanted:
    """What is fine-tuned and where it is scored.

    Attributes:
        target: of the images.
        rows: ``(M,)`` scored rows.
        weights: ``(1 + B, M)`` of the bootstrap.
        place: data, task, target, split.
        fractions, draws, seed: of the labels.
        settings: of the training.
    """

    target: Target
    rows: NDArray[np.int64]
    weights: Floats
    place: Row
    fractions: Sequence[float]
    draws: int
    seed: int
    settings: FineTuning


def finetuned(
    results: Results, predictions: Predictions, material: Material, wanted: Wanted
) -> list[Scores]:
    """Scores of ``finetune`` from the trained weights and from scratch, tuned alike.

    Each training is kept in the run, so that an evaluation that was stopped goes on.
    """
    scores: list[Scores] = []
    images = material.images
    data = images.fingerprint(material.rows)
    for number, fraction in enumerate(wanted.fractions):
        here = {name: Scores("finetune", name, fraction) for name in ("trained", "scratch")}
        for draw in range(1 if fraction == 1.0 else wanted.draws):
            seed = wanted.seed + draw
            drawn = few_labels(wanted.target, images.rows("train"), fraction, seed, images.groups)
            labelled = Labelled(
                images, wanted.target, drawn, material.run.statistics, material.device, seed
            )
            if number == draw == 0:
                say(_estimate(material, labelled, wanted))
            for name, found in here.items():
                about = {
                    **wanted.place,
                    "probe": "finetune",
                    "subject": name,
                    "label_fraction": fraction,
                    "num_labels": len(drawn),
                    "label_seed": seed,
                }
                output, choice = _kept(material, labelled, wanted, name, data)
                thresholds = np.array(choice["thresholds"]) if "thresholds" in choice else None
                values = score(wanted.target, output, wanted.rows, wanted.weights, thresholds)
                record(results, about, values)
                results.choices.append({**about, "choice": choice})
                predictions.add(about, wanted.rows, output, keep=draw == 0)
                found.num_labels = len(drawn)
                found.of_draw.append(values)
        scores += here.values()
    return scores


def _start(material: Material, name: str, seed: int) -> Backbone:
    if name == "scratch":
        return material.run.untrained(seed)
    return material.run.backbone(allow_code=material.allow_code)


def _kept(
    material: Material, labelled: Labelled, wanted: Wanted, name: str, data: str
) -> tuple[NDArray[np.float32], Row]:
    """Predictions on the scored rows and the choice, trained unless they are in the run."""
    start = _start(material, name, labelled.seed)
    key = cache_key(
        weights_key(start),
        data,
        labelled.statistics,
        wanted.settings.plain(),
        labelled.target.name,
        labelled.target.values[labelled.rows].tobytes(),
        material.images.row_ids[labelled.rows].tolist(),
        material.images.row_ids[wanted.rows].tolist(),
        labelled.seed,
    )

    def make() -> dict[str, NDArray[Any]]:
        say(f"fine-tuning on {len(labelled.rows):,} labels, draw {labelled.seed}: {name}")
        found = fine_tune(start, labelled, wanted.settings)
        choice = dict(found.choice)
        if found.thresholds is not None:
            choice["thresholds"] = found.thresholds.tolist()
        output = found.predict(material.images, wanted.rows, labelled.statistics)
        return {"output": output.numpy(), "choice": np.array(json.dumps(choice))}

    arrays = cached_arrays(material.cache / f"finetune-{name}-{key}.npz", make)
    return arrays["output"], json.loads(str(arrays["choice"]))


def _estimate(material: Material, labelled: Labelled, wanted: Wanted) -> str:
    """What the trainings will take at most, said before they begin."""
    step = seconds_of_a_step(_start(material, "trained", 0), labelled, wanted.settings)
    known = int(wanted.target.known[material.images.rows("train")].sum())
    steps = 0
    for fraction in wanted.fractions:
        draws = 1 if fraction == 1.0 else wanted.draws
        longest = wanted.settings.steps(max(2, round(fraction * known)))
        steps += 2 * draws * longest * (len(wanted.settings.rates) + 1)
    return (
        f"fine-tuning and training from scratch: {steps:,} steps at most, "
        f"{duration(steps * step)} on this machine ({torch.get_num_threads()} threads)."
    )
