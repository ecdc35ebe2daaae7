"""The contract between a method and everything that runs it.

A method is one file in `selfsight.methods` (or ``./mine.py``) with one class derived from `Method`.
It knows no optimizer, logger, device or epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor, nn

from selfsight.console import counted
from selfsight.data.imageset import TargetSpec
from selfsight.data.statistics import Statistics
from selfsight.networks.backbones import Backbone
from selfsight.settings import Settings, unknown
from selfsight.views.settings import View

NEEDS = ("tokens", "labels")
"""What a method may need: a backbone with patch tokens; labels on train images."""


class MethodSettings(Settings):
    """Base of a method's own settings."""


class Optimizer(Settings):
    """The optimizer and its schedule; a method's presets fill what is not given."""

    name: Literal["lars", "sgd", "adam", "adamw"] = "adamw"
    """Update rule."""
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    """Peak learning rate, for a batch of `base_batch_size` images."""
    base_batch_size: Annotated[int, Field(ge=1)] | None = 256
    """The learning rate is scaled by batch size over this number; None: never scaled."""
    backbone_lr_factor: Annotated[float, Field(gt=0.0)] | None = None
    """Learning rate of the backbone as a share of `lr`; None: 1, or the preset's from a run."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Learning rate of each layer of the backbone as a share of the next one's; the last layer has
    the backbone's (arXiv:1801.06146, section 3.2)."""
    bias_lr_factor: Annotated[float, Field(gt=0.0)] = 1.0
    """Learning rate of biases and normalisations as a share of `lr`."""
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
    min_lr: Annotated[float, Field(ge=0.0)] = 0.0
    """Last learning rate of the cosine, absolute; the larger of this and `final_lr` counts."""
    final_weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    """Weight decay at the end of a cosine (DINO); None: constant."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] | None = None
    """Largest norm of the gradient; None: not clipped."""
    clip_by: Literal["global", "parameter"] = "global"
    """Whether `max_grad_norm` bounds all gradients together or each parameter's own (DINO)."""


