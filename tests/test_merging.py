"""`--shard` and `merge`: parts together are what one command writes, and none is missing unseen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.data.parts import RowPart
from selfsight.files import read_json, write_json
from selfsight.neighbours.index import Index

COUNT = 3


@pytest.fixture(scope="module")
def folder(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images in files."""
    folder = tmp_path_factory.mktemp("images")
    for row in range(40):
        Image.fromarray(digits.pixels[row, :, :, 0]).save(folder / f"{row:02}.png")
    return folder


def shards(verb: str, run: Path, images: Path, out: Path, *more: str) -> None:
    for number in (2, 0, 1):
        words = [verb, str(run), str(images), "--out", str(out), "--device", "cpu", *more]
        assert main([*words, "--shard", f"{number}/{COUNT}"]) == 0


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet", ".csv"])
def test_representations(suffix: str, digits_run: Path, folder: Path, tmp_path: Path) -> None:
    whole, merged = tmp_path / f"whole{suffix}", tmp_path / f"merged{suffix}"
    words = ["embed", str(digits_run), str(folder), "--device", "cpu", "--out", str(whole)]
    assert main(words) == 0
    shards("embed", digits_run, folder, merged)
    assert not merged.exists()
    assert main(["merge", str(merged)]) == 0
    if suffix == ".npz":
        with np.load(whole) as one, np.load(merged) as other:
            assert (one["row_ids"] == other["row_ids"]).all()
            np.testing.assert_allclose(other["representations"], one["representations"], 1e-5, 1e-6)
    elif suffix == ".npy":
        np.testing.assert_allclose(np.load(merged), np.load(whole), 1e-5, 1e-6)
        names = [p.with_suffix(".row_ids.npy") for p in (whole, merged)]
        assert (np.load(names[0]) == np.load(names[1])).all()
    else:
        read = pq.read_table if suffix == ".parquet" else pc.read_csv
        one, other = read(whole), read(merged)
        assert one["row_id"].to_pylist() == other["row_id"].to_pylist()
        assert one.schema == other.schema and len(other) == 40


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_predictions(
    suffix: str, digits_run: Path, digits: ImageSet, folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    selfsight.finetune(digits_run, digits, out=model, head_only="linear", device="cpu")
    whole, merged = tmp_path / f"whole{suffix}", tmp_path / f"merged{suffix}"
    words = ["predict", str(model), str(folder), "--device", "cpu", "--out", str(whole)]
    assert main(words) == 0
    shards("predict", model, folder, merged)
    assert main(["merge", str(merged)]) == 0
    read = pq.read_table if suffix == ".parquet" else pc.read_csv
    one, other = read(whole), read(merged)
    assert one.schema == other.schema
    for name in ("row_id", "predicted"):
        assert one[name].to_pylist() == other[name].to_pylist()


def test_indexes(digits_run: Path, folder: Path, tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    words = ["index", str(digits_run), str(folder), "--device", "cpu", "--out", str(whole)]
    assert main(words) == 0
    shards("index", digits_run, folder, merged)
    assert main(["merge", str(merged)]) == 0
    one, other = Index.load(whole), Index.load(merged)
    assert one.rows.drop_columns("length").equals(other.rows.drop_columns("length"))
    np.testing.assert_allclose(one.lengths, other.lengths, rtol=1e-5)
    places = np.arange(40)
    np.testing.assert_allclose(other.vectors.at(places), one.vectors.at(places), rtol=1e-4)
    assert one.pictures is not None and other.pictures is not None
    assert one.pictures.at(places.tolist()) == other.pictures.at(places.tolist())
    assert one.card.novelty is not None and other.card.novelty is not None
    assert one.card.novelty.threshold == pytest.approx(other.card.novelty.threshold, rel=1e-3)
    skip = {"files": {}, "novelty": None}
    assert one.card.updated(skip) == other.card.updated(skip)


@pytest.fixture
def parts(digits_run: Path, folder: Path, tmp_path: Path) -> Path:
    """The output whose three parts are there."""
    shards("embed", digits_run, folder, tmp_path / "out.npz")
    return tmp_path / "out.npz"


def refused(out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["merge", str(out), *words]) == 2
    assert not out.exists()
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def deleted(parts: Path) -> None:
    for path in parts.glob("0000[02]-*"):
        path.unlink()


def card_alone(parts: Path) -> None:
    (parts / "00001-of-00003.npz").unlink()


def cut(parts: Path) -> None:
    path = parts / "00001-of-00003.npz"
    path.write_bytes(path.read_bytes()[:100])


def copied(parts: Path) -> None:
    for suffix in (".npz", ".json"):
        shutil.copy(parts / f"00001-of-00003{suffix}", parts / f"00009-of-00003{suffix}")


def of_another_listing(parts: Path) -> None:
    path = parts / "00001-of-00003.json"
    write_json(path, {**read_json(path), "listing": "0" * 32})


FAULTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "deleted": (deleted, ("2 of 3 parts are missing: 0/3, 2/3",)),
    "card alone": (card_alone, ("1 part is damaged", "00001-of-00003.npz")),
    "cut": (cut, ("1 part is damaged", "00001-of-00003.npz")),
    "copied": (copied, ("there twice", "00001-of-00003.npz", "00009-of-00003.json")),
    "of another listing": (of_another_listing, ("not parts of one output", "listing")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(
    fault: str, parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, texts = FAULTS[fault]
    spoil(Path(f"{parts}.parts"))
    text = refused(parts, capsys)
    assert all(one in text for one in texts), text


def test_no_parts_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in refused(tmp_path / "a.npz", capsys)
    (tmp_path / "a.npz.parts").mkdir()
    assert "no parts to merge" in refused(tmp_path / "a.npz", capsys)


def test_parts_of_several_machines(parts: Path, tmp_path: Path) -> None:
    own, other = Path(f"{parts}.parts"), tmp_path / "from-there"
    other.mkdir()
    for path in own.glob("00002-*"):
        path.rename(other / path.name)
    assert main(["merge", str(parts), "--parts", str(own), str(other)]) == 0
    with np.load(parts) as arrays:
        assert len(arrays["row_ids"]) == 40


def test_a_part_is_made_once_and_again_when_damaged(
    parts: Path, digits_run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"{parts}.parts") / "00001-of-00003.npz"
    words = ["embed", str(digits_run), str(folder), "--out", str(parts), "--device", "cpu"]
    words += ["--shard", "1/3"]
    content, time = path.read_bytes(), path.stat().st_mtime_ns
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == time
    path.write_bytes(content[:-50])
    assert main(words) == 0
    assert main(["merge", str(parts)]) == 0


def test_a_part_of_other_weights_or_options_is_refused(
    parts: Path,
    digits: ImageSet,
    make_run: Callable[..., Path],
    folder: Path,
    digits_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(folder), "--out", str(parts), "--device", "cpu", "--shard", "1/3"]
    assert main(["embed", str(make_run(digits)), *words]) == 2
    assert "made from another network" in capsys.readouterr().err
    assert main(["embed", str(digits_run), *words, "--max-unreadable", "0.5"]) == 2
    assert "made from another options" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["3/3", "1", "a/3", "-1/3", "1/0", "1/3/4"])
def test_a_bad_shard(shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["embed", "run", "digits", "--out", "a.npz", f"--shard={shard}"]
    assert main(words) == 2
    assert "shard" in capsys.readouterr().err


def test_more_parts_than_images(
    digits_run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", str(digits_run), str(folder), "--out", str(tmp_path / "a.npz")]
    assert main([*words, "--shard", "0/41"]) == 2
    assert "40 images, fewer than parts" in capsys.readouterr().err
    assert main([*words[:-2], "--shard", "0/3"]) == 2
    assert "give --out" in capsys.readouterr().err
    assert main([*words, "--shard", "0/3", "--limit", "10"]) == 2
    assert "limit and shard" in capsys.readouterr().err


@pytest.mark.parametrize(("total", "count"), [(7, 7), (100, 7), (12, 5)])
def test_parts_cover_every_row_once(total: int, count: int) -> None:
    ids = np.array([f"r{i}" for i in range(total)])
    parts = [RowPart(f"{n}/{count}") for n in range(count)]
    rows = [part.rows(ids, "source") for part in parts]
    assert np.concatenate(rows).tolist() == list(range(total))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert len({part.listing for part in parts}) == 1
