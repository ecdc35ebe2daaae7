"""The images of a verb on a run: the run's own in its own splits, or others in its form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.pixels.values import ValueScale
from selfsight.runs.frame import Frame
from selfsight.runs.request import RunData, images_in, images_of, own_images
from selfsight.runs.run import Run, load_run

MakeFile = Callable[..., Path]
TrainRun = Callable[..., Run]
QUICK = ["--fractions", "1", "--probes", "knn", "--controls", "untrained", "--no-clusters"]
CPU = ["--device", "cpu"]
FORM = (8, 8, 1, "uint8", ValueScale.of("uint8"))


@pytest.fixture
def run(make_file: MakeFile, train_run: TrainRun) -> Run:
    return train_run("run", make_file("a", range(60), range(60, 80)))


def leaky(folder: Path) -> Path:
    """Forty train images; the first ten of them are the test images."""
    x = np.random.default_rng(7).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    y = np.arange(40) % 3
    path = folder / "leaky.npz"
    np.savez(path, train_images=x, train_labels=y, test_images=x[:10], test_labels=y[:10])
    return path


VERBS = {
    "evaluate": lambda folder: QUICK,
    "finetune": lambda folder: ["--out", str(folder / "model"), "--head-only", "linear"],
    "suggest": lambda folder: ["--out", str(folder / "out"), "--count", "2"],
    "tune probe": lambda folder: ["--trials", "1", "--out", str(folder / "study")],
}


@pytest.mark.parametrize("verb", VERBS)
def test_leaking_data_stops_every_verb(
    verb: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they stop `pretrain`; the flags are the same."""
    words = [*verb.split(), str(run.folder.path), str(leaky(tmp_path)), *CPU]
    words += VERBS[verb](tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("selfsight: leaky leaks across its splits: The same image is in")
    assert "Give --drop-leaks" in printed and printed.count("\n") == 1
    if verb == "suggest":  # all of its images have labels, which is said once they are open
        assert main([*words, "--drop-leaks"]) == 2
        assert "has a label already" in capsys.readouterr().err
        return
    assert main([*words, "--drop-leaks"]) == 0
    if verb == "evaluate":
        assert json.loads(run.folder.results.read_text())["allowed_leaks"] == []
        assert main([*words, "--allow-leaks"]) == 0
        assert "Warning, allowed: leaky: The same image is in" in capsys.readouterr().out
        assert len(json.loads(run.folder.results.read_text())["allowed_leaks"]) == 10
        assert (
            "A leak between the splits was allowed" in selfsight.report(run.folder.path).read_text()
        )


def test_a_moved_set_is_found_again(run: Run, tmp_path: Path) -> None:
    before = own_images(run)
    place = tmp_path / "elsewhere" / "renamed.npz"
    place.parent.mkdir()
    shutil.move(run.settings.data, place)
    found = images_of(run, RunData(run=str(run.folder.path), data=str(place)))
    assert found.fingerprint() == before.fingerprint()
    assert found.splits.tolist() == before.splits.tolist()
    assert not found.cautions


def test_a_set_that_differs_from_the_moved_one_is_other_images(run: Run, tmp_path: Path) -> None:
    with np.load(run.settings.data) as file:
        arrays = dict(file)
    Path(run.settings.data).unlink()
    name = next(name for name, array in arrays.items() if array.ndim > 2)
    arrays[name] = arrays[name] ^ 1
    place = tmp_path / "other.npz"
    np.savez(place, **arrays)
    found = images_of(run, RunData(run=str(run.folder.path), data=str(place)))
    assert "pixels or row ids differ" in found.cautions[0]
    assert str(place) in found.cautions[0] and str(run.folder.path) in found.cautions[0]


def test_an_allowed_leak_is_in_the_model(run: Run, tmp_path: Path) -> None:
    model = selfsight.finetune(
        run, str(leaky(tmp_path)), out=tmp_path / "m", head_only="linear", allow_leaks=True
    )
    assert len(model.card.allowed_leaks) == 10
    assert len(selfsight.load_model(tmp_path / "m").card.allowed_leaks) == 10


def test_own_images_are_those_of_the_training(make_file: MakeFile, train_run: TrainRun) -> None:
    data = make_file("a", range(80), range(80, 100))
    limited = train_run("limited", data, limit=30)
    images = own_images(limited)
    assert len(images.pool) == 30
    assert images.fingerprint() == limited.environment["data"]["fingerprint"]
    leaking = make_file("b", range(60), [*range(5), *range(60, 80)])
    dropped = train_run("dropped", leaking, drop_leaks=True, image_size=12)
    images = own_images(dropped)
    assert images.fingerprint() == dropped.environment["data"]["fingerprint"]
    assert images.leaks == ()
    allowed = train_run("allowed", leaking, allow_leaks=True)
    assert len(own_images(allowed).leaks) == 5  # as its training was told


def test_images_that_are_not_there_are_named(make_file: MakeFile, train_run: TrainRun) -> None:
    """They were moved, or given from Python."""
    data = make_file("a", range(60), range(60, 80))
    moved = train_run("moved", data)
    data.rename(data.with_name("b.npz"))
    pixels = np.load(data.with_name("b.npz"))["train_images"]
    given = selfsight.pretrain(
        "simclr", pixels, out=data.parent / "given", settings=moved_from(moved)
    )
    with pytest.raises(
        ValueError, match=r"^\S+a\.npz: the images that \S+moved was trained on are"
    ):
        selfsight.evaluate(moved, device="cpu")
    with pytest.raises(ValueError, match=r"^images: the images .* given from Python\); name them"):
        selfsight.finetune(given, out=data.parent / "m", device="cpu")
    again = images_of(given, RunData(run=str(given.folder.path)), pixels)
    assert again.cautions == ()  # the same six are validation, which nothing was trained on


def moved_from(run: Run) -> dict[str, Any]:
    """Small settings, those of another run."""
    names = ("backbone", "network", "epochs", "batch_size", "monitor_images", "device")
    return {name: run.plain[name] for name in names}


def labels_of(images: ImageSet, path: Path, **columns: Any) -> str:
    rows = zip(images.row_ids.tolist(), *columns.values(), strict=True)
    lines = [",".join(["row_id", *columns]), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_labels_of_a_verb_move_no_recorded_split(run: Run, tmp_path: Path) -> None:
    images = own_images(run)
    grade = np.array(["low", "high"])[np.arange(len(images)) % 2]
    table = labels_of(images, tmp_path / "t.csv", grade=grade, split=["train"] * len(images))
    joined = own_images(run, DataOptions(labels=table))
    assert joined.splits.tolist() == images.splits.tolist()
    assert set(joined.targets) == {*images.targets, "grade"}
    coils = labels_of(images, tmp_path / "g.csv", grade=grade, group=np.arange(len(images)) // 4)
    with pytest.raises(ValueError, match="A group is in train"):  # splits that cut it, found late
        own_images(run, DataOptions(labels=coils))


def test_recorded_groups_stay(make_file: MakeFile, train_run: TrainRun, tmp_path: Path) -> None:
    data = make_file("a", range(80))
    ids = [f"a.npz#{i}" for i in range(80)]
    grade, board = ["low", "high"] * 40, [f"b{i // 4}" for i in range(80)]
    lines = ["row_id,grade,board", *map(",".join, zip(ids, grade, board, strict=True))]
    (tmp_path / "boards.csv").write_text("\n".join(lines))
    labels = str(tmp_path / "boards.csv")
    run = train_run("run", data, labels=labels, group="board", target="grade")
    images = own_images(run)
    assert images.group_name == "board"
    other = labels_of(images, tmp_path / "t.csv", defect=["yes", "no"] * (len(images) // 2))
    again = own_images(run, DataOptions(labels=other))
    assert again.groups is not None and again.groups.tolist() == images.groups.tolist()
    assert "defect" in again.targets
    boards = [board[int(row_id.split("#")[1])] for row_id in images.row_ids]
    both = labels_of(
        images, tmp_path / "b.csv", defect=["yes", "no"] * (len(boards) // 2), board=boards
    )
    again = own_images(run, DataOptions(labels=both))
    assert "defect" in again.targets and "board" not in again.targets
    assert again.groups is not None and again.groups.tolist() == images.groups.tolist()


def test_how_targets_are_read_counts_on_the_own_images_too(run: Run, tmp_path: Path) -> None:
    person = own_images(run, DataOptions(kinds=("labels:identity",)))
    assert person.targets["labels"].kind == "identity"
    ids = person.row_ids.tolist()
    rows = [f"{name},{cell}" for name, cell in zip(ids, ["a/b", "a", ""] * 30, strict=False)]
    (tmp_path / "t.csv").write_text("\n".join(["row_id,defect", *rows]))
    wish = DataOptions(labels=str(tmp_path / "t.csv"), separator="/", empty="none")
    defect = own_images(run, wish).targets["defect"]
    assert defect.kind == "labels" and defect.known.all()


@pytest.mark.parametrize(
    "option",
    [
        {"group": "coil"},
        {"tile": 8},
        {"limit": 5},
        {"image_size": 16},
        {"test": 0.5},
        {"value_range": (0.0, 9.0)},
        {"bits": 4},
        {"axes": "NHWC"},
    ],
)
def test_what_the_training_settled_is_refused(option: dict[str, Any], run: Run) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"^{name}: the images of .* as its training opened them"):
        images_of(run, RunData(run=str(run.folder.path), **option))


def test_other_images_take_the_form_of_the_run(run: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (30, 20, 30, 3)).astype(np.uint8)
    settings = RunData(run=str(run.folder.path))
    for source in (pixels, list(pixels)):
        images = images_of(run, settings, source)
        assert images.scale.form == Frame.of_run(run).scale("run").form == FORM
    np.save(tmp_path / "b.npy", pixels)
    tiles = settings.updated({"data": str(tmp_path / "b.npy"), "tile": 10, "limit": 12})
    assert len(images_of(run, tiles).pool) == 12
    assert len(images_in(Frame.of_run(run), "run", DataOptions(tile=10), pixels)) == 180


FILES = {
    "evaluate": lambda folder: [*QUICK, "--target", "grade"],
    "finetune": lambda folder: ["--out", str(folder / "m"), "--head-only", "linear"],
}


@pytest.mark.parametrize("verb", FILES)
def test_the_same_options_open_a_folder_in_every_verb(
    verb: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels, group and split column of a table beside a folder of large images."""
    random = np.random.default_rng(5)
    lines = ["row_id,grade,coil,side"]
    (tmp_path / "images").mkdir()
    for i in range(48):
        values = random.integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "images" / f"{i:02}.png")
        side = "test" if i >= 36 else "validation" if i >= 30 else "train"
        lines.append(f"{i:02}.png,{'ab'[i % 2]},c{i // 3},{side}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    words = [verb, str(run.folder.path), str(tmp_path / "images"), *CPU]
    words += ["--labels", str(tmp_path / "t.csv"), "--group", "coil", "--split-column", "side"]
    words += FILES[verb](tmp_path)
    assert main(words) == 0
    if verb == "evaluate":
        values = json.loads(run.folder.results.read_text())["summary"]["values"]
        assert {row["num_labels"] for row in values if row["probe"] == "knn"} == {30}
        assert main([*words, "--tile", "8"]) == 0
        assert "Images were cut into tiles" in capsys.readouterr().out
    else:
        card = selfsight.load_model(tmp_path / "m").card
        assert (card.target, card.num_labels) == ("grade", 30)


def test_predict_and_embed_take_the_options_too(run: Run, tmp_path: Path) -> None:
    selfsight.finetune(run, out=tmp_path / "m", head_only="linear", device="cpu")
    path = leaky(tmp_path)  # nothing is learned: what leaks is no matter
    words = ["--device", "cpu", "--limit", "20"]
    out = str(tmp_path / "p.csv")
    assert main(["predict", str(tmp_path / "m"), str(path), "--out", out, *words]) == 0
    assert len(Path(out).read_text().splitlines()) == 1 + 20 + 10
    words += ["--drop-leaks", "--out", str(tmp_path / "e.npy")]
    assert main(["embed", str(run.folder.path), str(path), *words]) == 0
    assert len(np.load(tmp_path / "e.npy")) < 30


ON_A_DEVICE = {
    "pretrain": ["simclr", "DATA", "--out", "OUT"],
    "run": ["DATA", "--out", "OUT"],
    "evaluate": ["RUN"],
    "suggest": ["RUN", "DATA", "--out", "OUT"],
    "tune probe": ["RUN", "--out", "OUT"],
    "tune finetune": ["RUN", "--out", "OUT"],
    "tune pretrain": ["simclr", "DATA", "--out", "OUT"],
    "finetune": ["RUN", "--out", "OUT"],
    "embed": ["RUN", "DATA", "--out", "OUT.npy"],
    "predict": ["MODEL", "DATA", "--out", "OUT.csv"],
}


@pytest.mark.parametrize("verb", ON_A_DEVICE)
def test_a_device_that_is_not_there_is_one_sentence_in_every_verb(
    verb: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    digits_run: Path,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    places = {"RUN": str(digits_run), "MODEL": str(digits_run), "DATA": "digits"}
    words = [places.get(w, w.replace("OUT", str(tmp_path / "out"))) for w in ON_A_DEVICE[verb]]
    for name, said in (
        ("gpu", "torch finds no CUDA GPU here; leave --device out."),
        ("cuda:3", "torch finds no CUDA GPU here; leave --device out."),
        ("mps", "choose auto, cpu, cuda, or one GPU as in cuda:0."),
    ):
        assert main([*verb.split(), *words, "--device", name]) == 2
        assert capsys.readouterr().err == f"selfsight: device {name!r}: {said}\n"
    assert list(tmp_path.iterdir()) == []  # before anything is written


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:0"])
def test_a_gpu_has_several_names(name: str, run: Run, tmp_path: Path) -> None:
    assert main(["evaluate", str(run.folder.path), *QUICK, "--device", name]) == 0
    model = ["--out", str(tmp_path / "m"), "--head-only", "linear", "--device", name]
    assert main(["finetune", str(run.folder.path), *model]) == 0


def test_a_model_is_named_where_a_run_is_asked_for(
    digits: ImageSet, make_run: Callable[..., Path]
) -> None:
    """In every verb, since all of them load runs here."""
    model = make_run(digits)
    (model / "model.json").write_text("{}")
    with pytest.raises(ValueError, match="is a model of `finetune`, not a run; name the run that"):
        load_run(model)
