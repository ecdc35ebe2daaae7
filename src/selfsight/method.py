"""The contract between a method and everything that runs it.

A method is one file in `selfsight.methods` (or ``./mine.py``): a class named as it likes, derived
from `Method`, the only one in its file. It knows of no optimizer, logger, device or epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import TargetSpec
from selfsight.networks.backbones import Backbone
from selfsight.settings import Settings
from selfsight.views.settings import View


class MethodSettings(Settings):
    """Base of a method's own settings."""


class Optimizer(Settings):
    """The optimizer and its schedule; each method brings its paper's."""

    name: Literal["lars", "sgd", "adam", "adamw"] = "adamw"
    """Update rule."""
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    """Peak learning rate, for a batch of `base_batch_size` images."""
    base_batch_size: Annotated[int, Field(ge=1)] | None = 256
    """The learning rate is scaled by batch size over this number; None: never scaled."""
    backbone_lr_factor: Annotated[float, Field(gt=0.0)] | None = None
    """Learning rate of the backbone as a share of `lr`; None: 1, or the preset's from a run."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay; never on biases and normalisation."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of lars and sgd."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Moments of adam and adamw."""
    trust_coefficient: Annotated[float, Field(gt=0.0)] = 1e-3
    """Trust coefficient of lars (arXiv:1708.03888)."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the training in which the learning rate rises linearly from 0."""
    final_lr: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Last learning rate of the cosine as a share of the peak."""
    final_weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    """Weight decay at the end of a cosine (DINO); None: constant."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] | None = None
    """Largest norm of the gradient; None: not clipped."""


@dataclass
class Batch:
    """What a method sees of one step.

    Attributes:
        views: each ``(B, C, H, W)`` float32, normalised; sizes may differ between views.
        targets: of the chosen target: class int64 ``(B,)``, -1 unknown; labels float ``(B, K)``,
            NaN unknown; numbers float ``(B, D)``, NaN unknown, standardised on train.
        keys: ``(B,)`` int64, a function of seed, step and the row of the global batch.
        progress: 0-d float32 tensor in [0, 1].
    """

    views: list[Tensor]
    targets: Tensor
    keys: Tensor
    progress: Tensor


class Output(NamedTuple):
    """What a method gives.

    Attributes:
        losses: ``"loss"`` and its named terms, 0-d tensors, of the global batch.
        representations: ``(B, F)`` of each view that the student saw.
    """

    losses: dict[str, Tensor]
    representations: list[Tensor]


class Method(nn.Module):
    """An objective that trains a backbone from views (and labels where there are some).

    ``paper``, ``views`` and ``optimizer`` belong to the class; so does the nested ``Settings``.
    """

    paper: ClassVar[str]
    views: ClassVar[tuple[View, ...]]
    """What it wants to see, as in its paper; resolved against the image set."""
    optimizer: ClassVar[Optimizer]
    """The recipe of its paper."""
    small: ClassVar[Mapping[str, Any]] = {}
    """The preset for small images: changes to ``optimizer``, ``method`` and ``views``."""
    tiny: ClassVar[Mapping[str, Any]] = {}
    """Changes to ``optimizer`` and ``method`` on top of `small` for images up to 16 px."""
    from_run: ClassVar[Mapping[str, Any]] = {}
    """Changes on top of `small` where the backbone comes from a run (``weights``), all or none."""
    search: ClassVar[Mapping[str, str]] = {}
    """What `tune pretrain` searches of its own settings: ``temperature`` -> ``log(0.05,0.5)``."""
    needs_labels: ClassVar[bool] = False
    """Whether it learns nothing without labels."""
    labelled_share: ClassVar[float | None] = None
    """Share of a batch that labelled images are oversampled to, as in its paper; None: as is."""

    class Settings(MethodSettings):
        """Replaced by each method."""

    def __init__(
        self, settings: MethodSettings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError

    def after_step(self, progress: Tensor) -> None:
        """Called after each optimizer step: moving averages, teachers."""
