"""The MLP probe, and the classifier that `tune probe` searches: networks trained side by side.

One network for each fold is trained in step with the others; what they hold out is scored
together. The number of steps and the thresholds are chosen on it, then one network is trained on
all rows for as many steps.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsight.fitting.head import ACTIVATIONS, Activation, Fitted, Head, Normalisation, Shape
from selfsight.fitting.labelled import Rows, Subset, batches
from selfsight.fitting.loop import take_steps
from selfsight.fitting.metrics import headline_of
from selfsight.fitting.representations import Representations
from selfsight.fitting.stopping import DivergedError, Look, Looks, Stopping
from selfsight.fitting.tasks import activated, fit_loss
from selfsight.settings import Settings

TITLE = "MLP probe"
PHRASE = "an MLP probe"
ORDER = 30
KINDS = ("class", "labels", "number")

LOOKS = 100
"""At the rows held out, over the longest training."""


class Classifier(Settings):
    """A small network on frozen representations, and how it is trained."""

    depth: Annotated[int, Field(ge=0, le=8)] = 1
    """Hidden layers; 0 is a linear classifier."""
    width: Annotated[int, Field(ge=1, le=65536)] = 256
    """Width of the first hidden layer."""
    narrowing: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Width of each further hidden layer as a share of the one before."""
    activation: Activation = "relu"
    """Between the layers."""
    normalisation: Normalisation | None = None
    """Before each activation."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the inputs of each hidden layer and of the last one that is dropped."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    """Update rule; sgd has a momentum of 0.9. The weight decay of adamw is decoupled."""
    lr: Annotated[float, Field(gt=0.0)] = 3e-3
    """Learning rate, constant."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight decay; never on biases and normalisation."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Images of a step; all of them where they are fewer."""
    class_weights: Literal["balanced", "root"] | None = None
    """Weight of rare classes (of the positives of rare labels): inverse frequency, or its root."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target that is spread over all classes; labels move towards a half."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over the labelled images at most, or min_steps where these are more."""
    min_steps: Annotated[int, Field(ge=1)] = 100
    """Steps of the longest training on few images; all of them where nothing can be chosen."""

    @property
    def shape(self) -> Shape:
        """Of the hidden layers."""
        widths = [max(1, round(self.width * self.narrowing**i)) for i in range(self.depth)]
        return Shape(
            widths=tuple(widths), activation=self.activation, normalisation=self.normalisation
        )

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        return max(self.epochs * math.ceil(images / self.batch_size), self.min_steps)


class Stack(nn.Module):
    """J networks of one shape side by side: ``(J, B, F) -> (J, B, K)``.

    Each of them is what it would be alone: they share no number but the settings.

    Args:
        settings: of the classifier.
        features: F.
        outputs: K.
        count: J.
        generator: of the weights.
    """

    def __init__(
        self,
        settings: Classifier,
        features: int,
        outputs: int,
        count: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.activation = ACTIVATIONS[settings.activation]()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.gains, self.shifts = nn.ParameterList(), nn.ParameterList()
        for inputs, width in itertools.pairwise((features, *settings.shape.widths, outputs)):
            bound = inputs**-0.5
            drawn = torch.rand(count, inputs + 1, width, generator=generator) * 2 * bound - bound
            self.weights.append(nn.Parameter(drawn[:, :-1].clone()))
            self.biases.append(nn.Parameter(drawn[:, -1:].clone()))
        for index, width in enumerate(settings.shape.widths if settings.normalisation else ()):
            self.gains.append(nn.Parameter(torch.ones(count, 1, width)))
            self.shifts.append(nn.Parameter(torch.zeros(count, 1, width)))
            self.register_buffer(f"mean_{index}", torch.zeros(count, 1, width))
            self.register_buffer(f"var_{index}", torch.ones(count, 1, width))

    def forward(self, x: Tensor, part: slice = slice(None)) -> Tensor:
        """``(J, B, F)``, or ``(B, F)`` for all; with `part` by some of the networks alone."""
        last = len(self.weights) - 1
        x = x.expand(len(self.weights[0][part]), *x.shape[-2:])
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.dropout(x, self.settings.dropout, self.training)
            x = torch.baddbmm(bias[part], x, weight[part])
            if index < last:
                x = self.activation(self._normalised(x, index, part))
        return x

    def _normalised(self, x: Tensor, index: int, part: slice) -> Tensor:
        if self.settings.normalisation is None:
            return x
        if self.settings.normalisation == "layer":
            x = F.layer_norm(x, x.shape[-1:])
        else:
            mean, variance = self.get_buffer(f"mean_{index}"), self.get_buffer(f"var_{index}")
            if self.training and x.shape[1] > 1:
                now, centre = torch.var_mean(x, dim=1, keepdim=True, correction=0)
                with torch.no_grad():
                    mean.lerp_(centre, 0.1)
                    variance.lerp_(now, 0.1)
                mean, variance = centre, now
            else:
                mean, variance = mean[part], variance[part]
            x = (x - mean) * torch.rsqrt(variance + 1e-5)
        scaled: Tensor = x * self.gains[index][part] + self.shifts[index][part]
        return scaled

    def build_optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        groups = [
            {"params": [*self.weights], "weight_decay": settings.weight_decay},
            {"params": [*self.biases, *self.gains, *self.shifts], "weight_decay": 0.0},
        ]
        if settings.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, lr=settings.lr, fused=True)

    def head(self, kind: Any, number: int = 0) -> Head:
        """One of the networks as a head on standardised representations."""
        first, last, settings = self.weights[0], self.weights[-1], self.settings
        head = Head(kind, first.shape[1], last.shape[2], settings.shape)
        linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
        normal = [m for m in head.layers if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)]
        with torch.no_grad():
            for index, layer in enumerate(linear):
                layer.weight.copy_(self.weights[index][number].T)
                layer.bias.copy_(self.biases[index][number, 0])
            for index, norm in enumerate(normal):
                norm.weight.copy_(self.gains[index][number, 0])
                norm.bias.copy_(self.shifts[index][number, 0])
                for name in ("mean", "var") if isinstance(norm, nn.BatchNorm1d) else ():
                    own = self.get_buffer(f"{name}_{index}")[number, 0]
                    norm.get_buffer(f"running_{name}").copy_(own)
        return head.to(self.weights[0].device).finished()


@dataclass
class TrainedStack:
    """Networks after their training.

    Attributes:
        stack: at the best look where rows were held out.
        centre, spread: ``(J, 1, K)`` of standardised numbers.
        steps: of the training, to the best look.
        looks: at the rows held out.
    """

    stack: Stack
    centre: Tensor
    spread: Tensor
    steps: int
    looks: Looks

    def head(self, kind: Any, representations: Representations) -> Head:
        """The first network, on representations as the backbone gives them."""
        head = self.stack.head(kind)
        head.mean.copy_(representations.mean)
        head.scale.copy_(representations.scale)
        head.centre.copy_(self.centre[0, 0])
        head.spread.copy_(self.spread[0, 0])
        return head


def train(
    subset: Subset,
    representations: Representations,
    settings: Classifier,
    folds: Rows | None = None,
    *,
    metric: str,
    stopping: Stopping | None = None,
    watch: str = "metric",
    look: Look | None = None,
    stop_at: int | None = None,
) -> TrainedStack:
    """Trains one network for each fold, in step; looks at what they hold out `LOOKS` times.

    A function of its arguments on one machine and number of threads.

    Args:
        subset: what may be read.
        representations: of its rows at least.
        settings: of the networks and the training.
        folds: ``(n,)`` which fold holds each row out, -1: none; without any fold, or None, one
            network sees all rows and nothing is held out.
        metric: of the target's kind, or ``loss``.
        stopping: ends the training early; None: never.
        watch: ``metric`` or ``loss``: by which the best look is told and the training ended.
        look: called after each look with its number and the best metric so far; may raise.
        stop_at: the step at which the training ends.

    Raises:
        DivergedError: the outputs are not finite.
    """
    folds = np.full(len(subset), -1, np.int64) if folds is None else folds
    features, kind = representations.standardised(subset.rows), subset.kind
    device, truth = features.device, subset.truth(features.device)
    outside = [np.flatnonzero(folds == k) for k in range(int(folds.max()) + 1)]
    inside = [np.setdiff1d(np.arange(len(subset)), out) for out in outside or [folds[:0]]]
    parts = [subset.take(places) for places in inside]
    generator = torch.Generator().manual_seed(subset.seed)
    stack = Stack(settings, features.shape[1], subset.outputs, len(parts), generator).to(device)
    centre, spread = (
        torch.stack(each)[:, None].to(device)
        for each in zip(*(part.number_scale() for part in parts), strict=True)
    )
    weights = None
    if settings.class_weights is not None and kind != "number":
        weights = torch.from_numpy(np.stack([part.class_weights() for part in parts])).to(device)
        weights = weights.sqrt() if settings.class_weights == "root" else weights
    optimizer = stack.build_optimizer()
    size = min(settings.batch_size, min(map(len, inside)))
    orders = [batches(places, size, subset.seed) for places in inside]

    def loss_at(raw: Tensor, places: Tensor, k: slice = slice(None)) -> Tensor:
        here = truth[places]
        if kind == "number":
            here = (here - centre[k]) / spread[k]
        of_class = None if weights is None else weights[k]
        return fit_loss(raw, here, kind, of_class, settings.label_smoothing)

    def step(number: int) -> None:
        places = torch.from_numpy(np.stack([next(order) for order in orders])).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss_at(stack(features[places]), places).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def predicted() -> tuple[NDArray[np.float32], float]:
        """Of the rows held out, ascending; their loss is the mean over the folds."""
        stack.eval()
        output = torch.full((len(subset), subset.outputs), torch.nan, device=device)
        lost = 0.0
        for k, rows in enumerate(outside):
            places, one = torch.from_numpy(rows).to(device), slice(k, k + 1)
            raw = stack(features[places], one)
            lost += float(loss_at(raw, places[None], one)) / len(outside)
            output[places] = activated(raw[0] * spread[k] + centre[k], kind)
        found = output[torch.from_numpy(folds >= 0)].float().cpu().numpy()
        if not np.isfinite(found).all():
            raise DivergedError("its outputs are not finite")
        stack.train()
        return found, lost

    looks, total = Looks.at(metric, stopping, watch, look), settings.steps(len(subset))
    steps = take_steps(
        subset,
        folds >= 0,
        looks,
        step,
        predicted,
        lambda: copy.deepcopy(stack.state_dict()),
        metric=metric,
        steps=stop_at or total,
        every=max(1, total // LOOKS),
        device=device,
    )
    if looks.best:
        stack.load_state_dict(looks.state)
    stack.eval()
    return TrainedStack(stack, centre, spread, steps, looks)


def of(settings: Classifier) -> Callable[[Subset, Representations], Fitted]:
    """The probe with other settings than the defaults."""
    return partial(fit, settings=settings)


def fit(
    subset: Subset, representations: Representations, settings: Classifier | None = None
) -> Fitted:
    """The number of steps and the thresholds are chosen by folds inside the subset.

    Args:
        subset: what may be read.
        representations: of its rows at least.
        settings: of the classifier; None: its defaults.
    """
    settings = settings or Classifier()
    if subset.balanced:
        settings = settings.updated({"class_weights": "balanced"})
    folds = subset.folds()
    held, output = folds >= 0, None
    chosen, steps, score = bool(held.any()), settings.min_steps, None
    if chosen:
        tried = train(subset, representations, settings, folds, metric="loss", stopping=Stopping())
        steps, output = tried.steps, tried.looks.output
        if output is not None:
            score = (headline_of(subset.kind, output, subset.values[held]), -tried.looks.loss)
    whole = train(subset, representations, settings, metric="loss", stop_at=steps)
    head, thresholds = whole.head(subset.kind, representations), subset.thresholds(output, held)
    return Fitted(head, {"chosen": chosen, "steps": steps}, thresholds, score)
