"""The audit's page says first what crosses the splits, and pictures it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfsight.data.audit import audit
from selfsight.data.imageset import ImageSet, Target, class_target
from selfsight.reporting.audit_page import write_audit_page

HOSTILE = '<img src=x onerror=alert(1)></script><script>alert("2")</script>'


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    monkeypatch.setattr("selfsight.reporting.rendering._plotly", lambda: "/* left out */")


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


def test_leaks_come_first_and_are_pictured(images, tmp_path: Path) -> None:
    path = write_audit_page(audit(images, near=False).plain(), tmp_path / "audit.html", images)
    words, source = text_of(path), path.read_text(encoding="utf-8")
    assert "Something crosses the splits" in words
    top = words.split("In numbers")[0]
    assert "1 image with identical copies stands in train and test." in top
    assert "1 “coil” group (2 images) stands in train and test." in top
    assert source.count('class="crossing"') == 2
    assert source.count("data:image/png") == 2 + 2 + 2 + 1
    for wanted in ("0.png", "20.png", "10.png", "30.png", "differ in label", "Blank images: 1"):
        assert wanted in words
    assert "Unknown for 1 of train." in words
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', source)[1])
    assert figures["target-0"]["data"][0]["y"] == [50.0, 50.0]
    assert sum(figures["target-1-0"]["data"][1]["y"]) == pytest.approx(100, abs=0.01)
    assert not re.search(r'(src|href)="(?!data:|#)', source)


def test_it_reads_its_json_without_the_images(images, tmp_path: Path) -> None:
    found = json.loads(audit(images, near=False).to_json())
    words = text_of(write_audit_page(found, tmp_path / "audit.html"))
    assert "20.png" in words
    assert "Something crosses" in words


def test_near_duplicates_tell_how_alike_they_are(images, tmp_path: Path) -> None:
    found = audit(images, near=False).plain()
    pair = {"rows": [8, 28], "splits": ["train", "test"], "similarity": 0.987, "different": []}
    found |= {"near": [pair], "near_count": 31, "near_across": 21}
    words = text_of(write_audit_page(found, tmp_path / "audit.html", images))
    assert "similarity 0.987" in words
    assert "across the splits: 21" in words
    assert "20 more are not pictured" in words


def test_a_clean_set_says_so(images, tmp_path: Path) -> None:
    clean = images.take(np.setdiff1d(np.arange(40), [0, 1, 3, 10]))
    words = text_of(
        write_audit_page(audit(clean, near=False).plain(), tmp_path / "audit.html", clean)
    )
    assert "Nothing crosses the splits." in words
    assert "Identical images across" not in words
    pool = replace(clean, splits=np.full(len(clean), "unlabelled"), targets={})
    words = text_of(write_audit_page(audit(pool, near=False).plain(), tmp_path / "b.html", pool))
    assert "There is nothing to cross" in words
    assert "There is no target" in words


def test_many_duplicates_stay_a_small_page(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 150, 150, 3), np.uint8)
    many = ImageSet(
        "many",
        np.concatenate([noise] * 8),
        np.array([f"{at}.png" for at in range(800)]),
        np.array(["train"] * 800),
    )
    path = write_audit_page(audit(many, near=False).plain(), tmp_path / "audit.html", many)
    assert path.stat().st_size < 1_300_000
    words = text_of(path)
    assert "40 more are not pictured" in words
    assert "and 2 more of them" in words
    assert "pictures were left out" in words


def test_sixteen_bits_are_pictured_over_their_range(images, tmp_path: Path) -> None:
    deep = replace(images, pixels=images.pixels.astype(np.uint16) * 16)
    path = write_audit_page(audit(deep, near=False).plain(), tmp_path / "audit.html", deep)
    assert "uint16 from 0 to 4,080" in text_of(path)


def test_strangers_text_stays_text(images, tmp_path: Path) -> None:
    ids = images.row_ids.astype(object)
    ids[0] = HOSTILE
    classes = class_target("label", [HOSTILE, "other"] * 20)
    hostile = replace(
        images, name=HOSTILE, row_ids=ids.astype(str), targets={HOSTILE: classes}, notes=(HOSTILE,)
    )
    path = write_audit_page(audit(hostile, near=False).plain(), tmp_path / "audit.html", hostile)
    source = path.read_text(encoding="utf-8")
    assert "onerror" in source
    assert "<img src=x" not in source
    assert source.count("</script>") == source.count("<script")


def test_a_wrong_audit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"audit: .*splits"):
        write_audit_page({"splits": 3}, tmp_path / "audit.html")