class Preset(Settings):
    """A recipe of a method under a name; it fills every setting that the user did not give.

    Typed, so that a typo in a method's file is an error when the file is imported.
    """

    optimizer: Optimizer
    """The optimizer and its schedule."""
    method: SerializeAsAny[MethodSettings]
    """The method's own settings."""
    views: tuple[View, ...] | None = None
    """The views; None: those of the class."""
    epochs: Mapping[str, Annotated[float, Field(gt=0.0)]] = {}
    """Lengths in epochs by setting (``optimizer.warmup``); planning turns them into shares."""


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
        representations: ``(B, F)`` of each view that the student saw, pooled as ``backbone(view)``
            pools. A student that sees a part of a view (a masked one) gives the representation of
            that part: for a ViT the class token over the patches that were kept. Supervision, the
            online probe and the collapse monitor read these.
        embeddings: ``(B, D)``, what the loss sees of the first view; None where images may
            share a direction there (DINO's logits). The collapse monitor reads them too.
    """

    losses: dict[str, Tensor]
    representations: list[Tensor]
    embeddings: Tensor | None = None


def checked(method: nn.Module, output: object, batch: Batch) -> Output:
    """What the ``forward`` of a method gave, if that is what the contract asks for.

    Raises:
        ValueError: it is not; names the file and the line of ``forward``.
    """
    if torch.compiler.is_compiling():  # the outer call is checked
        return output  # type: ignore[return-value]
    problem = _problem(output, len(batch.keys))
    if problem is None:
        assert isinstance(output, Output)
        return output
    code = type(method).forward.__code__
    raise ValueError(
        f"{code.co_filename}, line {code.co_firstlineno}: forward of {type(method).__name__} "
        f"must give Output({{'loss': ...}}, representations); {problem}."
    )


def _problem(output: object, images: int) -> str | None:
    if not isinstance(output, Output):
        return f"it gives {type(output).__name__}"
    losses: object = output.losses
    representations: object = output.representations
    if not isinstance(losses, dict):
        return f"its losses are {type(losses).__name__}, not a dictionary"
    if "loss" not in losses:
        return f"its losses have no 'loss' ({', '.join(map(repr, losses)) or 'none at all'})"
    for name, value in losses.items():
        if not isinstance(value, Tensor):
            return f"{name!r} is {type(value).__name__}, not a tensor"
        if value.dim():
            return f"{name!r} has the shape {tuple(value.shape)}, not that of one number"
    if torch.is_grad_enabled() and not losses["loss"].requires_grad:
        return "its 'loss' has no gradient (it was detached, or depends on no parameter)"
    if not isinstance(representations, list | tuple) or not representations:
        return f"its representations are {type(representations).__name__}, not a list of tensors"
    for one in (*representations, *filter(torch.is_tensor, [output.embeddings])):
        if not isinstance(one, Tensor) or one.dim() != 2 or len(one) != images:
            given = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
            return (
                f"one of its representations is {given}, not (B, F) of {counted(images, 'image')}"
            )
    return None


class Method(nn.Module):
    """An objective that trains a backbone from views (and labels where there are some)."""

    paper: ClassVar[str]
    """Where it is from."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of `NEEDS`; checked at planning, before anything is written."""
    views: ClassVar[tuple[View, ...]]
    """What it wants to see; adapted to the image set, except under the preset ``paper``."""
    presets: ClassVar[Mapping[str, Preset]] = {}
    """Recipes by name, one at least. ``paper`` holds the values of the authors' code and is never
    adapted. For ``auto`` planning takes ``tiny`` up to 16 px, ``small`` up to 64 px and ``large``
    above, or the first preset where there is none of that name."""
    search: ClassVar[Mapping[str, str]] = {}
    """What `tune pretrain` searches of its own settings: ``temperature`` -> ``log(0.05,0.5)``."""
    labelled_share: ClassVar[float | None] = None
    """Share of a batch that labelled images are oversampled to, as in its paper; None: as is."""

    class Settings(MethodSettings):
        """Replaced by each method."""

    def __init_subclass__(cls) -> None:
        """Checks what the class declares, when its file is imported.

        Raises:
            ValueError: an unknown need, preset value or setting; the sentence names the nearest.
        """
        super().__init_subclass__()
        fields = cls.Settings.model_fields
        for need in cls.needs:
            if need not in NEEDS:
                raise unknown("need of a method", need, NEEDS)
        for name in cls.search:
            if name not in fields:
                raise unknown("setting to search", name, fields)
        for name, preset in cls.presets.items():
            if not isinstance(preset, Preset) or not isinstance(preset.method, cls.Settings):
                raise ValueError(
                    f"preset {name!r}: must be a Preset whose method is {cls.__name__}.Settings."
                )
            for path in preset.epochs:
                part, _, setting = path.partition(".")
                known = {"optimizer": Optimizer.model_fields, "method": fields}
                if part not in known:
                    raise unknown("part of a preset", part, known)
                if setting not in known[part]:
                    raise unknown(f"setting of the {part}", setting, known[part])

    @classmethod
    def example(cls) -> MethodSettings:
        """Tiny settings for the generic tests; no number in them takes a step out of it."""
        return cls.Settings()

    @classmethod
    def normalisation(
        cls, settings: MethodSettings, channels: int, image_size: int
    ) -> tuple[Statistics, str] | None:
        """Mean and deviation that the views must have, and whose they are; None: any will do.

        Asked at planning, before anything is written: a method that needs further weights finds
        them here.

        Args:
            settings: of the method.
            channels: of the images.
            image_size: longer side of the images, pixels.

        Raises:
            ValueError: what the method needs is not there.
        """
        return None

    @classmethod
    def teachers(cls, settings: MethodSettings) -> tuple[str, ...]:
        """Weights that the training learns from beside the images, as ``--weights`` names them.

        What they were trained on counts as what the run was trained on: a test image whose label a
        teacher has read is a leak.
        """
        return ()

    def __init__(
        self, settings: MethodSettings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError

    def after_step(self, progress: Tensor) -> None:
        """Called after each optimizer step: moving averages, teachers."""

    def frozen(self, progress: float) -> Sequence[nn.Parameter]:
        """Parameters that a step at this progress leaves as they are.

        Their gradients are dropped before the step, so that they neither move nor decay.

        Args:
            progress: of the step's batch, in [0, 1).
        """
        return ()

    def chance_loss(self, batch_size: int) -> float | None:
        """The loss when all images look alike to it, such as ln K for DINO; None: not known.

        A training whose loss stays there has collapsed, or has learned nothing.

        Args:
            batch_size: images of a step, over all processes.
        """
        return None
