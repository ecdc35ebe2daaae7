"""The first part of ``docs/data.md``: what it shows is what the commands print.

``SELFSIGHT_WRITE_DOCS=1 pytest tests/data/test_spreadsheet_page.py`` writes it anew.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
WIDTH = 112


def picture(seed: int, side: int = 64) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3))
    values[0, 0], values[0, 1] = 0, 255
    return Image.fromarray(values.astype(np.uint8))


def coils(folder: Path) -> None:
    """Semicolons, decimal commas, Latin letters, names without folders."""
    lines = ["Bild;patient;defects;grade;thickness;Prüfer"]
    (folder / "images").mkdir()
    defects = ['"crack;edge"', "crack", "edge", ""]
    for i in range(60):
        picture(i).save(folder / "images" / f"coil_{i:02}.png")
        thickness = f"{i / 7:.2f}".replace(".", ",")
        cells = [f"coil_{i:02}.png", f"p{i // 6}", defects[i % 4], f"{i % 3}", thickness, "Jürgen"]
        lines.append(";".join(cells))
    (folder / "coils.csv").write_bytes("\n".join(lines).encode("cp1252"))


def scans(folder: Path) -> None:
    """Folders of splits and classes, with masks beside the photos."""
    for place, split in enumerate(("training_set", "test_set")):
        for kind in ("damaged", "ok"):
            inner = folder / "scans" / split / kind
            inner.mkdir(parents=True)
            for i in range(10):
                picture(100 * place + 50 * (kind == "ok") + i).save(inner / f"{i}.jpg")
                Image.new("L", (64, 64), 255 * (i % 2)).save(inner / f"{i}_mask.png")


def jets(folder: Path) -> None:
    """Groups of an HDF5 file; one-hot labels in one of them."""
    import h5py

    values = np.random.default_rng(0).integers(0, 3000, (60, 32, 32), np.int32)
    values[0, 0, :2] = 0, 2999
    with h5py.File(folder / "jets.h5", "w") as file:
        file["train/images"], file["test/images"] = values[:40], values[40:]
        file["train/y"] = np.eye(2, dtype=int)[np.arange(40) % 2]


def cells(folder: Path) -> None:
    """Parquet of which a file is missing; 1, 0, -1 and blank as in CheXpert."""
    contents = []
    for i in range(20):
        picture(i).save(folder / "one.png")
        contents.append((folder / "one.png").read_bytes())
    Image.new("L", (64, 64)).save(folder / "one.png")
    mask = (folder / "one.png").read_bytes()
    edema = [[1.0, 0.0, -1.0, None][i % 4] for i in range(20)]
    table = pa.table({"image": contents, "mask": [mask] * 20, "edema": edema})
    (folder / "cells").mkdir()
    pq.write_table(table, folder / "cells" / "train-00000-of-00002.parquet")


SHOWN: dict[str, Callable[[Path], None]] = {
    "coils.csv": coils, "scans": scans, "jets.h5": jets, "cells": cells,
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_what_is_printed(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    SHOWN[name](Path("."))
    capsys.readouterr()
    main(["audit", name, "--no-near"])
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if line and "\r" not in line]
    lines = [
        part
        for line in (said or captured.out.splitlines())
        for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False,
                                  break_on_hyphens=False)
    ]  # fmt: skip
    printed = "\n".join([f"$ selfsight audit {name}", *lines])
    block = re.compile(rf"(?<=```\n)\$ selfsight audit {re.escape(name)}\n.*?(?=\n```)", re.S)
    page = PAGE.read_text()
    found = block.search(page)
    assert found is not None
    if os.environ.get("SELFSIGHT_WRITE_DOCS"):
        PAGE.write_text(page[: found.start()] + printed + page[found.end() :])
    else:
        assert found.group() == printed
