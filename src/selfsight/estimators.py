"""Estimators for scikit-learn over arrays of images ``(N, H, W)`` or ``(N, H, W, C)``.

They clone, pickle, and fit into a `Pipeline` and a `GridSearchCV`:

    from sklearn.pipeline import make_pipeline
    make_pipeline(SelfSupervisedTransformer(run="runs/mine"), LogisticRegression()).fit(X, y)
    GridSearchCV(ImageClassifier(run="runs/mine"), {"head": ["linear", "mlp"]}).fit(X, y)
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from selfsight.api_arguments import folder_of, is_text, named
from selfsight.console import counted
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.statistics import Statistics
from selfsight.fitting.finetune import Start
from selfsight.fitting.labelled import Subset
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.stack import Classifier
from selfsight.methods import METHODS
from selfsight.models.embed import backbone_of
from selfsight.models.finetune import fit_model
from selfsight.models.predictor import Predictor
from selfsight.networks.backbones import Backbone
from selfsight.plugins import is_file
from selfsight.runs.folder import is_model, is_run
from selfsight.runs.frame import Frame
from selfsight.training.device import choose_device

Head = Literal["linear", "mlp", "finetune"]


def image_set(X: ArrayLike, name: str = "X", *, mirrored: bool = True) -> ImageSet:
    """An array of images as an image set, all in train.

    Args:
        X: ``(N, H, W)`` or ``(N, H, W, C)``; uint8, uint16, or floats (taken as float32 as they
            are).
        name: how sentences call it.
        mirrored: whether a mirrored image is as natural as the original.

    Raises:
        ValueError: another shape or type.
    """
    pixels = np.asarray(X)
    if pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise ValueError(
            f"{name} {pixels.shape}: images must be an array (N, H, W) or (N, H, W, C), not empty."
        )
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32, copy=False)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(
            f"{name}: pixels are {pixels.dtype}; they must be uint8, uint16 or floats."
        )
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    count = len(pixels)
    ids = np.char.add(f"{name}#", np.arange(count).astype(str))
    return ImageSet(name, pixels, ids, np.full(count, "train", "<U10"), mirrored=mirrored)


class _OfImages(BaseEstimator):  # type: ignore[misc]
    """What scikit-learn is told of the input."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


