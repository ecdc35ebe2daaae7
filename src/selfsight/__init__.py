"""selfsight: image representations from unlabelled images, proved with few labels.

The verbs of the command line are functions here (`pretrain`, `evaluate`, `report`...); each takes
its settings as keywords. Heavy libraries are imported when one is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight.verbs import VERBS
from selfsight.version import __version__

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet
    from selfsight.data.options import Images
    from selfsight.models.predictor import Predictor
    from selfsight.networks.backbones import Backbone
    from selfsight.runs.run import Run

_VERBS = {name.replace(" ", "_").replace("-", "_"): verb for name, verb in VERBS.items()}
_ELSEWHERE = {
    "METHODS": "selfsight.methods",
    # The estimators are classes of scikit-learn, which takes a second to import.
    "ImageClassifier": "selfsight.estimators",
    "ImageRegressor": "selfsight.estimators",
    "SelfSupervisedTransformer": "selfsight.estimators",
}
__all__ = ["__version__", "load", "load_model", "open_images", *_VERBS, *_ELSEWHERE]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _VERBS:
        member = import_module("selfsight.api").as_function(_VERBS[name])
    elif name in _ELSEWHERE:
        member = getattr(import_module(_ELSEWHERE[name]), name)
    elif name == "losses":
        member = import_module("selfsight.losses")
    else:
        raise AttributeError(f"module 'selfsight' has no attribute {name!r}")
    globals()[name] = member
    return member


def __dir__() -> list[str]:
    return sorted(__all__)


def open_images(source: Images, **options: Any) -> ImageSet:
    """Opens images: see `selfsight.data.request.open_images`; arrays and datasets too.

    More than 20,000 encoded images stay undecoded until they are read or trained on, unless
    ``decode=True``, or ``drop_near`` or ``allow_near`` asks for near-duplicates.
    """
    from selfsight.data import request

    return request.open_images(source, **{"decode": None, **options})


def load(run: str | Path | Run) -> Backbone:
    """The trained backbone of a run, in eval mode: ``(B, C, H, W)`` normalised -> ``(B, F)``."""
    from selfsight.api_arguments import folder_of
    from selfsight.runs.run import load_run

    found = load_run(folder_of("load() takes", run))
    backbone = found.backbone()
    backbone.trained_in = str(found.path)
    return backbone


def load_model(folder: str | Path) -> Predictor:
    """A model of `finetune`, on the CPU: `selfsight.models.predictor.Predictor`."""
    from selfsight.api_arguments import folder_of
    from selfsight.models.predictor import Predictor

    return Predictor.load(folder_of("load_model() takes", folder, "model"))
