"""`Pretrain`: everything one training is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
    model_validator,
)
from tyro.conf import Suppress

from selfsight.data.options import Data
from selfsight.method import Method, MethodSettings, Optimizer
from selfsight.methods import METHODS, name_of
from selfsight.networks.specs import Network, known_backbone
from selfsight.settings import unknown
from selfsight.training.supervision import Supervision
from selfsight.views.settings import View

FREE = (
    "out",
    "device",
    "devices",
    "nodes",
    "compile",
    "placement",
    "checkpoint_steps",
    "track",
)
"""Settings that may change when a training goes on: they leave every batch as it is."""


class Pretrain(Data):
    """Train a backbone on images without labels.

    What is marked `Suppress` is too long for a command line: it stands in a settings file.
    """

    method: SerializeAsAny[MethodSettings]
    """The method's own settings."""
    out: str | None = None
    """The run's folder; by default runs/DATA-METHOD, runs/DATA-start where nothing is
    trained. The same command again resumes it."""
    weights: str = "auto"
    """What the backbone starts from: `published` weights, a file of weights, the folder of a
    finished run or of a model, a .ckpt of a run, or `none`; auto: published ones where they are
    installed and suit the images."""
    weights_part: str | None = None
    """The part of the file to take, where several fill the network: teacher, backbone, ..."""
    backbone: Annotated[str, AfterValidator(known_backbone)] = "auto"
    """resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, efficientnet_lite0 to 2, timm:NAME,
    torchvision:NAME, transformers:OWNER/NAME, file.py:build or auto."""
    epochs: Annotated[int, Field(ge=0)] | None = None
    """Passes over the pool, 0 for the weights as they are; by default 100, and more where that
    makes less than 1,000 steps."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Length of the training in steps, in place of epochs; the preset `continue` takes 60."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Images of a step, over all processes; by default 256, and less below 1,024 images."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    pool: tuple[str, ...] = ()
    """More unlabelled images to pretrain on, of other sources."""
    preset: str = "auto"
    """Recipe for every setting that is not given; auto: chosen by the weights and the images.
    `paper` holds the authors' values and adapts nothing, `continue` adds to published weights;
    the defaults shown are those of the method's first preset."""
    freeze: Literal["auto", "none", "early", "all_but_norms"] = "auto"
    """Weights of the backbone that stay as they are: none, those down to 1/8 of the side (early; of
    a ViT the first third), or all but scale and shift of the normalisations; auto: early under the
    preset `continue`."""
    anchor: Annotated[float, Field(ge=0.0)] = 0.0
    """Strength of a pull of the backbone's weights towards those it started from: the penalty
    anchor / 2 |w - w0|^2 (L2-SP, arXiv:1802.01483)."""
    batch_norm: Literal["auto", "trained", "held"] = "auto"
    """Statistics of batch normalisation: of the batches, or held at those of the start; auto: held
    under the preset `continue`."""
    normalise: Literal["auto", "weights", "data", "imagenet", "half", "unit"] = "auto"
    """Mean and deviation of the channels: those the weights were trained with, those of the
    images, or fixed ones; auto: the weights' for published ones, else the images'."""
    representation: Literal["auto", "output", "mean", "stages"] = "auto"
    """What represents an image: the network's output as it is; the same standardised (mean); or
    mean and maximum of three stages, standardised; auto: stages for published weights, else
    output."""
    optimizer: Optimizer = Optimizer()
    """The optimizer and its schedule."""
    supervision: Supervision = Supervision()
    """Labels joined to the method; off by default."""
    network: Network = Network()
    """Changes to the backbone: a ResNet of other widths and depths, another stem or patch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the backbone; heads and losses are always fp32."""
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Of images and convolutions; auto: channels_last where there are convolutions."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch.compile is used; auto: on a GPU, where its compiler is installed."""
    placement: Literal["auto", "device", "host"] = "auto"
    """Where the pixels lie; auto: on a GPU where they take less than half of its free memory."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Processes (GPUs) on each machine."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Machines."""
    accumulate_batches: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are added up before a step."""
    log_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two rows of metrics.csv."""
    monitor_images: Annotated[int, Field(ge=0)] = 2048
    """Images that the line after each epoch looks at; 0 turns kNN and effective rank off."""
    keep_every: Annotated[int, Field(ge=1)] | None = None
    """Epochs between two backbones that are kept, as checkpoints/epoch-N.safetensors; None: only
    the last backbone is."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps between two checkpoints; by default there is one at the end of each epoch only."""
    track: tuple[Literal["wandb", "mlflow", "tensorboard"], ...] = ()
    """Where curves, settings and results also go: wandb, mlflow, tensorboard, or several."""
    views: Suppress[tuple[View, ...] | None] = None
    """The views; None: the method's, adapted to the images."""

    @model_validator(mode="before")
    @classmethod
    def _method_by_name(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        method = values.get("method")
        if isinstance(method, str):
            method = {"name": method}
        if isinstance(method, Mapping):
            inner = dict(method)
            if "name" not in inner:
                raise ValueError("method: needs a name, as in `method: simclr`")
            kind = METHODS[str(inner.pop("name"))]
            values["method"] = kind.Settings(**inner)
            given = values.get("optimizer", {})
            if isinstance(given, Mapping):
                values["optimizer"] = default_optimizer(kind).updated(given)
        return values

    @model_validator(mode="after")
    def _known_preset(self) -> Pretrain:
        presets = presets_of(METHODS[method_name(self.method)])
        if self.preset != "auto" and self.preset not in presets:
            raise unknown(f"preset of {method_name(self.method)}", self.preset, ["auto", *presets])
        return self

    @model_serializer(mode="wrap")
    def _name_of_method(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = serialise(self)
        plain["method"] = {"name": method_name(self.method), **plain["method"]}
        return plain


def method_name(settings: MethodSettings) -> str:
    """The name (or path) under which the method of these settings is found."""
    return name_of(type(settings))


def presets_of(kind: type[Method]) -> tuple[str, ...]:
    """Names of a method's presets; one that reads no labels has `continue` without writing it."""
    return tuple(dict.fromkeys([*kind.presets, *["continue"] * ("labels" not in kind.needs)]))


def default_optimizer(kind: type[Method]) -> Optimizer:
    """The optimizer of the method's first preset, of which nothing counts as given."""
    return next(iter(kind.presets.values())).optimizer.marked(())


def typed(name: str, base: type[Pretrain] = Pretrain) -> type[Pretrain]:
    """`Pretrain` with the settings of one method in the open: for the command line and tuning.

    Raises:
        ValueError: there is no such method.
    """
    method = METHODS[name]
    fields: dict[str, Any] = {
        "method": (method.Settings, method.Settings()),
        "optimizer": (Optimizer, default_optimizer(method)),
        "preset": (
            Literal[("auto", *presets_of(method))],
            Field("auto", description=base.model_fields["preset"].description),
        ),
    }
    document = (method.__doc__ or "").strip().splitlines()[0] + f" ({method.paper})"
    return create_model(base.__name__, __base__=base, __doc__=document, **fields)
