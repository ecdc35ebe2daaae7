"""The preset `continue`: a short training that adds to published weights and keeps what they know.

About 60 steps with the early stages and the statistics of batch normalisation as they are, a small
learning rate for the backbone, and views of three quarters of the side. Longer, faster or freer
trainings lose more than they add. What it adds to three pooled stages of the weights as they are is
small: +0.2 points (-0.3 to +0.7) over five image sets (docs/starts.md). So `run` leaves published
weights as they are unless a training is asked for.
"""

from __future__ import annotations

from typing import Any

from selfsight.console import counted
from selfsight.method import Method, Optimizer, Preset
from selfsight.training.presets import updated_at_once
from selfsight.training.settings import Pretrain

STEPS = 60
BATCH = 64
SIDE = 0.75
"""Side of the views as a share of the images' side."""

RECIPE = Optimizer(
    name="adamw",
    lr=1e-3,
    base_batch_size=None,
    backbone_lr_factor=0.1,
    weight_decay=1e-4,
    warmup=0.1,
    final_lr=0.0,
)


_OF_A_TRAINING = frozenset({
    "method", "epochs", "steps", "batch_size", "pool", "preset", "freeze", "anchor", "batch_norm",
    "views", "devices", "nodes", "accumulate_batches",
})  # fmt: skip


def asks_for_training(settings: Pretrain) -> bool:
    """Whether the user gave a setting that is of a training and of nothing else."""
    groups = (settings.method, settings.optimizer, settings.supervision)
    inside = any(getattr(group, "model_fields_set", None) for group in groups)
    return inside or bool(_OF_A_TRAINING & settings.model_fields_set)


def left_alone(settings: Pretrain, source: str) -> tuple[Pretrain, list[str]]:
    """No training of published weights where none was asked for, and a sentence about it.

    Args:
        settings: as the user gave them.
        source: of the weights, see `selfsight.training.start.Beginning`.
    """
    if source != "published" or asks_for_training(settings):
        return settings, []
    said = (
        "The published weights stay as they are: over five image sets 60 more steps added +0.2 "
        f"points (-0.3 to +0.7). --preset continue trains them on your images ({STEPS} steps)."
    )
    return settings.updated({"epochs": 0}), [said]


def suits(settings: Pretrain, kind: type[Method], source: str) -> bool:
    """Whether a training takes the preset as it is described here.

    Args:
        settings: as the user gave them.
        kind: of the method; one that reads labels has a `continue` of its own or none.
        source: of the weights, see `selfsight.training.start.Beginning`.

    Raises:
        ValueError: it is asked for, and there are no weights to continue from.
    """
    if settings.preset == "continue" and source == "none":
        raise ValueError(
            "preset 'continue': it adds to weights, and the training starts from random ones; "
            "give --weights published, a file or a run."
        )
    wanted = settings.preset == "auto" and source == "published"
    return "labels" not in kind.needs and (wanted or settings.preset == "continue")


def continued(
    settings: Pretrain, kind: type[Method], count: int, *, batch_norm: bool = True
) -> tuple[Pretrain, list[str]]:
    """Settings with the preset's values wherever none was given, and a sentence.

    Args:
        settings: as the user gave them.
        kind: of the method; its own `continue` counts for optimizer, views and its own settings,
            else those of its `small` preset for the latter.
        count: images to train on.
        batch_norm: whether the network has any.
    """
    given = settings.model_fields_set
    small = kind.presets.get("small") or next(iter(kind.presets.values()))
    preset = kind.presets.get("continue") or Preset(optimizer=RECIPE, method=small.method)
    changes: dict[str, Any] = {"preset": "continue"}
    if settings.freeze == "auto":
        changes["freeze"] = "early" if settings.batch_norm != "trained" else "none"
    if settings.batch_norm == "auto":
        changes["batch_norm"] = "held"
    if "batch_size" not in given:
        changes["batch_size"] = max(2, min(BATCH, count))
    if not {"epochs", "steps"} & given:
        changes["steps"] = STEPS
    if settings.views is None:
        changes["views"] = tuple(
            view.updated({"size": view.size * SIDE}) if view.size <= 1.0 else view
            for view in preset.views or kind.views
        )
    for part in ("optimizer", "method"):
        now, recipe = getattr(settings, part), getattr(preset, part)
        for name in type(recipe).model_fields:
            if name not in now.model_fields_set:
                changes[f"{part}.{name}"] = getattr(recipe, name)
    if settings.freeze == "all_but_norms" and "optimizer.backbone_lr_factor" in changes:
        changes["optimizer.backbone_lr_factor"] = 1.0  # so few weights move little at less
    settings = updated_at_once(settings, changes)
    length = (
        counted(settings.steps, "step")
        if settings.steps
        else counted(settings.epochs or 0, "epoch")
    )
    frozen = {
        "early": "early stages frozen, ",
        "all_but_norms": "all but scale and shift of the normalisations frozen, ",
    }.get(settings.freeze, "")
    held = "batch-norm statistics held, " * (settings.batch_norm == "held" and batch_norm)
    return settings, [
        f"Preset continue: {length} of {counted(settings.batch_size or 0, 'image')}, "
        f"{frozen}{held}backbone at "
        f"{settings.optimizer.lr * (settings.optimizer.backbone_lr_factor or 1.0):g} "
        "(--steps or --epochs for longer, --epochs 0 for the weights as they are)."
    ]


def in_epochs(settings: Pretrain, count: int) -> Pretrain:
    """Settings whose epochs are those that the steps come to.

    Args:
        settings: with their final batch size.
        count: images to train on.
    """
    if settings.steps is None or settings.epochs == 0:
        return settings.updated({"steps": None})
    assert settings.batch_size is not None
    whole = max(1, count // settings.batch_size)
    return settings.updated({"epochs": max(1, round(settings.steps / whole))})
