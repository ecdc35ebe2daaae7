"""The page of a suggestion shows each image with its reason, in the order of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfsight.data.pixels.display import write_pictures
from selfsight.files import write_json
from selfsight.records.labelling import SuggestedImage, SuggestionsFile
from selfsight.reporting.labelling import write_labelling_page

HOSTILE = '<img src=x onerror=alert(1)></script><script>alert("2")</script>'


def page_of(folder: Path, kind: str | None, names: tuple[str, ...], pictures: bool = True) -> str:
    images = (SuggestedImage("a.png", "stands for 9 % of the images"), SuggestedImage(HOSTILE, "b"))
    found = SuggestionsFile(
        "runs/x", "steel", "representative", "defect", kind, names, "labels.csv", 7, images
    )
    write_json(folder / "suggestions.json", found.plain())
    if pictures:
        pixels = np.arange(2 * 16 * 16, dtype=np.uint16).reshape(2, 16, 16, 1)
        write_pictures(folder / "pictures.npz", pixels, [0, 1])
    return write_labelling_page(folder).read_text(encoding="utf-8")


def test_each_image_and_its_reason(tmp_path: Path) -> None:
    page = page_of(tmp_path, "class", ("crack", "pit"))
    assert page.count("data:image/png") == 2
    assert page.index("a.png") < page.index("stands for 9 % of the images") < page.index("onerror")
    assert "Fill in the column defect of labels.csv." in page
    assert "Classes so far: crack, pit." in page
    assert "facility location" in page
    assert "<img src=x" not in page
    assert page.count("</script>") == page.count("<script")
    assert "plotly" not in page.lower()


@pytest.mark.parametrize(
    ("kind", "names", "words"),
    [
        (None, (), "There is no label yet"),
        ("labels", ("crack", "pit"), "Join several labels of an image with |"),
        ("class", tuple(f"class {k}" for k in range(30)), "class 19, …"),
    ],
)
def test_it_says_what_to_write(
    kind: str | None, names: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    assert words in page_of(tmp_path, kind, names)


def test_it_needs_no_pictures(tmp_path: Path) -> None:
    page = page_of(tmp_path, None, (), pictures=False)
    assert "<img" not in page
    assert "a.png" in page
    with pytest.raises(ValueError, match=r"suggestions\.json"):
        write_labelling_page(tmp_path / "nowhere")


def test_it_opens_without_torch(tmp_path: Path, opened_alone) -> None:
    page_of(tmp_path, None, ())
    page = opened_alone("labelling", "write_labelling_page", str(tmp_path))
    assert "The most helpful first" in page.read_text(encoding="utf-8")
