"""The MLP probe: one hidden layer, AdamW, stopped early on a validation cut from the labels."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from selfsight.data.imageset import TargetKind
from selfsight.fitting.folds import held_out
from selfsight.fitting.probes import Fitted, Subset, best_thresholds
from selfsight.losses.targets import known_entries, mean_over_known, target_losses

_HIDDEN = 256
_BATCH = 256
_STEPS = 3000  # at most
_DEFAULT_STEPS = 100  # where there are too few labels to choose by
_CHECK = 25  # steps between looks at the validation rows
_PATIENCE = 5  # looks without a loss lower by 1 % before the training stops


def fit_mlp(subset: Subset) -> Fitted:
    """``F -> 256 -> K`` with ReLU, on standardised representations.

    A fifth of the labelled subset (by group) is held out to choose the number of steps and the
    thresholds; below two labels a class the number of steps is a fixed default.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subset.seed)
        return _fit(subset)


def _fit(subset: Subset) -> Fitted:
    features = subset.standardised
    targets, spread = _scaled_targets(subset)
    network = nn.Sequential(
        nn.Linear(features.shape[1], _HIDDEN),
        nn.ReLU(),
        nn.Linear(_HIDDEN, subset.outputs),
    ).to(features.device)
    enough = subset.enough()
    fold = held_out(subset.values, subset.groups, folds=5, seed=subset.seed)
    enough = enough and int(fold.max()) > 0
    inside = torch.from_numpy(np.flatnonzero(fold != 0 if enough else fold >= 0))
    outside = torch.from_numpy(np.flatnonzero(fold == 0)) if enough else inside[:0]
    inside, outside = inside.to(features.device), outside.to(features.device)
    weights = subset.weights()
    steps = _train(network, features, targets, weights, subset.kind, inside, outside)
    thresholds = None
    if subset.kind == "labels":
        thresholds = np.full(subset.outputs, 0.5)
        if enough:
            with torch.no_grad():
                likely = torch.sigmoid(network(features[outside])).cpu().numpy()
            thresholds = best_thresholds(likely, subset.values[outside.cpu().numpy()])
    mean, scale = subset.mean, subset.scale

    def predict(fresh: Tensor) -> Tensor:
        with torch.no_grad():
            raw: Tensor = network((fresh - mean) / scale)
        if subset.kind == "class":
            return raw.softmax(1)
        return torch.sigmoid(raw) if subset.kind == "labels" else raw * spread[1] + spread[0]

    state = {name: value.detach() for name, value in network.state_dict().items()}
    state |= {"mean": mean, "scale": scale, "target_mean": spread[0], "target_scale": spread[1]}
    return Fitted(predict, {"chosen": enough, "steps": steps}, thresholds, state)


def _scaled_targets(subset: Subset) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The targets as the loss takes them: numbers standardised over the labelled subset."""
    targets = subset.targets()
    centre = torch.zeros(subset.outputs, device=targets.device)
    scale = torch.ones(subset.outputs, device=targets.device)
    if subset.kind != "number":
        return targets, (centre, scale)
    known = np.isfinite(subset.values)
    for number in range(subset.outputs):
        values = subset.values[known[:, number], number]
        if len(values):
            centre[number] = float(values.mean())
            scale[number] = float(values.std()) or 1.0
    return (targets - centre) / scale, (centre, scale)


def _train(
    network: nn.Module,
    features: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    kind: TargetKind,
    inside: Tensor,
    outside: Tensor,
) -> int:
    """Trains in place, back to the best look at `outside` where there is one; the steps taken."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.1, fused=True)
    batch = min(_BATCH, len(inside))
    lowest, best, best_step, worse = float("inf"), None, _DEFAULT_STEPS, 0
    order = torch.randperm(len(inside))
    position = 0
    for step in range(1, (_STEPS if len(outside) else _DEFAULT_STEPS) + 1):
        if position + batch > len(order):
            order, position = torch.randperm(len(inside)), 0
        rows = inside[order[position : position + batch].to(inside.device)]
        position += batch
        optimizer.zero_grad(set_to_none=True)
        weight = None if weights is None else weights[rows]
        _loss(network(features[rows]), targets[rows], weight, kind).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if len(outside) and step % _CHECK == 0:
            network.eval()
            with torch.no_grad():
                weight = None if weights is None else weights[outside]
                raw = network(features[outside])
                loss = float(_loss(raw, targets[outside], weight, kind))
            network.train()
            worse = 0 if loss < 0.99 * lowest else worse + 1
            if loss < lowest:
                lowest, best_step = loss, step
                best = copy.deepcopy(network.state_dict())
            if worse >= _PATIENCE:
                break
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    return best_step


def _loss(raw: Tensor, targets: Tensor, weights: Tensor | None, kind: TargetKind) -> Tensor:
    """Cross entropy of classes, of each label, or squared error; unknown entries count nowhere."""
    losses = target_losses(raw, targets, kind)
    if weights is not None:
        losses = losses * weights
    return mean_over_known(losses, known_entries(targets))
