"""The audit's page says first what crosses the splits, and pictures it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfsight.data.audit import AuditData, audit, audit_data
from selfsight.data.imageset import ImageSet, Target, class_target
from selfsight.files import read_json, write_json
from selfsight.reporting.audit import write_audit_page

HOSTILE = '<img src=x onerror=alert(1)></script><script>alert("2")</script>'


pytestmark = pytest.mark.usefixtures("without_plotly")


@pytest.fixture
def images() -> ImageSet:
    """40 images; rows 0 and 20 are identical across the splits, 1 and 2 in train with other
    classes; row 3 is blank; group 5 stands on two sides.
    """
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 32, 32, 1), np.uint8)
    pixels[20], pixels[2], pixels[3] = pixels[0], pixels[1], 7
    splits = np.array(["train"] * 20 + ["test"] * 20)
    groups = np.arange(40)
    groups[[10, 30]] = 5
    groups[5] = 41
    classes = ["iron", "scratch"] * 20
    numbers = np.linspace(0, 9, 40, dtype=np.float32)[:, None]
    numbers[7] = np.nan
    return ImageSet(
        "steel",
        pixels,
        np.array([f"{at}.png" for at in range(40)]),
        splits,
        {
            "label": class_target("label", classes),
            "width": Target("width", "number", numbers, ("width",)),
        },
        groups=groups,
        group_name="coil",
        notes=("One file of `a/b.png` could not be read.",),
    )


def text_of(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    body = re.sub(r"<(script|style).*?</\1>", " ", source, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def page_of(images: ImageSet, folder: Path, **changes: object) -> Path:
    settings = AuditData(data=images.name, out=str(folder), near=False)
    page = audit_data(settings, images).page
    if changes:
        plain = read_json(folder / "audit.json")
        write_json(folder / "audit.json", plain | changes)
        page = write_audit_page(folder)
    return page


def test_leaks_come_first_and_are_pictured(images, tmp_path: Path) -> None:
    path = page_of(images, tmp_path)
    words, source = text_of(path), path.read_text(encoding="utf-8")
    assert "Something crosses the splits" in words
    top = words.split("In numbers")[0]
    assert "1 image with identical copies is in train and test." in top
    assert "1 “coil” group (2 images) is in train and test." in top
    assert source.count('class="crossing"') == 2
    assert source.count("data:image/png") == 2 + 2 + 2 + 1
    for wanted in ("0.png", "20.png", "10.png", "30.png", "differ in label", "Blank images: 1"):
        assert wanted in words
    assert "Unknown for 1 of train." in words
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', source)[1])
    assert figures["target-0-0"]["data"][0]["y"] == [50.0, 50.0]
    assert sum(figures["target-1-0"]["data"][1]["y"]) == pytest.approx(100, abs=0.01)
    assert not re.search(r'(src|href)="(?!data:|#)', source)


def test_it_reads_its_json_without_the_pictures(images, tmp_path: Path) -> None:
    write_json(tmp_path / "audit.json", audit(images, near=False).plain())
    words = text_of(write_audit_page(tmp_path))
    assert "20.png" in words
    assert "Something crosses" in words


def test_near_duplicates_tell_how_alike_they_are(images, tmp_path: Path) -> None:
    pair = {"rows": [8, 28], "splits": ["train", "test"], "similarity": 0.987, "different": []}
    words = text_of(
        page_of(images, tmp_path, near=[pair], near_count=31, near_across=21, near_test=0)
    )
    assert "similarity 0.987" in words
    assert "Across the splits: 21" in words
    assert "20 more are not pictured" in words


def test_a_clean_set_says_so(images, tmp_path: Path) -> None:
    clean = images.take(np.setdiff1d(np.arange(40), [0, 1, 3, 10]))
    words = text_of(page_of(clean, tmp_path))
    assert "Nothing crosses the splits." in words
    assert "Identical images across" not in words
    pool = replace(clean, splits=np.full(len(clean), "unlabelled"), targets={})
    words = text_of(page_of(pool, tmp_path / "pool"))
    assert "there are no splits to cross" in words
    assert "There is no target" in words


def test_many_duplicates_stay_a_small_page(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 150, 150, 3), np.uint8)
    many = ImageSet(
        "many",
        np.concatenate([noise] * 8),
        np.array([f"{at}.png" for at in range(800)]),
        np.array(["train"] * 800),
    )
    path = page_of(many, tmp_path)
    assert path.stat().st_size < 1_300_000
    words = text_of(path)
    assert "40 more are not pictured" in words
    assert "and 2 more copies" in words
    assert "pictures left out" in words


def test_sixteen_bits_are_pictured_over_their_range(images, tmp_path: Path) -> None:
    deep = replace(images, pixels=images.pixels.astype(np.uint16) * 16)
    path = page_of(deep, tmp_path)
    assert "uint16 from 0 to 4,080" in text_of(path)
    shown = np.load(tmp_path / "pictures.npz")
    at = shown["rows"].tolist().index(10)
    np.testing.assert_array_equal(shown["images"][at], images.pixels[10])


def test_strangers_text_stays_text(images, tmp_path: Path) -> None:
    ids = images.row_ids.astype(object)
    ids[0] = HOSTILE
    classes = class_target("label", [HOSTILE, "other"] * 20)
    hostile = replace(
        images, name=HOSTILE, row_ids=ids.astype(str), targets={HOSTILE: classes}, notes=(HOSTILE,)
    )
    path = page_of(hostile, tmp_path)
    source = path.read_text(encoding="utf-8")
    assert "onerror" in source
    assert "<img src=x" not in source
    assert source.count("</script>") == source.count("<script")


def test_a_wrong_audit_is_named(images, tmp_path: Path) -> None:
    page_of(images, tmp_path)
    with pytest.raises(ValueError, match=r"audit\.json is damaged: splits"):
        page_of(images, tmp_path, splits=3)
    page_of(images, tmp_path)
    (tmp_path / "pictures.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"pictures\.npz is damaged"):
        write_audit_page(tmp_path)


def test_it_opens_without_torch(images, tmp_path: Path, opened_alone) -> None:
    page_of(images, tmp_path)
    page = opened_alone("audit", "write_audit_page", str(tmp_path))
    assert "What crosses the splits" in page.read_text(encoding="utf-8")
