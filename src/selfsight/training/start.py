"""Starting from the backbone of a run, finished or not."""

from __future__ import annotations

from selfsight.data.imageset import ImageSet
from selfsight.networks.backbones import Backbone, BackboneSpec, build_backbone
from selfsight.networks.specs import Network
from selfsight.networks.weights import put_weights, read_weights
from selfsight.runs.checkpoint import SUFFIX, backbone_of
from selfsight.runs.folder import RunFolder
from selfsight.runs.run import load_run, run_of_checkpoint
from selfsight.training.settings import Pretrain


def like_the_run(settings: Pretrain, images: ImageSet) -> tuple[Pretrain, str]:
    """Settings with the network of the run that the training starts from, and what was done.

    Raises:
        ValueError: there is no such run, or its network is not the one that was asked for or
            takes other images.
    """
    assert settings.weights != "none"
    spec, method = _origin(settings.weights)
    if spec.channels != images.channels:
        raise ValueError(
            f"weights {settings.weights}: its backbone takes {spec.channels} channels and "
            f"{images.name} has {images.channels}."
        )
    if settings.backbone not in ("auto", spec.name) or settings.network not in (
        Network(),
        spec.network,
    ):
        raise ValueError(
            f"weights {settings.weights}: its backbone is {spec.name!r}; leave --backbone "
            "and --network out, or leave --weights out."
        )
    changed = settings.updated({"backbone": spec.name, "network": spec.network})
    return changed, f"The backbone starts from the weights of {settings.weights} ({method})."


def _origin(weights: str) -> tuple[BackboneSpec, str]:
    """The network and the method of a run, or of the checkpoint of one that has not finished."""
    run = run_of_checkpoint(weights) if weights.endswith(SUFFIX) else load_run(weights)
    return run.spec, run.method


def first_backbone(spec: BackboneSpec, settings: Pretrain) -> Backbone:
    """The backbone before the first step: fresh, a function of the seed, or that of a run.

    Raises:
        ValueError: the run's weights do not fit, for example a ViT of another image size.
    """
    backbone = build_backbone(spec, seed=settings.seed)
    if settings.weights.endswith(SUFFIX):
        put_weights(settings.weights, backbone.network, backbone_of(settings.weights))
    elif settings.weights != "none":
        path = RunFolder.existing(settings.weights).backbone
        tensors, _ = read_weights(path)
        put_weights(path, backbone.network, tensors)
    return backbone
