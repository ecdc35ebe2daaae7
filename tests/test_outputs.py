"""No command writes over a file that selfsight did not write, or over one that it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.neighbours.build import IndexImages, index
from selfsight.neighbours.index import Index
from selfsight.outputs import check_output
from selfsight.training.settings import Pretrain

LABELS = "row_id,label\n0.png,3\n"


@pytest.fixture(scope="module")
def folder(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for row in range(12):
        Image.fromarray(digits.pixels[row, :, :, 0]).save(folder / f"{row}.png")
    return folder


@pytest.fixture(scope="module")
def digits_index(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    out = tmp_path_factory.mktemp("indexes") / "digits"
    return index(IndexImages(run=str(digits_run), out=str(out), device="cpu"))


def refused(words: list[str], out: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command fails by one sentence, and every file of the folder stays as it was."""
    before = {path: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    assert main(words) != 0
    error = capsys.readouterr().err
    assert said in error and str(out) in error and "Traceback" not in error
    assert {p: p.read_bytes() for p in out.parent.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".npy"])
def test_embed_replaces_its_own_file_alone(
    suffix: str,
    digits_run: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / f"labels{suffix}"
    words = ["embed", str(digits_run), str(folder), "--device", "cpu", "--out", str(out)]
    if suffix == ".csv":
        out.write_text(LABELS)
    elif suffix == ".parquet":
        pq.write_table(pa.table({"row_id": ["0.png"], "label": [3]}), out)
    elif suffix == ".npz":
        np.savez(out, labels=np.zeros(3))
    else:
        np.save(out, np.zeros((3, 2), np.float32))
    refused(words, out, "it would be lost", capsys)
    out.unlink()
    assert main(words) == 0
    assert main(words) == 0  # its own file is written again
    if suffix == ".parquet":  # and not after a column was added
        table = pq.read_table(out)
        pq.write_table(table.append_column("label", pa.array([1] * len(table))), out)
        refused(words, out, "it would be lost", capsys)
    if suffix == ".csv":  # nor as a spreadsheet saves it
        out.write_text(out.read_text().replace('"', ""))
        refused(words, out, "it would be lost", capsys)


def test_row_ids_beside_an_array(
    digits_run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.row_ids.npy", np.arange(4))
    out = tmp_path / "x.npy"
    words = ["embed", str(digits_run), str(folder), "--device", "cpu", "--out", str(out)]
    refused(words, out, "x.row_ids.npy is written beside it", capsys)


def test_what_a_command_reads_is_never_written(
    digits_run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    words = ["embed", str(digits_run), str(folder), "--device", "cpu", "--out", str(out)]
    assert main(words) == 0  # a file of selfsight's own, and the input of the next command
    words = ["embed", str(digits_run), str(out), "--device", "cpu", "--out", str(out)]
    refused(words, out, "this command reads it (images)", capsys)
    words = ["embed", str(digits_run), str(folder), "--labels", str(out), "--out", str(out)]
    refused(words, out, "this command reads it (labels)", capsys)


@pytest.mark.parametrize("verb", ["search", "cluster", "pairs", "explore", "report", "export"])
def test_no_verb_writes_over_a_foreign_file(
    verb: str,
    digits_run: Path,
    digits_index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suffix = {"explore": ".html", "report": ".html", "export": ".safetensors"}.get(verb, ".csv")
    out = tmp_path / f"mine{suffix}"
    out.write_text("<html>my page</html>" if suffix == ".html" else LABELS)
    place = str(digits_run if verb in ("report", "export") else digits_index.folder)
    more = [str(digits_index.row_ids[0])] if verb == "search" else []
    more += ["--format", "torchvision"] if verb == "export" else []
    refused([verb, place, *more, "--out", str(out)], out, "there is a file already", capsys)


@pytest.mark.parametrize("beside", [".json", ".html"])
def test_files_beside_a_table(
    beside: str, digits_index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"found{beside}").write_text("{}")
    out = tmp_path / "found.csv"
    words = ["search", str(digits_index.folder), str(digits_index.row_ids[0]), "--out", str(out)]
    refused(words, out, f"found{beside} is written beside it", capsys)
    (tmp_path / f"found{beside}").unlink()
    assert main(words) == 0
    assert main(words) == 0


def test_pairs_and_groups_are_written_again(digits_index: Index, tmp_path: Path) -> None:
    for verb in ("pairs", "cluster"):
        words = [verb, str(digits_index.folder), "--out", str(tmp_path / f"{verb}.csv")]
        assert main(words) == 0
        assert main(words) == 0


def test_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(ValueError, match="it is a folder; name a file"):
        check_output(tmp_path / "x.csv")
    (tmp_path / "y.csv").touch()
    check_output(tmp_path / "y.csv")


@pytest.mark.parametrize("verb", ["pretrain", "audit", "tune", "run"])
def test_the_folder_of_the_images_stays(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "pretrain": ["pretrain", "simclr"],
        "tune": ["tune", "pretrain", "simclr"],
    }.get(verb, [verb])
    before = sorted(folder.iterdir())
    assert main([*words, str(folder), "--out", f"{folder}/."]) != 0
    assert "it is the folder of the images" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", ["notes.txt", "settings.yaml", "checkpoints/model.pth"])
def test_a_training_keeps_out_of_a_foreign_folder(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("epochs: 3\n")
    words = ["pretrain", "simclr", "digits", "--out", str(tmp_path / "mine")]
    assert main(words) != 0
    error = capsys.readouterr().err
    assert "it is a folder of other files" in error and name.partition("/")[0] in error
    assert path.read_text() == "epochs: 3\n"
    assert [p for p in (tmp_path / "mine").rglob("*") if p.is_file()] == [path]


def test_a_training_takes_an_empty_folder_with_its_log(tmp_path: Path) -> None:
    from selfsight.runs.folder import check_run_folder

    (tmp_path / "train.log").write_text("...")
    (tmp_path / ".DS_Store").write_text("")
    check_run_folder(tmp_path)
    # A training that was killed as it began is resumed.
    begun = Pretrain(method={"name": "simclr"}, data="digits", out=str(tmp_path))
    (tmp_path / "settings.yaml").write_text(begun.to_yaml())
    check_run_folder(tmp_path)


def test_studies_and_results_keep_out_of_a_foreign_folder(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.csv").write_text(LABELS)
    for words in (["evaluate"], ["tune", "probe"], ["tune", "finetune"]):
        assert main([*words, str(digits_run), "--out", str(tmp_path)]) != 0
        assert "it is a folder of other files (results.csv)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]
