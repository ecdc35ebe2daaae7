"""The loss of a prediction of a target, over all processes, wherever the target is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.data.imageset import TargetKind
from selfsight.distributed import all_sum
from selfsight.losses.checks import check_rows


def known_entries(targets: Tensor) -> Tensor:
    """Where ``targets`` are known: ``(B,)`` for classes (-1 unknown), else their shape (NaN)."""
    return ~targets.isnan() if targets.is_floating_point() else targets >= 0


def known_rows(targets: Tensor) -> Tensor:
    """``(B,)``: where at least one entry is known."""
    known = known_entries(targets)
    return known if known.dim() == 1 else known.any(1)


def target_losses(outputs: Tensor, targets: Tensor, kind: TargetKind) -> Tensor:
    """The loss of each entry: cross-entropy, binary cross-entropy or squared error by kind.

    Unknown entries get a finite number that means nothing; see `mean_over_known`.

    Args:
        outputs: ``(B, K)``: logits of K classes or labels, or K numbers.
        targets: class int64 ``(B,)``, -1 unknown; labels and numbers float ``(B, K)``, NaN unknown.
        kind: of the target.

    Returns:
        ``(B,)`` for classes, else ``(B, K)``.

    Raises:
        ValueError: outputs and targets of shapes that do not match.
    """
    check_rows("target_losses", "outputs", outputs)
    wanted = tuple(outputs.shape[:1] if kind in ("class", "identity") else outputs.shape)
    if tuple(targets.shape) != wanted:
        raise ValueError(
            f"target_losses: targets of kind {kind!r} must be {wanted} beside outputs "
            f"{tuple(outputs.shape)} (got {tuple(targets.shape)})."
        )
    if kind in ("class", "identity"):
        return F.cross_entropy(outputs, targets.clamp_min(0), reduction="none")
    # NaN must not meet arithmetic: its gradient would be NaN even where it is masked later.
    filled = torch.where(targets.isnan(), torch.zeros_like(targets), targets).to(outputs.dtype)
    if kind == "labels":
        return F.binary_cross_entropy_with_logits(outputs, filled, reduction="none")
    return (outputs - filled).square()


def mean_over_known(values: Tensor, known: Tensor) -> Tensor:
    """The sum of ``values`` where ``known`` over their count, both over all processes; 0-d.

    0, with a gradient of 0, where nothing is known.

    Args:
        values: any shape, finite.
        known: bool, of the same shape.

    Raises:
        ValueError: two shapes.
    """
    if values.shape != known.shape:
        raise ValueError(
            f"mean_over_known: values {tuple(values.shape)} and known {tuple(known.shape)} must "
            "have one shape."
        )
    kept = torch.where(known, values, torch.zeros_like(values)).sum()
    total, count = all_sum(torch.stack([kept, known.sum().to(values.dtype)])).unbind()
    return total / count.clamp_min(1.0)


def choices(logits: Tensor, kind: TargetKind) -> Tensor:
    """Logits ``(B, K)`` as G choices among C: ``(B, 1, K)`` of classes, ``(B, K, 2)`` of labels.

    A label is the choice between no (0) and yes (its logit): the softmax over the two is the
    sigmoid.
    """
    if kind == "labels":
        return torch.stack([torch.zeros_like(logits), logits], 2)
    return logits[:, None]