class SelfSupervisedTransformer(TransformerMixin, _OfImages):  # type: ignore[misc]
    """Images to representations, by a backbone that is trained without labels or that is there.

    Args:
        method: of the training; the folder of a run in its place is taken as ``run``.
        run: a finished run or a model, used as it is; None: `fit` trains one.
        epochs: passes over the images.
        settings: more settings of `selfsight.pretrain`, dotted or nested.
        random_state: seed of the training.
        mirrored: whether views may mirror the images; not so for digits.
        device: auto, cpu or cuda.

    Attributes:
        backbone_: the trained network.
        statistics_: of the channels.
        frame_: the images it takes.
        n_features_out_: F.
    """

    backbone_: Backbone
    statistics_: Statistics
    frame_: Frame

    def __init__(
        self,
        method: str = "simclr",
        run: str | Path | None = None,
        *,
        epochs: int = 100,
        settings: Mapping[str, Any] | None = None,
        random_state: int = 0,
        mirrored: bool = True,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.run = run
        self.epochs = epochs
        self.settings = settings
        self.random_state = random_state
        self.mirrored = mirrored
        self.device = device

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Trains on images without labels, or reads the run; ``y`` is not read."""
        images = image_set(X)
        if (run := self._run()) is not None:
            self.backbone_, self.statistics_, self.frame_ = backbone_of(run)
            _fitting(images, self.frame_)
        else:
            self._pretrain(images)
        self.n_features_out_ = self.backbone_.features
        return self

    def _run(self) -> str | Path | None:
        """The run; it may stand in the place of the method, as it does in the other estimators."""
        if self.run is not None:
            return folder_of("run takes", self.run)
        place = named("method", self.method)
        if not is_text(place):
            return folder_of("method takes a name in METHODS, or", place)
        if is_run(place) or is_model(place):
            return Path(place)
        if place not in METHODS and Path(place).name != str(place) and not is_file(str(place)):
            raise ValueError(
                f"method {str(place)!r}: it is no method, and there is no run in such a folder; "
                "give method='simclr', or run= and the folder of a finished run."
            )
        return None

    def _pretrain(self, images: ImageSet) -> None:
        import selfsight

        unlabelled = images.changed(
            splits=np.full(len(images), "unlabelled", "<U10"), mirrored=self.mirrored
        )
        with tempfile.TemporaryDirectory() as folder:
            changes = {
                "epochs": self.epochs,
                "seed": self.random_state,
                "device": self.device,
                **(self.settings or {}),
                "out": str(Path(folder) / "run"),
            }
            run = selfsight.pretrain(self.method, unlabelled, settings=changes)
            self.backbone_, self.statistics_ = run.backbone(), run.statistics
        self.frame_ = Frame.of(images)

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """``(N, F)`` representations."""
        check_is_fitted(self)
        images = image_set(X)
        _fitting(images, self.frame_)
        rows = np.arange(len(images))
        device = choose_device(self.device)
        made = represent(self.backbone_, images, rows, self.statistics_, device=device)
        return made.numpy()

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """``selfsight0`` and so on, one for each feature."""
        check_is_fitted(self)
        return np.array([f"selfsight{k}" for k in range(self.n_features_out_)], dtype=object)


class _Predicting(_OfImages):
    """What classifier and regressor share."""

    predictor_: Predictor

    def __init__(
        self,
        run: str | Path,
        head: Head = "linear",
        *,
        finetuning: FineTuning | Mapping[str, Any] | None = None,
        random_state: int = 0,
        mirrored: bool = True,
        device: str = "auto",
    ) -> None:
        self.run = run
        self.head = head
        self.finetuning = finetuning
        self.random_state = random_state
        self.mirrored = mirrored
        self.device = device

    def _fit(self, X: ArrayLike, target: Target) -> None:
        images = image_set(X, mirrored=self.mirrored)
        if len(target.values) != len(images):
            raise ValueError(
                f"X has {counted(len(images), 'image')} and y has "
                f"{counted(len(target.values), 'entry', 'entries')}."
            )
        if self.head not in ("linear", "mlp", "finetune"):
            raise ValueError(f"head {self.head!r}: choose linear, mlp or finetune.")
        folder = folder_of("run takes", self.run)
        backbone, statistics, frame = backbone_of(folder)
        _fitting(images, frame)
        rows = np.flatnonzero(target.known).astype(np.int64)
        subset = Subset(images, target, rows, self.random_state)
        subset.check()
        start = Start(backbone, statistics, choose_device(self.device))
        given = self.finetuning or {}
        how: FineTuning | Classifier | None = Classifier() if self.head == "mlp" else None
        if self.head == "finetune":
            how = given if isinstance(given, FineTuning) else FineTuning().updated(given)

        def represented() -> Representations:
            everything = np.arange(len(images))
            values = represent(backbone, images, everything, statistics, device=start.device)
            return Representations.of(values.to(start.device), everything, everything)

        about = {"run": Path(folder).name, "data": images.name}
        self.predictor_ = fit_model(start, subset, how, represented, about)

    def _output(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        return self.predictor_.output(image_set(X), device=choose_device(self.device))


class ImageClassifier(ClassifierMixin, _Predicting):  # type: ignore[misc]
    """A class, or several labels, of an image: the backbone of a run with a head.

    Args:
        run: folder of a finished run or a model, whose backbone is used.
        head: ``linear`` and ``mlp`` leave the backbone as it is, ``finetune`` trains all weights.
        finetuning: of ``finetune``: `selfsight.fitting.recipe.FineTuning` or its settings.
        random_state: seed of folds, order and views.
        mirrored: whether ``finetune`` may mirror the images; not so for digits.
        device: auto, cpu or cuda.

    Attributes:
        classes_: ``(K,)`` classes, sorted; of several labels their numbers.
        predictor_: the model; ``predictor_.save(folder, "")`` writes it for the command line.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fits the head, or all weights.

        Args:
            X: images.
            y: ``(N,)`` classes, or ``(N, K)`` 0 / 1 of several labels, NaN where unknown.
        """
        values = np.asarray(y)
        if values.ndim == 2:
            if not np.isin(values[~np.isnan(values.astype(float))], (0, 1)).all():
                raise ValueError("y: several labels must be 0 or 1, NaN where unknown.")
            self.classes_: NDArray[Any] = np.arange(values.shape[1])
            names = tuple(map(str, self.classes_))
            self._fit(X, Target("y", "labels", values.astype(np.float32), names))
            return self
        if values.ndim != 1:
            raise ValueError(f"y {values.shape}: must be (N,) classes or (N, K) labels.")
        self.classes_, codes = np.unique(values, return_inverse=True)
        names = tuple(map(str, self.classes_.tolist()))
        self._fit(X, Target("y", "class", codes.astype(np.int64), names))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """``(N, K)``: of a class they add up to 1, of several labels each stands alone."""
        return self._output(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """``(N,)`` classes, or ``(N, K)`` 0 / 1 by the labels' thresholds."""
        output = self._output(X)
        if self.predictor_.card.thresholds is not None:
            return (output >= np.array(self.predictor_.card.thresholds)).astype(np.int64)
        chosen: NDArray[Any] = self.classes_[output.argmax(1)]
        return chosen


class ImageRegressor(RegressorMixin, _Predicting):  # type: ignore[misc]
    """Numbers of an image, in their unit: the backbone of a run with a head.

    Its arguments are those of `ImageClassifier`.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fits the head, or all weights, to ``(N,)`` or ``(N, D)`` numbers, NaN where unknown."""
        values = np.asarray(y, np.float32)
        if values.ndim not in (1, 2):
            raise ValueError(f"y {values.shape}: must be (N,) or (N, D) numbers.")
        self.single_ = values.ndim == 1
        values = values[:, None] if self.single_ else values
        names = tuple(f"y{k}" for k in range(values.shape[1]))
        self._fit(X, Target("y", "number", np.ascontiguousarray(values), names))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float32]:
        """``(N,)`` or ``(N, D)``, as ``y`` was."""
        output = self._output(X)
        return output[:, 0] if self.single_ else output


def _fitting(images: ImageSet, frame: Frame) -> None:
    if Frame.of(images) != frame:
        raise ValueError(
            f"{images.name}: its images are {Frame.of(images).words}, and the backbone takes "
            f"{frame.words}."
        )
