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

from selfsight.data.request import Data
from selfsight.method import Method, MethodSettings, Optimizer
from selfsight.methods import METHODS, name_of
from selfsight.networks.backbones import Network, known_backbone
from selfsight.settings import unknown
from selfsight.training.supervision import Supervision
from selfsight.views.settings import View


class Pretrain(Data):
    """Train a backbone on images without labels.

    What is marked `Suppress` is no flag: a knob of the machine, or too long for a command line.
    """

    method: SerializeAsAny[MethodSettings]
    """The method's own settings."""
    out: str | None = None
    """The run's folder; by default runs/DATA-METHOD. The same command again resumes it."""
    weights: str = "none"
    """What the backbone starts from: a finished run, a .ckpt of one, or none: random weights."""
    backbone: Annotated[str, AfterValidator(known_backbone)] = "auto"
    """resnet18, 34, 50, 20 or 15, vit_tiny, vit_small, file.py:build or auto."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over the pool."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Images of a step, over all processes."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    pool: tuple[str, ...] = ()
    """More unlabelled images to pretrain on, of other sources."""
    preset: str = "auto"
    """The method's recipe for all that is not given, by name; auto: by the images. `paper` holds
    the authors' values and adapts nothing; the defaults shown here are those of the first."""
    optimizer: Optimizer = Optimizer()
    """The optimizer and its schedule."""
    supervision: Supervision = Supervision()
    """Labels joined to the method; off by default."""
    network: Network = Network()
    """Changes to the backbone: a ResNet of other widths and depths, another stem or patch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the backbone; heads and losses are always fp32."""
    memory_format: Suppress[Literal["auto", "channels_last", "contiguous"]] = "auto"
    """Of images and convolutions; auto: channels_last where there are convolutions."""
    compile: Suppress[Literal["auto", "on", "off"]] = "auto"
    """Whether torch.compile is used; auto: on a GPU, where its compiler is installed."""
    placement: Suppress[Literal["auto", "device", "host"]] = "auto"
    """Where the pixels lie; auto: on a GPU where they take less than half of its free memory."""
    devices: Suppress[Annotated[int, Field(ge=1)]] = 1
    """Processes (GPUs) on each machine."""
    nodes: Suppress[Annotated[int, Field(ge=1)]] = 1
    """Machines."""
    accumulate_batches: Suppress[Annotated[int, Field(ge=1)]] = 1
    """Batches whose gradients are added up before a step."""
    log_every: Suppress[Annotated[int, Field(ge=1)]] = 50
    """Steps between two rows of metrics.csv."""
    monitor_images: Suppress[Annotated[int, Field(ge=0)]] = 2048
    """Images that the line after each epoch looks at; 0 turns kNN and effective rank off."""
    checkpoint_steps: Suppress[Annotated[int, Field(ge=1)] | None] = None
    """Steps between two checkpoints, besides the one at the end of each epoch."""
    trackers: Suppress[tuple[Literal["tensorboard", "wandb", "mlflow"], ...]] = ()
    """Trackers that get the same numbers as metrics.csv."""
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
        presets = METHODS[method_name(self.method)].presets
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
        "preset": (Literal[("auto", *method.presets)], "auto"),
    }
    document = (method.__doc__ or "").strip().splitlines()[0] + f" ({method.paper})"
    return create_model(base.__name__, __base__=base, __doc__=document, **fields)
