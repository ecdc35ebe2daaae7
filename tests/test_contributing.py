"""The examples of CONTRIBUTING.md run as they stand there."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.plugins import module_at

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FENCE = re.compile(r"<!-- (\w+\.(?:py|html))\b.*?-->\n```\w+\n(.*?)```", re.DOTALL)
EXAMPLES = dict(FENCE.findall(TEXT))


@pytest.fixture
def example(tmp_path: Path) -> Any:
    """Writes an example into a file of its own."""

    def write(*names: str) -> Path:
        for name in names:
            (tmp_path / name).write_text(EXAMPLES[name])
        return tmp_path / names[0]

    return write


def test_no_example_is_left_out() -> None:
    assert len(re.findall(r"^```(?:python|html)$", TEXT, re.MULTILINE)) == len(EXAMPLES)
    text = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    assert all(f'"{name}"' in text or "<!-- byol" in text for name in EXAMPLES)


def test_the_verb(example: Any, capsys: pytest.CaptureFixture[str], digits: ImageSet) -> None:
    from selfsight.api import as_function
    from selfsight.verbs import verb_named

    file = example("count.py")
    assert main([str(file), "digits"]) == 0
    assert capsys.readouterr().out == "test 359\ntrain 1294\nvalidation 144\n"
    assert main([str(file), "digits", "--at-least", "200"]) == 1
    count = as_function(verb_named(str(file)))
    assert count(digits, at_least=145).exit_code == 1
    assert "at_least: The command fails" in count.__doc__


def test_the_section(
    example: Any, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfsight.evaluation.results import Results
    from selfsight.reporting import report

    folder = example("labels_read.py", "labels_read.html").parent
    monkeypatch.setattr(report, "__path__", [*report.__path__, str(folder)])
    importlib.invalidate_caches()
    run = tmp_path / "run"
    run.mkdir()
    for name in ("settings.yaml", "environment.json", "splits.parquet"):
        (run / name).write_bytes((digits_run / name).read_bytes())
    page = selfsight.report(run).read_text(encoding="utf-8")
    assert "Labels read" not in page  # there are no results yet
    results = Results(run / "results.json")
    place = {"data": "digits", "task": "class", "target": "digit", "split": "test"}
    for labels in (13, 1294):
        about = {**place, "probe": "knn", "num_labels": labels, "label_fraction": labels / 1294}
        results.values.append({**about, "subject": "trained", "metric": "accuracy", "mean": 0.9})
    results.write()
    page = selfsight.report(run).read_text(encoding="utf-8")
    assert '<a href="#labels-read">Labels read</a>' in page
    assert "<dt>kNN</dt><dd>1,294</dd>" in page
    assert page.index('id="results"') < page.index('id="labels-read"') < page.index('id="training"')
    monkeypatch.delitem(sys.modules, "selfsight.reporting.report.labels_read")


def test_the_probe(example: Any, digits: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from selfsight import vocabulary
    from selfsight.fitting import probes
    from selfsight.fitting.labelled import Subset
    from selfsight.fitting.representations import Representations

    folder = example("nearest_mean.py").parent
    monkeypatch.setattr(probes, "__path__", [*probes.__path__, str(folder)])
    monkeypatch.setattr(vocabulary, "PROBES", dict(vocabulary.PROBES))
    importlib.invalidate_caches()
    pixels = torch.from_numpy(digits.pixels.reshape(len(digits), -1).astype(np.float32))
    rows = np.arange(len(digits))
    train, test = digits.rows("train"), digits.rows("test")
    target = digits.targets["digit"]
    subset = Subset(digits, target, train[:300])
    assert "nearest_mean" in probes.probes_of("class")
    assert "nearest_mean" not in probes.probes_of("number")
    assert vocabulary.probe("nearest_mean").title == "nearest mean"
    fitted = probes.PROBES["nearest_mean"](subset, Representations.of(pixels, rows, train))
    probabilities = fitted.predict(pixels[test])
    assert torch.allclose(probabilities.sum(1), torch.ones(len(test)))
    right = probabilities.argmax(1).numpy() == target.values[test]
    assert right.mean() > 0.8
    monkeypatch.delitem(sys.modules, "selfsight.fitting.probes.nearest_mean")


def test_the_metric(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.metrics import top_k_accuracy_score

    from selfsight import vocabulary
    from selfsight.data.imageset import Target
    from selfsight.fitting import metrics, scores

    functions = dict(metrics.FUNCTIONS)
    for module in (metrics, scores):
        monkeypatch.setattr(module, "FUNCTIONS", functions)
    monkeypatch.setattr(vocabulary, "METRICS", dict(vocabulary.METRICS))
    module_at(example("top_two.py"), "metric")
    random = np.random.default_rng(0)
    output, truth = random.random((50, 4), np.float32), random.integers(0, 4, 50)
    weights = np.stack([np.ones(50), random.random(50)])
    target = Target("kind", "class", truth, tuple("abcd"))
    values = scores.score(target, output, np.arange(50), weights)["top_two", None]
    for value, weight in zip(values, weights, strict=True):
        expected = top_k_accuracy_score(truth, output, k=2, sample_weight=weight)
        assert value == pytest.approx(expected, abs=1e-12)
    assert vocabulary.metric("top_two").title == "top-2 accuracy"
    assert vocabulary.value_text("top_two", 0.5).startswith("50.0")


def test_the_source(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is put into the folder of the sources, and the door opens what it reads."""
    from selfsight.data import sources
    from selfsight.data.request import open_images

    folder = example("cifar_binary.py").parent
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    sources._sources.cache_clear()
    try:
        pixels = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3)).astype(np.uint8)
        labels = (np.arange(12) % 3).astype(np.uint8)
        flat = pixels.transpose(0, 3, 1, 2).reshape(12, -1)
        path = tmp_path / "data_batch_1.bin"
        np.concatenate([labels[:, None], flat], axis=1).tofile(path)
        images = open_images(path)
        np.testing.assert_array_equal(images.pixels, pixels)
        assert images.targets["label"].values.tolist() == labels.tolist()
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match=r"data_batch_1\.bin is damaged"):
            open_images(path)
    finally:
        sources._sources.cache_clear()
        sys.modules.pop("selfsight.data.sources.cifar_binary", None)


def test_files_that_the_docs_name_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(
            r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)", page.read_text(encoding="utf-8")
        )
    }
    roots = (ROOT, ROOT / "src", ROOT / "src/selfsight")
    assert len(named) > 20
    assert not [each for each in named if not any((root / each[1]).is_file() for root in roots)]
