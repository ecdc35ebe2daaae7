"""`pairs`: a file of pairs is scored, and without one the two ends of all pairs are listed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

import selfsight
from selfsight.data.request import open_images
from selfsight.neighbours.index import Index
from selfsight.neighbours.pair_table import draw_pairs, read_pairs
from selfsight.neighbours.verification import verify

sys.path.insert(0, str(Path(__file__).parent))
from vectors import clustered, names


@pytest.fixture(scope="module")
def table(digits_index: Index) -> pa.Table:
    """As many pairs of equal digits as of different ones."""
    random = np.random.default_rng(0)
    labels = np.array(digits_index.labels)
    rows = random.integers(0, len(labels), (20_000, 2))
    rows = rows[rows[:, 0] != rows[:, 1]]
    same = labels[rows[:, 0]] == labels[rows[:, 1]]
    chosen = np.concatenate([np.flatnonzero(same)[:300], np.flatnonzero(~same)[:300]])
    ids = digits_index.row_ids[rows[chosen]]
    return pa.table(
        {
            "row_a": ids[:, 0].tolist(),
            "row_b": ids[:, 1].tolist(),
            "same": same[chosen].astype(int),
            "fold": np.arange(600) % 10,
        }
    )


def test_a_file_of_pairs_is_scored(digits_index: Index, table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "pairs.parquet")
    got = selfsight.pairs(
        digits_index, pairs=str(tmp_path / "pairs.parquet"), out=tmp_path / "out.csv"
    )
    unit = digits_index.vectors.at(np.arange(len(digits_index))).numpy()
    places = np.array(
        [[digits_index.places[r[c]] for c in ("row_a", "row_b")] for r in table.to_pylist()]
    )
    cosines = (unit[places[:, 0]] * unit[places[:, 1]]).sum(1)
    same, folds = table["same"].to_numpy() == 1, table["fold"].to_numpy()
    expected = verify(cosines.astype(float), same, folds)
    assert got.verification is not None
    assert got.verification.accuracy == pytest.approx(expected.accuracy, abs=0.005)
    assert got.verification.accuracy > 0.5
    written = pc.read_csv(got.path).to_pydict()
    np.testing.assert_allclose(written["cosine"], cosines, atol=1e-5)
    right = np.array(written["predicted"]) == np.array(written["same"])
    assert right.mean() == pytest.approx(got.verification.accuracy)
    page = got.page.read_text()
    assert "± " in page and "One answer" in page and "about the mean of the index" in page
    assert "read no labels" in page
    assert "Pretraining saw" in page  # the digits of train are among the pairs
    record = json.loads(got.page.with_suffix(".json").read_text())
    wrong = int(((np.array(written["same"]) == 1) & ~right).sum())
    assert record["counts"][0] == wrong and len(record["first"]) == min(24, wrong)


def test_pairs_that_pretraining_did_not_see_stand_apart(
    digits_index: Index, table: pa.Table, tmp_path: Path
) -> None:
    """All digits occur in train, so every pair shares a label with the pretraining."""
    pq.write_table(table, tmp_path / "pairs.parquet")
    got = selfsight.pairs(
        digits_index, pairs=str(tmp_path / "pairs.parquet"), out=tmp_path / "out.csv"
    )
    record = json.loads(got.page.with_suffix(".json").read_text())
    assert [line["name"] for line in record["lines"]][2:] == []
    assert any("Only 0 of 600 pairs" in sentence for sentence in record["warnings"])


def test_pairs_outside_the_index_are_left_out_and_counted(
    digits_index: Index, table: pa.Table, tmp_path: Path
) -> None:
    other = table.slice(0, 1).set_column(0, "row_a", pa.array(["nowhere.png"]))
    pq.write_table(pa.concat_tables([table, other]), tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path / "pairs.parquet", digits_index).missing == 1
    pq.write_table(other, tmp_path / "none.parquet")
    with pytest.raises(ValueError, match=r"no pair has both .* names 'nowhere\.png'"):
        read_pairs(tmp_path / "none.parquet", digits_index)


def test_names_that_a_parquet_file_keeps_of_its_images(
    digits_index: Index, table: pa.Table
) -> None:
    from dataclasses import replace

    rows = digits_index.rows
    files = [f"faces/{i}.jpg" for i in range(len(rows))]
    files[1] = files[0]  # two images of one name
    named = replace(digits_index, rows=rows.set_column(1, "file", pa.array(files)))
    from selfsight.neighbours.pair_table import _known

    known = _known(named)
    assert known["faces/7.jpg"] == 7 and known["faces/0.jpg"] == -1
    assert known[str(digits_index.row_ids[7])] == 7


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": ["x"], "b": ["y"]}, "it needs two columns of images"),
        ({"a": ["x"], "same": ["1"]}, "it has a, same"),
        ({"a": ["x"], "b": ["y"], "same": ["maybe"]}, "same is 'maybe' in some row"),
    ],
)
def test_tables_that_are_no_pairs(
    digits_index: Index, tmp_path: Path, columns: dict[str, list[str]], sentence: str
) -> None:
    pc.write_csv(pa.table(columns), tmp_path / "pairs.csv")
    with pytest.raises(ValueError, match=sentence):
        read_pairs(tmp_path / "pairs.csv", digits_index)
    with pytest.raises(ValueError, match="no such file"):
        read_pairs(tmp_path / "gone.csv", digits_index)


def test_without_a_file_the_two_ends(digits_index: Index, tmp_path: Path) -> None:
    got = selfsight.pairs(digits_index, count=20, out=tmp_path / "ends.parquet")
    rows = pq.read_table(got.path).to_pylist()
    similar = [row["cosine"] for row in rows if row["kind"] == "similar"]
    dissimilar = [row["cosine"] for row in rows if row["kind"] == "dissimilar"]
    unit = digits_index.vectors.at(np.arange(len(digits_index))).numpy()
    every = np.sort((unit @ unit.T)[np.triu_indices(len(unit), 1)])
    np.testing.assert_allclose(similar, every[::-1][:20], atol=1e-5)
    assert dissimilar[0] == pytest.approx(every[0], abs=1e-5)
    assert dissimilar == sorted(dissimilar) and len(dissimilar) == 20
    assert len({(row["a"], row["b"]) for row in rows}) == 40
    page = got.page.read_text()
    assert "The most similar: 20" in page and "data:image/png" in page


def test_pairs_are_drawn_from_labels(digits_index: Index, tmp_path: Path) -> None:
    drawn = draw_pairs(digits_index, 400, seed=3)
    labels = np.array(digits_index.labels)[drawn.places]
    assert ((labels[:, 0] == labels[:, 1]) == drawn.same).all()
    assert (drawn.places[:, 0] != drawn.places[:, 1]).all()
    assert len(np.unique(drawn.places, axis=0)) == len(drawn.places) == 400
    assert drawn.same.sum() == 200 and drawn.drawn and not drawn.missing
    for fold in np.unique(drawn.folds):  # no label stands in two folds
        inside = drawn.folds == fold
        assert not np.intersect1d(labels[inside], labels[~inside]).size
    seen = digits_index.rows["seen"].to_numpy()
    assert not seen[drawn.places].any()  # there are enough images that pretraining did not see
    again = draw_pairs(digits_index, 400, seed=3)
    assert (again.places == drawn.places).all() and (again.folds == drawn.folds).all()
    got = selfsight.pairs(digits_index, draw=400, out=tmp_path / "drawn.csv")
    assert got.verification is not None and got.verification.pairs == 400
    with pytest.raises(ValueError, match="leave out --draw or --pairs"):
        selfsight.pairs(digits_index, draw=400, pairs="pairs.csv", out=tmp_path / "x.csv")


def test_labels_with_one_image_each_make_no_same_pairs() -> None:
    index = Index.of(clustered(20), names(20))
    with pytest.raises(ValueError, match="at least four labels with two images"):
        draw_pairs(index, 100)


def test_person_folders_are_verified_without_a_table(
    tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    """`--target FOLDER:identity`: disjoint people, retrieval, and pairs of people drawn."""
    random = np.random.default_rng(0)
    for person in range(20):
        folder = tmp_path / "people" / f"person {person:02d}"
        folder.mkdir(parents=True)
        face = random.integers(0, 256, (16, 16, 3))
        for at in range(1 if person % 5 == 0 else 4):
            pixels = (face + random.normal(0, 25, face.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{at}.png")
    images = open_images(str(tmp_path / "people"), target="FOLDER:identity")
    target = images.targets["FOLDER"]
    assert target.kind == "identity"
    people = [set(target.values[images.rows(side)]) for side in ("train", "validation", "test")]
    assert all(people) and not (people[0] | people[1]) & people[2] and not people[0] & people[1]
    run = make_run(images)
    found = selfsight.evaluate(run, images, target="FOLDER", fractions=(1.0,), device="cpu")
    metrics = {record["metric"] for record in found.records}
    assert "recall_at_1" in metrics
    index = selfsight.index(
        run,
        str(tmp_path / "people"),
        target="FOLDER:identity",
        out=tmp_path / "index",
        device="cpu",
    )
    got = selfsight.pairs(index, draw=80, out=tmp_path / "pairs.csv")
    assert got.verification is not None and got.verification.auc > 0.9
    assert got.table.num_rows > 60
