"""Distillation: a published network, usually a large one, teaches a small one on your images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import nn

from selfsight.console import counted
from selfsight.data.imageset import TargetSpec
from selfsight.data.statistics import Statistics
from selfsight.distributed import all_sum, world_size
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import load_backbone
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.networks.published.find import find_start
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import Network, library_of
from selfsight.views.settings import View

UNTRAINED = "untrained"


class Distill(Method):
    """Distillation: a small backbone learns to give what a published one gives for the same view.

    FitNets' regression (eq. 3) on the pooled representation, each feature of the teacher
    standardised over the batch; the regressor is the projector, which is thrown away. Teacher and
    student see the same strongly cropped view, as in arXiv:2106.05237.
    """

    paper: ClassVar[str] = "arXiv:1412.6550"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.25, 1.0), saturation=0.2, grayscale=0.1),
    )

    class Settings(MethodSettings):
        """The teacher and the projector."""

        teacher: str = "efficientnet_lite0"
        """Weights that teach: efficientnet_lite0 to 2, timm:NAME, torchvision:NAME,
        transformers:OWNER/NAME, a file of weights, the folder of a finished run or of a model; or
        untrained, a network with random weights, as a control."""
        projector: Annotated[tuple[int, ...], Field(min_length=0)] = (1024,)
        """Hidden widths of the projector; its output has the width of the teacher's."""

    presets: ClassVar[dict[str, Preset]] = {
        "large": Preset(
            optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-4), method=Settings()
        )
    }
    presets["small"] = presets["large"].updated(
        {"optimizer.lr": 2e-3, "optimizer.base_batch_size": None}
    )

    @classmethod
    def example(cls) -> MethodSettings:
        return cls.Settings(teacher=UNTRAINED, projector=(24,))

    @classmethod
    def normalisation(
        cls, settings: MethodSettings, channels: int, image_size: int
    ) -> tuple[Statistics, str] | None:
        assert isinstance(settings, cls.Settings)
        if settings.teacher == UNTRAINED:
            return None
        teacher = find_teacher(settings.teacher, channels, image_size)
        return None if teacher.statistics is None else (teacher.statistics, settings.teacher)

    @classmethod
    def teachers(cls, settings: MethodSettings) -> tuple[str, ...]:
        assert isinstance(settings, cls.Settings)
        return () if settings.teacher == UNTRAINED else (settings.teacher,)

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        spec = backbone.spec
        if settings.teacher == UNTRAINED:
            teacher = build_backbone(spec, seed=1)
        else:
            teacher = find_teacher(settings.teacher, spec.channels, spec.image_size).backbone
            if _alike(teacher, backbone):
                raise ValueError(
                    f"method.teacher {settings.teacher!r}: the student begins with the same "
                    "weights; give a smaller --backbone (resnet18, resnet20), or another "
                    "--method.teacher."
                )
        self.teacher = teacher.requires_grad_(False)
        self.teacher.held = True  # in eval mode in training, too
        self.teacher.bf16, self.teacher.channels_last = backbone.bf16, backbone.channels_last
        self.teacher.train()
        self.standardise = nn.BatchNorm1d(teacher.features, affine=False)
        self.projector = mlp((backbone.features, *settings.projector, teacher.features))

    def forward(self, batch: Batch) -> Output:
        with torch.no_grad():
            (taught,) = each_view(self.teacher, batch.views)
            wanted = self.standardise(taught)
        representations = each_view(self.backbone, batch.views)
        given = self.projector(representations[0])
        loss = (given - wanted).square().mean()
        return Output({"loss": all_sum(loss) / world_size()}, representations)

    def chance_loss(self, batch_size: int) -> float:
        """Of a student that gives the same for every image: the variance of the standardised."""
        return 1.0


class TeacherWeights(NamedTuple):
    """Weights that teach.

    Attributes:
        backbone: with the weights.
        statistics: that its images were normalised with; None: unknown.
    """

    backbone: Backbone
    statistics: Statistics | None


def find_teacher(name: str, channels: int, image_size: int) -> TeacherWeights:
    """The teacher of a name for images of a kind.

    Args:
        name: see `Distill.Settings.teacher`.
        channels: of the images.
        image_size: longer side of the images, pixels.

    Raises:
        ValueError: there is no such network, its weights are not here, they do not fill it, or it
            takes images of other channels.
    """
    run = Path(name, "backbone.safetensors")
    if run.is_file():
        backbone, extra = load_backbone(run)
        if backbone.spec.channels != channels:
            raise ValueError(
                f"method.teacher {name}: it takes "
                f"{counted(backbone.spec.channels, 'channel')} and the images "
                f"have {channels}."
            )
        given = extra.get("statistics")
        own = None if given is None else Statistics(tuple(given["mean"]), tuple(given["std"]))
        return TeacherWeights(backbone, own)
    published = name in PACKAGES or library_of(name) is not None
    if not published and not Path(name).is_file():
        raise ValueError(
            f"method.teacher {name!r}: there is no such file or run; give {', '.join(PACKAGES)}, "
            "timm:NAME, torchvision:NAME, transformers:OWNER/NAME, a file of weights or the folder "
            "of a finished run or of a model."
        )
    weights, network = ("published", name) if published else (name, "auto")
    found = find_start(weights, network, Network(), channels=channels, image_size=image_size)
    return TeacherWeights(found.backbone(), found.origin.statistics)


def _alike(a: Backbone, b: Backbone) -> bool:
    """Whether two backbones have the same parameters."""
    mine, theirs = dict(a.network.named_parameters()), dict(b.network.named_parameters())
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
