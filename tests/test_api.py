"""The verbs as functions: one helper makes them from the table, with real signatures."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import selfsight
from selfsight.api import as_function, function_name, signature_of, typed
from selfsight.data.audit import Audited
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.settings import Evaluate
from selfsight.labelling.audit import AuditImages
from selfsight.runs.run import Run, load_run
from selfsight.verbs import VERBS, Verb, verb_named

from .stub import STUB, text


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_each_verb_is_a_function(verb: Verb) -> None:
    function = getattr(selfsight, function_name(verb))
    assert function_name(verb) in selfsight.__all__
    assert getattr(selfsight, function_name(verb)) is function
    assert pickle.loads(pickle.dumps(function)) is function
    parameters = inspect.signature(function).parameters
    fields = verb.settings_class.model_fields
    assert set(fields) | {"settings"} == set(parameters)
    assert inspect.signature(function).return_annotation != "Any"
    for name, field in fields.items():
        if name != "method":
            assert (parameters[name].default is inspect.Parameter.empty) == field.is_required()
    text = inspect.getdoc(function)
    assert text is not None and text.startswith(verb.summary)
    assert all(f"\n    {name}: " in text for name in parameters)
    assert "\nReturns:" in text
    assert "\nRaises:" in text or verb.name in ("list-methods", "completion")


def test_words_are_positional_and_settings_are_keywords() -> None:
    parameters = inspect.signature(selfsight.evaluate).parameters
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["run", "data"]
    assert parameters["fractions"].default == (0.01, 0.1, 1.0)
    assert parameters["fractions"].annotation == "tuple[float, ...]"
    assert list(inspect.signature(selfsight.pretrain).parameters)[:2] == ["method", "data"]
    assert inspect.signature(selfsight.run).parameters["method"].default == "simclr"


def test_the_stub_is_up_to_date() -> None:
    """Editors read ``__init__.pyi``; ``make stub`` writes it after a change of settings."""
    pytest.importorskip("ruff")
    assert STUB.read_text() == text()
    assert (STUB.parent / "py.typed").is_file()


USE = """
from typing import Any
import numpy as np
import torch
from torch.utils.data import TensorDataset
import selfsight
from selfsight.labelling.audit import AuditImages
page: str = str(selfsight.audit(AuditImages(data="digits")).page)
print(selfsight.evaluate("runs/x", draws=3).table())
selfsight.pretrain("simclr", np.zeros((2, 8, 8)), epochs=3, settings={"optimizer.lr": 1e-3})
selfsight.evaluate("runs/x", TensorDataset(torch.zeros(2, 3, 8, 8)))
selfsight.evaluate("runs/x", draw=3)
selfsight.report(3)
"""


@pytest.mark.slow
def test_a_type_checker_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(USE)
    words = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-error-summary"]
    words += ["--ignore-missing-imports", f"--cache-dir={tmp_path / 'cache'}", "use.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    wrong = {line.split(":")[1] for line in done.stdout.splitlines() if ": error: " in line}
    assert wrong == {"12", "13"}, done.stdout + done.stderr
    assert 'did you mean "draws"' in done.stdout


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the functions of two verbs were called with."""
    calls: list[tuple[Any, ...]] = []
    for name in ("evaluate", "audit"):
        verb = VERBS[name]
        made = verb._replace(function=lambda *words: calls.append(words))
        monkeypatch.setitem(VERBS, name, made)
        function = as_function(made)
        monkeypatch.setattr(selfsight, name, function)
    return calls


def test_settings_as_keywords_mappings_and_objects(seen: list[tuple[Any, ...]]) -> None:
    selfsight.evaluate(
        Path("runs/x"), fractions=[0.5], settings={"finetuning.epochs": 3, "draws": 2}, seed=4
    )
    selfsight.evaluate(Evaluate(run="runs/x", draws=7), seed=4)
    selfsight.evaluate(settings=Evaluate(run="runs/x"))
    selfsight.evaluate(run="runs/x", data=Path("other"))
    first, second, third, fourth = (settings for (settings,) in seen)
    assert (first.run, first.fractions, first.draws, first.seed) == ("runs/x", (0.5,), 2, 4)
    assert first.finetuning.epochs == 3
    assert (second.draws, second.seed) == (7, 4)
    assert third == Evaluate(run="runs/x")
    assert fourth == Evaluate(run="runs/x", data="other")


def test_runs_and_images_as_objects(
    seen: list[tuple[Any, ...]], digits_run: Path, digits: ImageSet
) -> None:
    run = load_run(digits_run)
    selfsight.evaluate(run, digits, controls=("pixels", run))
    (settings, images) = seen.pop()
    assert images is digits
    assert settings.run == str(digits_run) and settings.data == "digits"
    assert settings.controls == ("pixels", str(digits_run))
    selfsight.audit(np.zeros((5, 8, 8), np.uint8))
    (settings, images) = seen.pop()
    assert isinstance(settings, AuditImages) and settings.data == "images"
    assert images.shape == (5, 8, 8)
    selfsight.audit([np.zeros((8, 8, 3), np.uint8)] * 4)
    assert len(seen.pop()[1]) == 4


