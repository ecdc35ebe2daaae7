"""Displays in notebooks: what they tell, that all text is escaped, and that they load nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import selfsight
from selfsight import markup
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.embedding_map import read_map
from selfsight.evaluation.results import Results
from selfsight.neighbours.index import Index
from selfsight.runs.run import load_run

EVIL = "<script>alert('x')</script>\"&"


class Checker(HTMLParser):
    """Counts open elements, and collects everything that would be loaded."""

    VOID = {"img"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "style")
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def checked(html: str, most: int = 120_000) -> str:
    """The text of a display, which is whole, small, and loads nothing."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    assert all(uri.startswith("data:image/") for uri in checker.loads)
    assert len(html) < most
    return checker.text


def test_images(digits: ImageSet) -> None:
    shown = digits._repr_html_()
    text = checked(shown)
    assert "1,797 of 8x8 pixels, 1 channel, uint8" in text and "10 names" in text
    assert shown.count("<img") == 12


@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint16", 8), ("float32", 1), ("uint8", 3), ("float32", 2)]
)
def test_images_of_any_kind(dtype: str, channels: int) -> None:
    pixels = np.random.default_rng(0).uniform(0, 250, (3, 200, 100, channels)).astype(dtype)
    pixels[0, 0, 0] = np.nan if dtype == "float32" else 0
    images = ImageSet(EVIL, pixels, np.array([EVIL, "b", "c"]), np.full(3, "train"))
    text = checked(images._repr_html_())
    assert EVIL in text and f"{channels} channel" in text
    checked(images.take(np.arange(0))._repr_html_())


def test_pictures_that_cannot_be_read_are_a_sentence(digits: ImageSet) -> None:
    class Gone:
        shape, dtype = digits.pixels.shape, digits.pixels.dtype
        ndim = 4

        def __len__(self) -> int:
            return len(digits)

        def __getitem__(self, row: Any) -> Any:
            raise ValueError("a.png: there is no such file.")

    images: Any = replace(digits, pixels=Gone(), value_scale=digits.value_scale)
    assert "there is no such file" in checked(images._repr_html_())


def test_a_run(digits: ImageSet, make_run: Callable[..., Path]) -> None:
    run = make_run(digits)  # the shared one may have been evaluated by another test
    text = checked(load_run(run)._repr_html_())
    assert "simclr" in text and "not yet" in text and str(run) in text


@pytest.fixture(scope="module")
def results(make_run: Callable[..., Path], digits: ImageSet) -> Results:
    path = make_run(digits)
    return selfsight.evaluate(
        str(path), fractions=(0.1, 1.0), draws=2, probes=("knn",), controls=("pixels",)
    )


def test_results_hold_every_number_of_the_table(results: Results) -> None:
    text = checked(results._repr_html_())
    numbers = re.findall(r"\d+\.\d ± \d+\.\d", results.table())
    assert len(numbers) > 3 and all(number in text for number in numbers)
    assert "trained - pixels" in text and "note: " in text


def test_results_escape_names(results: Results) -> None:
    values = [row | {"subject": EVIL} for row in results.values]
    renamed = replace(results, values=values, notes=[EVIL])
    assert EVIL in checked(renamed._repr_html_())


def test_the_map(results: Results, tmp_path: Path) -> None:
    drawn = results.map._repr_html_()
    text = checked(drawn)
    points = drawn.count("<circle")
    assert 100 < points <= 500 and f"{points:,} images" in text
    with pytest.raises(ValueError, match="there is no map"):
        read_map(tmp_path)
    (tmp_path / "map.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"map\.npz is damaged"):
        read_map(tmp_path)


def test_an_index_and_its_neighbours(digits_run: Path, tmp_path: Path) -> None:
    index = selfsight.index(str(digits_run), out=str(tmp_path / "index"))
    shown = index._repr_html_()
    assert "1,797" in checked(shown) and shown.count("<img") == 12
    row = str(index.row_ids[0])
    neighbours = selfsight.search(str(tmp_path / "index"), [row], k=5)
    pictures = neighbours._repr_html_()
    assert row in checked(pictures) and pictures.count("<img") == 6


def test_an_index_in_memory() -> None:
    index = Index.of(torch.eye(4), np.array(["a", "b", EVIL, "d"]))
    assert "in memory" in checked(index._repr_html_())


def test_a_model_and_its_predictions(digits_run: Path, tmp_path: Path) -> None:
    model = selfsight.finetune(str(digits_run), out=str(tmp_path / "model"), head_only="linear")
    text = checked(model._repr_html_())
    assert "digit (class)" in text and "8x8x1 uint8" in text
    predictions = selfsight.predict(str(tmp_path / "model"), np.zeros((30, 8, 8), np.uint8))
    assert "30 predictions" in checked(predictions._repr_html_())


def test_a_scatter_of_nothing_and_of_one_point() -> None:
    checked(markup.scatter([], [], []))
    assert EVIL in checked(markup.scatter([(1.0, 2.0)], [EVIL], ["row"]))


def test_long_tables_are_cut() -> None:
    text = checked(markup.table(["a"], [[n] for n in range(100)]))
    assert "80 more rows" in text and "\n19\n" in text and "\n20\n" not in text
