"""The audit's page says first what crosses the splits, and pictures it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.reporting.audit_page import write_audit_page

HOSTILE = '<img src=x onerror=alert(1)></script><script>alert("2")</script>'


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    monkeypatch.setattr("selfsight.reporting.rendering._plotly", lambda: "/* left out */")


@pytest.fixture
def audit() -> dict[str, Any]:
    def row(name: str, split: str, target: str) -> dict[str, str]:
        return {"row_id": name, "split": split, "target": target, "group": "7"}

    return {
        "name": "steel",
        "images": 1360,
        "height": 128,
        "width": 128,
        "channels": 1,
        "dtype": "uint8",
        "sizes": {"128 x 128": 1300, "96 x 128": 60},
        "splits": {"train": 1094, "test": 266},
        "groups": {"train": 40, "test": 11},
        "group": "coil",
        "leaks": ["1 set of identical images stands in train and test.", "Coil 7 is cut."],
        "warnings": ["3 images are blank."],
        "clusters": [
            {
                "kind": "identical",
                "crosses": True,
                "rows": [row("a.png", "train", "red iron"), row("b.png", "test", "red iron")],
            },
            {
                "kind": "near",
                "crosses": False,
                "distance": 3.0,
                "rows": [row("c.png", "train", "scratch"), row("d.png", "train", "scratch")],
            },
        ],
        "groups_across": {"7": {"train": 12, "test": 3}},
        "targets": [
            {
                "name": "label",
                "kind": "class",
                "shares": {
                    "train": {"red iron": 700, "scratch": 394},
                    "test": {"red iron": 200, "scratch": 66},
                },
            },
            {"name": "width", "kind": "number", "numbers": {"train": [1.0, 2.5, None]}},
        ],
        "blank": ["e.png"],
        "broken": {"f.png": "the file ends in the middle of the image"},
        "notes": ["16-bit images were kept."],
    }


@pytest.fixture
def thumbnails() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    names = ("a.png", "b.png", "c.png", "d.png", "e.png")
    return {name: random.integers(0, 256, (32, 32, 1), np.uint8) for name in names}


def text_of(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    body = re.sub(r"<(script|style).*?</\1>", " ", source, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_leaks_come_first_and_are_pictured(audit, thumbnails, tmp_path: Path) -> None:
    path = write_audit_page(audit, tmp_path / "audit.html", thumbnails)
    words, source = text_of(path), path.read_text(encoding="utf-8")
    assert "2 leaks across the splits." in words
    assert words.index("identical images stands in train and test") < words.index("In numbers")
    assert words.index("across the splits: 1") < words.index("within a split: 1")
    assert source.count("data:image/png") == 5
    assert source.count('class="crossing"') == 1
    for wanted in ("12 in train and 3 in test", "ends in the middle", "distance 3", "96 x 128"):
        assert wanted in words
    assert not re.search(r'(src|href)="(?!data:|#)', source)


def test_a_clean_set_says_so(audit, tmp_path: Path) -> None:
    clean = audit | {"leaks": [], "warnings": [], "clusters": [], "groups_across": {}}
    clean |= {"blank": [], "broken": {}}
    words = text_of(write_audit_page(clean, tmp_path / "audit.html"))
    for wanted in ("Nothing crosses the splits.", "No image is blank.", "could be read"):
        assert wanted in words
    only = clean | {"splits": {"unlabelled": 1360}, "targets": []}
    assert "nothing can cross" in text_of(write_audit_page(only, tmp_path / "audit.html"))


def test_many_duplicates_stay_a_small_page(audit, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    rows = [{"row_id": f"{i}.png", "split": "train"} for i in range(20)]
    cluster = {"kind": "identical", "crosses": False, "rows": rows}
    clusters = [
        {**cluster, "rows": [{"row_id": f"{at}/{r['row_id']}"} for r in rows]} for at in range(100)
    ]
    thumbnails = {r["row_id"]: noise for c in clusters for r in c["rows"]}
    path = write_audit_page(audit | {"clusters": clusters}, tmp_path / "audit.html", thumbnails)
    assert path.stat().st_size < 1_200_000
    words = text_of(path)
    assert "40 more are listed" in words
    assert "and 14 more of the same" in words
    assert "pictures were left out" in words


def test_strangers_text_stays_text(audit, thumbnails, tmp_path: Path) -> None:
    audit["clusters"][0]["rows"][0] |= {"row_id": HOSTILE, "target": HOSTILE, "split": HOSTILE}
    audit["broken"] = {HOSTILE: HOSTILE}
    audit["targets"][0]["shares"]["train"][HOSTILE] = 3
    audit["name"] = audit["group"] = HOSTILE
    thumbnails[HOSTILE] = thumbnails["a.png"]
    source = write_audit_page(audit, tmp_path / "audit.html", thumbnails).read_text("utf-8")
    assert "<img src=x" not in source
    assert source.count("</script>") == source.count("<script")


def test_a_wrong_audit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="audit: splits"):
        write_audit_page({"splits": 3}, tmp_path / "audit.html")
