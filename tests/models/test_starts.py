"""`compare-starts`: what is found and named, what is read, and what the table says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from selfsight.answers import json_text
from selfsight.data.imageset import ImageSet, Target
from selfsight.models import starts
from selfsight.models.start_table import StartTable
from selfsight.models.starts import CompareStarts, compare_starts
from selfsight.networks.architectures import build_backbone
from selfsight.networks.published.caches import cached_weights
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import Network, choose_backbone
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain

SMALL = Network(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1), stem="imagenet")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package and no cache of this machine; tests that want one put it there."""
    monkeypatch.setattr(starts, "PACKAGES", {})
    monkeypatch.setattr(starts, "cached_weights", list)


def photographs(side: int = 48) -> ImageSet:
    """Two classes that differ in brightness; every fourth image is test."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = random.integers(0, 200, (80, side, side, 3)) + 50 * labels[:, None, None, None]
    splits = np.where(np.arange(80) // 2 % 4 == 3, "test", "train")
    return ImageSet(
        "photographs",
        pixels.astype(np.uint8),
        np.array([f"{i:02}.png" for i in range(80)]),
        splits,
        targets={"kind": Target("kind", "class", labels.astype(np.int64), ("dark", "bright"))},
    )


def file_of(path: Path, blind: bool = False, seed: int = 5) -> Path:
    """Weights of a small ResNet; a blind one gives the same for every image."""
    backbone = build_backbone(choose_backbone("resnet18", SMALL, 3, 48), seed=seed)
    if blind:
        torch.nn.init.zeros_(backbone.network.conv1.weight)  # type: ignore[arg-type]
    torch.save(backbone.network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    return str(file_of(folder / "seeing.pth")), str(file_of(folder / "blind.pth", blind=True))


def wish(*names: str, **changes: Any) -> CompareStarts:
    return CompareStarts(data="photographs", starts=names, device="cpu", **changes)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file does not say the widths of a small network: the settings do."""
    plain = starts.begin

    def begin(settings: Pretrain, images: ImageSet) -> Any:
        if settings.weights.endswith(".pth"):
            settings = settings.updated({"backbone": "resnet18", "network": SMALL})
        return plain(settings, images)

    monkeypatch.setattr(starts, "begin", begin)


@pytest.fixture
def table(files: tuple[str, str]) -> StartTable:
    return compare_starts(wish(*files), photographs())


def without_speed(table: StartTable) -> list[Any]:
    return [replace(line, images_per_second=0.0) for line in table.lines]


def test_the_one_that_sees_is_first(table: StartTable, files: tuple[str, str]) -> None:
    seeing, blind = files
    named = {line.start: line for line in table.lines}
    assert set(named) == {seeing, blind, "none"}
    assert (table.metric, table.target, table.images) == ("accuracy", "kind", 60)
    assert table.lines[-1].start == blind
    assert named[blind].score == pytest.approx(0.5, abs=0.2)
    best = table.lines[0]
    assert best.score is not None
    assert best.score > 0.9
    assert best.behind is None
    assert named[blind].behind_high is not None
    assert named[blind].behind_high < 0
    assert named[blind].rankme < named[seeing].rankme
    assert named[seeing].megabytes == pytest.approx(named[blind].megabytes)
    assert named[seeing].licence
    assert all(line.images_per_second > 0 for line in table.lines)
    assert "mean" in named[seeing].representation or "stages" in named[seeing].representation
    text = str(table)
    for words in ("accuracy %", "images/s", "MB", "licence", "test was not read"):
        assert words in text


def test_neither_pixels_nor_labels_of_test_are_read(files: tuple[str, str]) -> None:
    images = photographs()
    test = images.rows("test")
    pixels, values = images.pixels.copy(), images.targets["kind"].values.copy()
    pixels[test] = np.random.default_rng(1).integers(0, 255, pixels[test].shape)
    values[test] = 1 - values[test]
    target = replace(images.targets["kind"], values=values)
    planted = replace(images, pixels=pixels, targets={"kind": target})
    first, second = (compare_starts(wish(*files), each) for each in (images, planted))
    assert without_speed(first) == without_speed(second)


def test_without_labels_the_effective_rank_remains(files: tuple[str, str]) -> None:
    images = replace(photographs(), targets={})
    table = compare_starts(wish(*files), images)
    ranks = [line.rankme for line in table.lines]
    assert ranks == sorted(ranks, reverse=True)
    assert table.metric is None
    assert all(line.score is None for line in table.lines)
    assert "proves nothing" in str(table)
    assert "accuracy" not in str(table)


