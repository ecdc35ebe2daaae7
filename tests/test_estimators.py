"""The estimators as scikit-learn uses them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_checks

import selfsight
from selfsight import ImageClassifier, ImageRegressor, SelfSupervisedTransformer
from selfsight.data.imageset import ImageSet
from selfsight.estimators import image_set

SHORT = {"backbone_lr": 3e-3, "head_lr": 1e-2, "epochs": 1, "min_steps": 10}
Arrays = tuple[Any, Any, Any, Any]


@pytest.fixture(scope="module")
def arrays(digits: ImageSet) -> Arrays:
    """Train and test images ``(N, 8, 8)`` with their digits."""
    values = digits.targets["digit"].values
    train, test = digits.rows("train")[:400], digits.rows("test")
    pixels = digits.pixels[..., 0]
    return pixels[train], values[train], pixels[test], values[test]


def every(run: Path) -> list[Any]:
    return [SelfSupervisedTransformer(run=run), ImageClassifier(run), ImageRegressor(run)]


@pytest.mark.parametrize("number", range(3))
def test_scikit_learns_own_checks(digits_run: Path, number: int) -> None:
    """Those that bring no data of their own, which is never images."""
    estimator = every(digits_run)[number]
    name = type(estimator).__name__
    checks = (
        "check_no_attributes_set_in_init",
        "check_get_params_invariance",
        "check_set_params",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_mixin_order",
    )
    for check in checks:
        getattr(estimator_checks, check)(name, clone(estimator))


def test_not_fitted_cloned_and_pickled(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, fresh, _ = arrays
    for estimator in every(digits_run):
        use = estimator.transform if hasattr(estimator, "transform") else estimator.predict
        with pytest.raises(NotFittedError):
            use(fresh)
        assert estimator.fit(pixels, values) is estimator
        again = pickle.loads(pickle.dumps(estimator))
        assert_array_equal(
            (again.transform if hasattr(again, "transform") else again.predict)(fresh), use(fresh)
        )
        assert not [name for name in vars(clone(estimator)) if name.endswith("_")]


def test_classes_of_any_type(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, fresh, truth = arrays
    words = np.array([f"d{v}" for v in range(10)])
    fitted = ImageClassifier(digits_run).fit(pixels, words[values])
    assert fitted.classes_.tolist() == words.tolist()
    probabilities = fitted.predict_proba(fresh)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert_array_equal(fitted.predict(fresh), words[probabilities.argmax(1)])
    assert fitted.score(fresh, words[truth]) > 0.5
    numbers = ImageClassifier(digits_run).fit(pixels[..., None], values + 100)
    assert_array_equal(numbers.predict_proba(fresh), probabilities)
    assert set(numbers.predict(fresh)) <= set(range(100, 110))


def test_several_labels(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, fresh, truth = arrays
    labels = np.stack([values % 2 == 0, values > 6], 1).astype(float)
    labels[::9, 1] = np.nan
    fitted = ImageClassifier(digits_run, "mlp").fit(pixels, labels)
    found = fitted.predict(fresh)
    assert found.shape == (len(fresh), 2) and set(np.unique(found)) == {0, 1}
    assert (found[:, 0] == (truth % 2 == 0)).mean() > 0.6


def test_numbers(digits_run: Path, arrays: Arrays) -> None:
    pixels, _, fresh, _ = arrays
    ink, fresh_ink = pixels.mean((1, 2)), fresh.mean((1, 2))
    fitted = ImageRegressor(digits_run).fit(pixels, ink)
    assert fitted.predict(fresh).shape == (len(fresh),)
    assert fitted.score(fresh, fresh_ink) > 0.6
    two = ImageRegressor(digits_run).fit(pixels, np.stack([ink, -ink], 1))
    np.testing.assert_allclose(two.predict(fresh)[:, 0], fitted.predict(fresh), rtol=1e-4)


def test_in_a_pipeline_and_a_grid_search(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, fresh, truth = arrays
    steps = [
        ("represent", SelfSupervisedTransformer(run=digits_run)),
        ("classify", LogisticRegression(max_iter=2000)),
    ]
    pipeline = Pipeline(steps).fit(pixels, values)
    assert pipeline.score(fresh, truth) > 0.3  # chance is 0.1
    assert len(pipeline[:-1].get_feature_names_out()) == 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(ImageClassifier(digits_run), {"head": ["linear", "mlp"]}, cv=2)
        search.fit(pixels, values)
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert search.best_score_ > 0.3
    assert search.predict(fresh).shape == truth.shape


def test_a_transformer_that_trains(arrays: Arrays) -> None:
    pixels, _, fresh, _ = arrays
    settings = {"batch_size": 64, "network": {"widths": (8, 16), "depths": (1, 1)}}
    settings["backbone"] = "resnet20"
    made = [
        SelfSupervisedTransformer(epochs=1, settings=settings, random_state=seed).fit(pixels)
        for seed in (0, 0, 1)
    ]
    values = [transformer.transform(fresh) for transformer in made]
    assert values[0].shape == (len(fresh), 16)
    assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_fine_tuning(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, fresh, _ = arrays
    frozen = ImageClassifier(digits_run).fit(pixels, values)
    tuned = ImageClassifier(digits_run, "finetune", finetuning=SHORT).fit(pixels, values)
    assert tuned.predictor_.card.choice["probe"] == "finetune"
    assert not np.allclose(tuned.predict_proba(fresh), frozen.predict_proba(fresh))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 64), np.uint8), "must be an array"),
        (np.zeros((3, 8, 8), np.int32), "pixels are int32"),
        (np.zeros((0, 8, 8), np.uint8), "not empty"),
        (np.zeros((3, 9, 8), np.uint8), "9x8x1 uint8"),
        (np.zeros((3, 8, 8)), "8x8x1 float32"),
    ],
)
def test_images_that_do_not_fit(digits_run: Path, pixels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelfSupervisedTransformer(run=digits_run).fit(pixels)


def test_labels_that_do_not_fit(digits_run: Path, arrays: Arrays) -> None:
    pixels, values, _, _ = arrays
    with pytest.raises(ValueError, match="400 images and y has 399"):
        ImageClassifier(digits_run).fit(pixels, values[1:])
    with pytest.raises(ValueError, match="0 or 1"):
        ImageClassifier(digits_run).fit(pixels, values[:, None])
    with pytest.raises(ValueError, match="head 'knn'"):
        ImageClassifier(digits_run, "knn").fit(pixels, values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="/no/such"):
        ImageClassifier("/no/such").fit(pixels, values)


def test_they_are_public_and_lazy() -> None:
    assert {"ImageClassifier", "ImageRegressor", "SelfSupervisedTransformer"} <= set(
        selfsight.__all__
    )
    assert image_set(np.zeros((2, 4, 5), np.uint8)).pixels.shape == (2, 4, 5, 1)
    with pytest.raises(AttributeError, match="nothing"):
        _ = selfsight.nothing
