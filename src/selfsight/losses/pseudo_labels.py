"""The losses on unlabelled images of FixMatch and FreeMatch: confident guesses become labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.distributed import all_sum
from selfsight.losses.checks import check_rows, check_weight
from selfsight.losses.targets import mean_over_known


def fixmatch_loss(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The unlabelled loss of FixMatch (arXiv:2001.07685, eq. 4).

    ``1/N sum_b 1(max q_b >= tau) H(argmax q_b, p_b)`` with q the softmax of the weak view's logits,
    without gradient, and p that of the strong view's. For several labels each label is a choice
    between yes and no, and the mean is over the labels too. The mean is over all processes.

    Args:
        weak: ``(B, G, C)`` logits of G choices among C.
        strong: the same of the strong views.
        threshold: tau.

    Returns:
        The loss, and the share of the choices above the threshold, 0-d.

    Raises:
        ValueError: logits that are not ``(B, G, C)`` of one shape, or a threshold outside 0 to 1.
    """
    _check_logits("fixmatch_loss", weak, strong)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"fixmatch_loss: threshold must be from 0 to 1 (got {threshold}).")
    confidence, label = weak.detach().softmax(2).max(2)
    taken = confidence >= threshold
    everything = torch.ones_like(taken)
    losses = F.cross_entropy(strong.flatten(0, 1), label.flatten(), reduction="none")
    kept = torch.where(taken.flatten(), losses, torch.zeros_like(losses))
    loss = mean_over_known(kept, everything.flatten())
    return loss, mean_over_known(taken.to(loss.dtype), everything)


def freematch_thresholds(confidence: Tensor, marginal: Tensor) -> Tensor:
    """Self-adaptive thresholds (arXiv:2205.07246, eq. 7): ``p(c) / max p * tau``.

    Args:
        confidence: ``(G,)`` tau of each choice.
        marginal: ``(G, C)`` the mean probabilities p.

    Returns:
        ``(G, C)``.

    Raises:
        ValueError: shapes that do not match.
    """
    check_rows("freematch_thresholds", "marginal", marginal)
    if tuple(confidence.shape) != (len(marginal),):
        raise ValueError(
            f"freematch_thresholds: confidence {tuple(confidence.shape)} must hold one number for "
            f"each of the {len(marginal)} choices of marginal."
        )
    return marginal / marginal.amax(1, keepdim=True) * confidence[:, None]


def freematch_loss(weak: Tensor, strong: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
    """The unlabelled loss (arXiv:2205.07246, eq. 8): FixMatch's, with a threshold for each class.

    Args:
        weak: ``(B, G, C)`` logits of G choices among C; no gradient flows into them.
        strong: the same of the strong views.
        limits: ``(G, C)``.

    Returns:
        The loss, 0-d, and which choices are above their threshold, ``(B, G)`` bool.

    Raises:
        ValueError: shapes that do not match.
    """
    _check_logits("freematch_loss", weak, strong)
    _check_choices("freematch_loss", "limits", limits, weak)
    confidence, label = weak.detach().softmax(2).max(2)
    limit = limits.expand(len(weak), -1, -1).gather(2, label[..., None]).squeeze(2)
    taken = confidence >= limit
    losses = F.cross_entropy(strong.flatten(0, 1), label.flatten(), reduction="none")
    kept = torch.where(taken.flatten(), losses, torch.zeros_like(losses))
    return mean_over_known(kept, torch.ones_like(taken).flatten()), taken


def fairness_loss(
    strong: Tensor, taken: Tensor, marginal: Tensor, histogram: Tensor, eps: float = 1e-12
) -> Tensor:
    """Self-adaptive fairness (arXiv:2205.07246, eq. 9-11), with the sign of the paper and its code.

    ``L_f = -H(SumNorm(p / h), SumNorm(p_bar / h_bar))`` with p and h the running means of
    probabilities and guesses, p_bar and h_bar those of the strong views that were taken; mean over
    the choices. Classes that were never guessed count 0.

    Args:
        strong: ``(B, G, C)`` logits.
        taken: ``(B, G)`` bool.
        marginal: ``(G, C)`` p.
        histogram: ``(G, C)`` h.
        eps: inside the logarithm.

    Raises:
        ValueError: shapes that do not match, or a negative eps.
    """
    check_rows("fairness_loss", "strong", strong, dims=3)
    if taken.shape != strong.shape[:2]:
        raise ValueError(
            f"fairness_loss: taken {tuple(taken.shape)} must be {tuple(strong.shape[:2])}, one for "
            "each choice of strong."
        )
    _check_choices("fairness_loss", "marginal", marginal, strong)
    _check_choices("fairness_loss", "histogram", histogram, strong)
    check_weight("fairness_loss", "eps", eps)
    said = strong.softmax(2)
    guesses = one_hot_of_largest(said.detach())
    mask = taken[..., None].to(said.dtype)
    sums = all_sum(torch.stack([(said * mask).sum(0), (guesses * mask).sum(0)]))
    mean, counted = sums.unbind()
    wanted = _sum_norm(marginal * _inverse(histogram), eps)
    found = _sum_norm(mean * _inverse(counted.detach()), eps)
    exists = (counted.detach().sum(1) > 0).to(said.dtype)
    return ((wanted * (found + eps).log()).sum(1) * exists).mean()


def one_hot_of_largest(p: Tensor) -> Tensor:
    """1 at the largest entry of each row, else 0; `F.one_hot` would look at the values."""
    return torch.zeros_like(p).scatter_(2, p.argmax(2, keepdim=True), 1.0)


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1.0 / x.clamp_min(torch.finfo(x.dtype).tiny), torch.zeros_like(x))


def _sum_norm(x: Tensor, eps: float) -> Tensor:
    return x / x.sum(1, keepdim=True).clamp_min(eps)


def _check_logits(loss: str, weak: Tensor, strong: Tensor) -> None:
    check_rows(loss, "weak", weak, dims=3)
    check_rows(loss, "strong", strong, dims=3)
    if weak.shape != strong.shape:
        raise ValueError(
            f"{loss}: weak {tuple(weak.shape)} and strong {tuple(strong.shape)} must have one "
            "shape: row b of both is of the same image."
        )
    if not len(weak):
        raise ValueError(f"{loss}: it needs one image or more; there is none.")


def _check_choices(loss: str, name: str, values: Tensor, logits: Tensor) -> None:
    if values.shape != logits.shape[1:]:
        raise ValueError(
            f"{loss}: {name} {tuple(values.shape)} must be {tuple(logits.shape[1:])}, a number for "
            "each class of each choice."
        )
