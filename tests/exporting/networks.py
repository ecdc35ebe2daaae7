"""The networks whose state dicts are compared with the libraries' own."""

from __future__ import annotations

import torch

from selfsight.data.statistics import Statistics
from selfsight.exporting.graph import Source
from selfsight.fitting.head import Head
from selfsight.models.card import Card
from selfsight.models.predictor import Predictor
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.runs.frame import Frame

NETWORKS: dict[str, tuple[str, Network, int, int]] = {
    "resnet18": ("resnet18", Network(stem="imagenet"), 3, 64),
    "resnet50": ("resnet50", Network(stem="imagenet"), 3, 64),
    "vit_tiny": ("vit_tiny", Network(depths=(2,)), 3, 32),
    "resnet18-cifar-grey": ("resnet18", Network(stem="cifar"), 1, 32),
}
CASES = [(name, head) for name in NETWORKS for head in (True, False) if head or name != "resnet50"]
LIBRARIES = ("torchvision", "timm", "transformers")


def source_of(name: str, *, head: bool) -> Source:
    """A network with weights of a seed and statistics of batches, with five classes or none."""
    backbone_name, network, channels, side = NETWORKS[name]
    spec = choose_backbone(backbone_name, network, channels, side)
    backbone = build_backbone(spec, seed=1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for _ in range(2):
            backbone(torch.randn(8, channels, side, side))
        layer = Head("class", backbone.features, 5)
        layer.mean.normal_()
        layer.scale.fill_(1.7)
    frame = Frame(height=side, width=side, channels=channels, dtype="uint8")
    statistics = Statistics((0.4,) * channels, (0.2,) * channels)
    predictor = None
    if head:
        card = Card(target="t", kind="class", names=tuple("abcde"), frame=frame, weights="")
        predictor = Predictor(backbone.eval(), layer.eval(), statistics, card)
    return Source(backbone.eval(), statistics, frame, predictor, name)