def test_few_labels_are_no_comparison(files: tuple[str, str]) -> None:
    images = photographs()
    kind = images.targets["kind"]
    few = kind.without(~np.isin(np.arange(80), [0, 1, 2]))
    assert compare_starts(wish(files[0]), replace(images, targets={"kind": few})).metric is None


def test_a_start_that_is_named_must_load(tmp_path: Path, files: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="there is no package with weights of 'resnet50'"):
        compare_starts(wish("resnet50"), photographs())
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        compare_starts(wish(str(tmp_path / "nowhere.pth")), photographs())


def test_one_that_was_found_and_does_not_load_is_a_note(
    tmp_path: Path, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    monkeypatch.setattr(starts, "cached_weights", lambda: [str(broken), files[0]])
    table = compare_starts(wish(), photographs())
    assert {line.start for line in table.lines} == {files[0], "none"}
    (note,) = (note for note in table.notes if "broken.pth" in note)
    assert "is left out" in note
    alone = compare_starts(wish(cached=False), photographs())
    assert [line.start for line in alone.lines] == ["none"]


def test_a_run_is_a_start(tmp_path: Path) -> None:
    settings = Pretrain.model_validate({
        "data": "photographs", "method": {"name": "simclr", "projector": (8, 4)},
        "network": {"widths": (4, 8), "depths": (1, 1)}, "backbone": "resnet20",
        "weights": "none", "epochs": 1, "batch_size": 16, "monitor_images": 0, "device": "cpu",
        "out": str(tmp_path / "run"),
    })  # fmt: skip
    run = pretrain(settings, photographs())
    table = compare_starts(wish(str(run.folder.path)), photographs())
    assert {line.start for line in table.lines} == {str(run.folder.path), "none"}
    assert next(line for line in table.lines if line.start != "none").licence == ""


def test_normalisations_side_by_side(files: tuple[str, str]) -> None:
    table = compare_starts(wish(files[0], normalise=("weights", "data")), photographs())
    named = {line.start: line for line in table.lines}
    assert set(named) == {files[0], f"{files[0]}, normalised by the images", "none"}
    assert named[files[0]].rankme != named[f"{files[0]}, normalised by the images"].rankme


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_the_table_as_a_file(suffix: str, tmp_path: Path, files: tuple[str, str]) -> None:
    path = tmp_path / f"starts{suffix}"
    table = compare_starts(wish(files[0], out=str(path)), photographs())
    names = [line.start for line in table.lines]
    if suffix == ".json":
        assert [line["start"] for line in json.loads(path.read_text())["lines"]] == names
    elif suffix == ".csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert [row["start"] for row in rows] == names
        assert float(rows[0]["score"]) == pytest.approx(table.lines[0].score)
    else:
        assert pq.read_table(path).column("start").to_pylist() == names
    with pytest.raises(ValueError, match=r"its name must end in \.csv"):
        compare_starts(wish(out="table.txt"), photographs())


def test_as_json(table: StartTable) -> None:
    answer = json.loads(json_text("compare-starts", table))
    assert answer["verb"] == "compare-starts"
    assert [line["start"] for line in answer["lines"]] == [line.start for line in table.lines]


def test_the_installed_package_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "efficientnet_lite0"
    if PACKAGES[name].path() is None:
        pytest.skip(f"{PACKAGES[name].distribution} is not installed (selfsight[start])")
    monkeypatch.setattr(starts, "PACKAGES", PACKAGES)
    table = compare_starts(wish(), photographs())
    line = next(line for line in table.lines if line.start == name)
    assert line.licence == "Apache-2.0"
    assert line.features == 1280
    assert line.megabytes == pytest.approx(13.6, abs=1.0)
    assert line.score is not None
    assert line.score > 0.9


def test_what_other_libraries_have_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "checkpoints" / "resnet50-0676ba61.pth").write_bytes(b"")
    for folder in ("models--timm--resnet18.a1_in1k", "models--facebook--dino-vits16"):
        (tmp_path / "hub" / folder / "snapshots" / "abc").mkdir(parents=True)
        (tmp_path / "hub" / folder / "snapshots" / "abc" / "model.safetensors").write_bytes(b"")
    (tmp_path / "hub" / "models--timm--empty" / "snapshots").mkdir(parents=True)
    installed = {"timm"}
    monkeypatch.setattr(
        "selfsight.networks.published.caches.find_spec",
        lambda name: object() if name in installed else None,
    )
    file = str(tmp_path / "torch" / "checkpoints" / "resnet50-0676ba61.pth")
    assert cached_weights() == [file, "timm:resnet18.a1_in1k"]
    installed.add("transformers")
    assert set(cached_weights()) == {
        file,
        "timm:resnet18.a1_in1k",
        "transformers:facebook/dino-vits16",
    }