def test_mistakes_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no setting 'draw'; did you mean 'draws'"):
        selfsight.evaluate("runs/x", draw=3)
    with pytest.raises(TypeError, match=r"suggest\(\) needs 'run'"):
        selfsight.suggest(count=3)
    with pytest.raises(ValueError, match="name the folder of a run, or --features"):
        selfsight.evaluate(draws=3)
    with pytest.raises(TypeError, match="got 'run' twice"):
        selfsight.evaluate("runs/x", run="runs/y")
    with pytest.raises(TypeError, match=r"at most 2 words \(run, data\)"):
        selfsight.evaluate("runs/x", "data", 3)
    with pytest.raises(ValueError, match="did you mean 'simclr'"):
        selfsight.pretrain("simclt", "digits")
    with pytest.raises(AttributeError, match="no attribute 'predcit'"):
        selfsight.predcit  # noqa: B018


def test_an_audit_from_arrays(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 12), np.uint8)
    pixels[7] = pixels[3]
    found = selfsight.audit(pixels, out=tmp_path, near=False)
    assert isinstance(found, Audited)
    assert found.exit_code == 0
    assert [copies.rows for copies in found.audit.copies] == [(3, 7)]
    assert str(found) == f"The audit: {tmp_path / 'audit.html'}"


def test_results_are_arrays_where_no_file_is_named(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    few = digits.take(np.arange(9))
    row_ids, values = selfsight.embed(digits_run, few)
    assert row_ids.tolist() == few.row_ids.tolist()
    assert values.shape == (9, 16) and values.dtype == np.float32
    again = selfsight.embed(digits_run, few.pixels[..., 0])
    np.testing.assert_array_equal(again.representations, values)
    path = selfsight.embed(digits_run, few, out=tmp_path / "e.npz")
    np.testing.assert_array_equal(np.load(path)["representations"], values)
    lines = str(again).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith('"row_id","f0","f1"')


def test_predictions_in_memory_are_those_of_the_file(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    model = selfsight.finetune(digits_run, digits, out=tmp_path / "model", head_only="linear")
    assert str(model) == str(tmp_path / "model")
    few = digits.take(np.arange(9))
    found = selfsight.predict(model, few)
    path = selfsight.predict(tmp_path / "model", few, out=tmp_path / "p.parquet")
    table = pq.read_table(path)
    assert found.arrow.equals(table)
    assert found.predicted == table["predicted"].to_pylist()
    assert found.output.shape == (9, 10) and len(found) == 9
    assert [found.names[k] for k in found.output.argmax(1)] == found.predicted
    csv = selfsight.predict(model, few, out=tmp_path / "p.csv")
    assert str(found) == csv.read_text().rstrip("\n")


OWN = '''
from selfsight.data import request
from selfsight.data.options import Data, Images
from selfsight.verbs import Verb


class CountImages(Data):
    """Count images."""

    above: int = 0
    """Only those whose mean is above this value."""


class Count(int):
    exit_code = 3


def count(settings: CountImages, images: Images | None = None) -> Count:
    """Counts.

    Returns:
        How many.

    Raises:
        ValueError: the images cannot be opened.
    """
    found = request.open(settings, images)
    means = found.pixels.reshape(len(found), -1).mean(1)
    return Count((means > settings.above).sum())


VERB = Verb("count", "DATA", CountImages, count, "Count images.")
'''


def test_a_verb_may_be_a_file_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from selfsight.cli import main

    file = tmp_path / "count.py"
    file.write_text(OWN)
    assert main([str(file), "digits", "--above", "60"]) == 3
    printed = int(capsys.readouterr().out)
    function = as_function(verb_named(str(file)))
    assert printed == function("digits", above=60) < function("digits") == 1797
    assert function(np.full((4, 8, 8), 9, np.uint8)) == 4
    assert str(inspect.signature(function)).startswith("(data: ")
    with pytest.raises(SystemExit):
        main([str(file), "--help"])
    assert "Only those whose mean is above" in capsys.readouterr().out
    (tmp_path / "none.py").write_text("x = 1\n")
    assert main([str(tmp_path / "none.py"), "digits"]) == 2
    assert "must define VERB" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere.py"), "digits"]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_annotations_as_people_write_them() -> None:
    from typing import Annotated, Literal

    from pydantic import Field

    assert typed(Annotated[int, Field(ge=1)] | None) == "int | None"
    assert typed(tuple[Annotated[float, Field(gt=0)], ...]) == "tuple[float, ...]"
    assert typed(Literal["a", "b"]) == "Literal['a', 'b']"
    assert typed(dict[str, Run]) == "dict[str, Run]"
    assert str(signature_of(VERBS["embed"])).endswith("-> 'Path | Embeddings'")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selfsight.pretrain("simclrr", "digits"), "did you mean 'simclr'"),
        (lambda: selfsight.pretrain("simclr", "digits", epochs="three"), "epochs: .* 'three'"),
        (lambda: selfsight.pretrain("simclr", "digits", epochs=-1), "epochs: must be at least 0"),
        (lambda: selfsight.evaluate("x", draws=0), "draws: must be at least 1"),
    ],
)
def test_wrong_settings_are_one_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_labels_in_memory(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    images, labels = digits.pixels[:200, :, :, 0], digits.targets["digit"].values[:200]
    quick: dict[str, Any] = {"probes": ("knn",), "controls": (), "fractions": (1.0,)}
    for number, given in enumerate((labels, labels.tolist())):
        out = tmp_path / str(number)
        results = selfsight.evaluate(digits_run, images, labels=given, out=out, **quick)
        assert {row["target"] for row in results.records if row["task"] == "class"} == {"label"}
    channels_first = digits.pixels[:200].transpose(0, 3, 1, 2)
    names = np.array(list("abcdefghij"))[labels]
    audited = selfsight.audit(channels_first, labels=names, out=tmp_path / "audit")
    assert audited.audit.distributions["label"]["names"] == list("abcdefghij")
    assert (audited.audit.height, audited.audit.channels) == (8, 1)


REFUSED: list[tuple[Callable[[Path, np.ndarray], object], type[Exception], str]] = [
    (
        lambda run, x: selfsight.evaluate(run, x, labels=np.arange(3)),
        ValueError,
        "labels: there must be one for each image (got 3 labels and 8 images).",
    ),
    (
        lambda run, x: selfsight.evaluate(run, "digits", labels=np.arange(8)),
        TypeError,
        "not an array of shape (8,) for images of a path: put them into a CSV",
    ),
    (
        lambda run, x: selfsight.evaluate(run, selfsight.open_images(x), labels=[1] * 8),
        TypeError,
        "not a list of 8 for an image set",
    ),
    (lambda run, x: selfsight.evaluate(run, (x, x[:, 0, 0])), TypeError, "labels as labels="),
    (lambda run, x: selfsight.evaluate(x, run), TypeError, "evaluate(): run takes a run or its"),
    (lambda run, x: selfsight.embed(run, None), TypeError, "embed(): images takes a path, an arr"),
    (lambda run, x: selfsight.predict(None, x), TypeError, "predict(): model takes a model or its"),
    (lambda run, x: selfsight.search("i", None), TypeError, "search(): queries takes row ids, pa"),
    (lambda run, x: selfsight.pretrain(x, "simclr"), TypeError, "pretrain(): method takes a name"),
    (lambda run, x: selfsight.pretrain("simclr", None), TypeError, "pretrain(): data takes a pat"),
    (
        lambda run, x: selfsight.pretrain("simclr", x, epochs="many"),
        ValueError,
        "epochs: must be an integer",
    ),
    (lambda run, x: selfsight.report(5), TypeError, "report(): runs takes runs or their folders"),
    (lambda run, x: selfsight.load(x), TypeError, "load() takes a run or its folder, not an array"),
    (lambda run, x: selfsight.load_model(None), TypeError, "load_model() takes a model or its"),
    (
        lambda run, x: selfsight.SelfSupervisedTransformer("runs/gone").fit(x),
        ValueError,
        "method 'runs/gone': it is no method, and there is no run in such a folder",
    ),
    (lambda run, x: selfsight.ImageClassifier(3).fit(x, [0, 1] * 4), TypeError, "run takes a run"),
]


@pytest.mark.parametrize(("call", "kind", "said"), REFUSED, ids=[said for *_, said in REFUSED])
def test_what_an_argument_takes(
    call: Callable[[Path, np.ndarray], object], kind: type[Exception], said: str, digits_run: Path
) -> None:
    with pytest.raises(kind) as caught:
        call(digits_run, np.zeros((8, 8, 8), np.uint8))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_objects_in_the_place_of_their_names(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    quick: dict[str, Any] = {"epochs": 0, "device": "cpu", "out": tmp_path / "a"}
    method = selfsight.METHODS["simclr"]
    run = selfsight.pretrain(method, digits, weights=selfsight.load(digits_run), **quick)
    assert run.method == "simclr" and run.plain["weights"] == str(digits_run)
    assert selfsight.load(load_run(digits_run)).features == run.backbone().features
    images = digits.pixels[:9, :, :, 0]
    for given in (str(digits_run), digits_run, load_run(digits_run)):
        fitted = selfsight.SelfSupervisedTransformer(given).fit(images)
        assert fitted.transform(images).shape == (9, fitted.n_features_out_)
    classifier = selfsight.ImageClassifier(load_run(digits_run)).fit(images, [0, 1, 0] * 3)
    assert classifier.predict(images).shape == (9,)


def test_search_takes_images_and_representations(
    digits_run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    index = selfsight.index(digits_run, out=tmp_path / "index")
    for query in (digits.pixels[5, :, :, 0], digits.pixels[5:6], digits.take(np.array([5]))):
        found = selfsight.search(index, query, k=2, out=tmp_path / "found.csv")
        assert found.neighbours.cosines[0, 0] > 0.9999
    vectors = selfsight.embed(digits_run, digits.pixels[5:7]).representations
    found = selfsight.search(index, torch.from_numpy(vectors), k=3)
    assert found.neighbours.row_ids.shape == (2, 3) and found.neighbours.cosines[0, 0] > 0.9999
