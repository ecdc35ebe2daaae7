"""The preset `continue`: a short training that adds to published weights and keeps what they know.

About 60 steps with the early stages and the statistics of batch normalisation as they are, a small
learning rate for the backbone, and views of three quarters of the side. Longer, faster or freer
trainings lose more than they add (see docs/starts.md).
"""

from __future__ import annotations

from typing import Any

from selfsight.method import Method, Optimizer
from selfsight.settings import Settings
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


def suits(settings: Pretrain, kind: type[Method], source: str) -> bool:
    """Whether a training takes the preset.

    Args:
        settings: as the user gave them.
        kind: of the method.
        source: of the weights, see `selfsight.training.start.Beginning`.

    Raises:
        ValueError: it is asked for, and there are no weights to continue from.
    """
    if settings.preset == "continue":
        if source == "none":
            raise ValueError(
                "preset 'continue': it adds to weights, and the training starts from random ones; "
                "give --weights published, a file or a run."
            )
        return True
    return settings.preset == "auto" and source == "published" and not kind.needs_labels


def continued(settings: Pretrain, kind: type[Method], count: int) -> tuple[Pretrain, list[str]]:
    """Settings with the preset's values wherever none was given, and a sentence.

    Args:
        settings: as the user gave them.
        kind: of the method.
        count: images to train on.
    """
    given = settings.model_fields_set
    changes: dict[str, Any] = {"preset": "continue"}
    if settings.freeze == "auto":
        changes["freeze"] = "early"
    if settings.batch_norm == "auto":
        changes["batch_norm"] = "held"
    if "batch_size" not in given:
        changes["batch_size"] = max(2, min(BATCH, count))
    if not {"epochs", "steps"} & given:
        changes["steps"] = STEPS
    if settings.views is None:
        changes["views"] = tuple(
            view.updated({"size": view.size * SIDE}) if view.size <= 1.0 else view
            for view in kind.views
        )
    changes |= _open("optimizer", settings.optimizer, kind.optimizer, RECIPE.plain())
    small = dict(kind.small.get("method", {}))
    changes |= _open("method", settings.method, kind.Settings(), small)
    for name, value in changes.items():
        settings = settings.updated({name: value})
    length = f"{settings.steps} steps" if settings.steps else f"{settings.epochs} epochs"
    frozen = "early stages frozen, " if settings.freeze == "early" else ""
    held = "batch-norm statistics held, " if settings.batch_norm == "held" else ""
    return settings, [
        f"Preset continue: {length} of {settings.batch_size} images, {frozen}{held}backbone at "
        f"{settings.optimizer.lr * (settings.optimizer.backbone_lr_factor or 1.0):g} "
        "(--steps or --epochs for longer, --epochs 0 for the weights as they are)."
    ]


def _open(part: str, now: Settings, papers: Settings, recipe: dict[str, Any]) -> dict[str, Any]:
    """What the recipe changes of a part: only what the user left at the method's own value."""
    return {
        f"{part}.{name}": value
        for name, value in recipe.items()
        if getattr(now, name) == getattr(papers, name) != value
    }


def in_epochs(settings: Pretrain, count: int) -> Pretrain:
    """Settings whose epochs are those that the steps come to.

    Args:
        settings: with their final batch size.
        count: images to train on.
    """
    if settings.steps is None or settings.epochs == 0:
        return settings.updated({"steps": None})
    whole = max(1, count // settings.batch_size)
    return settings.updated({"epochs": max(1, round(settings.steps / whole))})
