"""A method's presets: which one a training takes, and what it fills in."""

from __future__ import annotations

from typing import Any

from selfsight.console import counted
from selfsight.method import Method, Preset
from selfsight.methods import METHODS
from selfsight.training.settings import Pretrain, method_name
from selfsight.views.presets import SMALL, TINY

BATCH, EPOCHS = 256, 100
"""Of a training for which the user gives none."""
MIN_STEPS = 1000
"""Steps that such a training has at least."""


def with_preset(settings: Pretrain, side: int) -> tuple[Pretrain, list[str]]:
    """Settings with everything that was not given taken from a preset, which they then name.

    Args:
        settings: as the user gave them; what was given is left alone.
        side: shorter side of the images, pixels.

    Returns:
        The settings and a sentence on what was chosen and why.

    Raises:
        ValueError: the method has no such preset, or the training is too short for a length that
            the preset gives in epochs.
    """
    kind = METHODS[method_name(settings.method)]
    name, why = _chosen(settings, kind, side)
    preset = kind.presets[name]
    shares = _shares(settings, name, preset)
    changes: dict[str, Any] = {"preset": name}
    notes = []
    for part in ("optimizer", "method"):
        now, recipe = getattr(settings, part), getattr(preset, part)
        for field in type(recipe).model_fields:
            path = f"{part}.{field}"
            if field in now.model_fields_set:
                continue
            value = shares.get(path, getattr(recipe, field))
            changes[path] = value
            if value != getattr(now, field):
                notes.append(f"{path} {value}")
    if settings.views is None and preset.views is not None:
        changes["views"] = preset.views
        notes.append(f"{len(preset.views)} views")
    said = f"Preset {name}{why}"
    if notes:
        said += ": " + ", ".join(notes)
    if name != "paper" and "paper" in kind.presets:
        said += " (--preset paper takes the authors' values)"
    return updated_at_once(settings, changes), [said + "."]


def with_length(settings: Pretrain, count: int) -> tuple[Pretrain, list[str]]:
    """Settings with the batch size and the epochs that were not given, for so many images.

    A small set gets a batch of at most a quarter of it (a power of two, so that an epoch has
    several steps) and enough epochs for `MIN_STEPS` steps. The preset ``paper`` adapts neither.

    Args:
        settings: as the user gave them.
        count: images to train on.

    Returns:
        The settings and a sentence where the images made a difference.
    """
    batch, epochs, notes = settings.batch_size, settings.epochs, []
    processes = settings.devices * settings.nodes
    adapt = settings.preset != "paper"
    if batch is None:
        batch = BATCH
        if adapt:
            batch = max(2, min(BATCH, 1 << max(count // 4, 1).bit_length() - 1))
            batch = max(processes, batch - batch % processes)
        if batch != BATCH:
            notes.append(f"batches of {batch}")
    if epochs is None and settings.steps is not None:
        epochs = EPOCHS  # those that the steps come to take its place
    if epochs is None:
        steps = max(1, count // batch)
        epochs = max(EPOCHS, -(-MIN_STEPS // steps)) if adapt else EPOCHS
        if epochs != EPOCHS:
            notes.append(f"{counted(epochs, 'epoch')} ({epochs * steps:,} steps)")
    settings = settings.updated({"batch_size": batch, "epochs": epochs})
    said = (
        f"For {counted(count, 'image')}: {' and '.join(notes)}; --batch-size and --epochs change "
        "that."
    )
    return settings, [said] if notes else []


def updated_at_once(settings: Pretrain, changes: dict[str, Any]) -> Pretrain:
    """All changes of one part at once: one may be valid only beside another."""
    nested: dict[str, Any] = {}
    for path, value in changes.items():
        part, _, field = path.partition(".")
        if field:
            nested.setdefault(part, {})[field] = value
        else:
            nested[part] = value
    return settings.updated(nested)


def _chosen(settings: Pretrain, kind: type[Method], side: int) -> tuple[str, str]:
    """The name of the preset, and in words why; empty where the user named it."""
    if settings.preset != "auto":
        return settings.preset, ""
    if settings.weights not in ("none", "auto") and "continue" in kind.presets:
        return "continue", f" (chosen for a start from {settings.weights})"
    names = (["tiny"] if side <= TINY else []) + (["small"] if side <= SMALL else []) + ["large"]
    for name in (*names, *kind.presets):
        if name in kind.presets:
            break
    return name, f" (chosen for {side} px)"


def _shares(settings: Pretrain, name: str, preset: Preset) -> dict[str, float]:
    """The lengths that the preset gives in epochs, as shares of the training."""
    shares: dict[str, float] = {}
    if settings.epochs == 0:
        return shares
    for path, epochs in preset.epochs.items():
        part, _, field = path.partition(".")
        if field in getattr(settings, part).model_fields_set:
            continue
        assert settings.epochs is not None  # `with_length` comes first
        if epochs >= settings.epochs:
            raise ValueError(
                f"preset {name!r}: {path} lasts {epochs:g} epochs, and the training has "
                f"{settings.epochs}; give more --epochs, --{path.replace('_', '-')} as a share, or "
                "another --preset."
            )
        shares[path] = epochs / settings.epochs
    return shares
