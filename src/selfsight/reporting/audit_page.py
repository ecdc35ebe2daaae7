"""The audit as one self-contained page: what crosses the splits first, pictured side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from selfsight.reporting.distributions import distribution_figure
from selfsight.reporting.figures import Figure
from selfsight.reporting.pictures import Picture, picture
from selfsight.reporting.reading import Splits
from selfsight.reporting.rendering import write_page
from selfsight.reporting.wording import listed, number
from selfsight.settings import sentence

MOST_CLUSTERS = 60
"""Sets of duplicates that a section pictures; the rest are counted."""
MOST_IN_A_CLUSTER = 6
MOST_NAMES = 200
PICTURE_BYTES = 900_000
"""Pictures beyond this many bytes are left out, and said so."""
KINDS = {
    "identical": "Identical images",
    "near": "Nearly identical images",
    "labels": "Identical images with different labels",
}
LEDES = {
    "identical": "The same pixels, stored more than once.",
    "near": "Alike to a perceptual hash: copies that were shifted, recompressed or brightened, and "
    "images that are alike by nature. Look before you drop them.",
    "labels": "The same pixels under different labels: one of them is wrong, or both hold.",
}


class Row(BaseModel):
    """One image of a set of duplicates."""

    model_config = ConfigDict(extra="ignore")

    row_id: str
    split: str = ""
    target: str = ""
    group: str = ""


class Cluster(BaseModel):
    """Images that are the same, or nearly.

    Attributes:
        kind: ``identical``, ``near`` or ``labels`` (identical under different labels).
        crosses: whether they stand on two sides of a split.
        distance: of the nearest two, in bits of the hash or as the audit measures it.
    """

    model_config = ConfigDict(extra="ignore")

    kind: str
    crosses: bool = False
    distance: float | None = None
    rows: list[Row]


class AuditTarget(BaseModel):
    """The distribution of a target over the splits: ``shares`` or ``numbers``, by split."""

    model_config = ConfigDict(extra="ignore")

    name: str
    kind: str
    shares: dict[str, dict[str, int]] = {}
    numbers: dict[str, list[float | None]] = {}


class AuditContents(BaseModel):
    """What the page reads of an audit; everything is optional.

    Attributes:
        name: of the image set.
        images, height, width, channels, dtype: of it.
        sizes: ``"128 x 96" -> images``, as the files have it.
        splits: split -> images.
        groups: split -> groups.
        group: what a group is.
        leaks: what crosses the splits, a sentence each; empty where nothing does.
        warnings: what one should look at, a sentence each.
        clusters: sets of duplicates.
        groups_across: group -> split -> images, of the groups on two sides.
        targets: their distributions.
        blank: row ids of images of one colour.
        broken: row id or path -> what is wrong with it.
        notes: what was guessed or converted.
    """

    model_config = ConfigDict(extra="ignore")

    name: str = "images"
    images: int = 0
    height: int | None = None
    width: int | None = None
    channels: int | None = None
    dtype: str = ""
    sizes: dict[str, int] = {}
    splits: dict[str, int] = {}
    groups: dict[str, int] = {}
    group: str | None = None
    leaks: list[str] = []
    warnings: list[str] = []
    clusters: list[Cluster] = []
    groups_across: dict[str, dict[str, int]] = {}
    targets: list[AuditTarget] = []
    blank: list[str] = []
    broken: dict[str, str] = {}
    notes: list[str] = []


def write_audit_page(
    audit: Mapping[str, Any], out: str | Path, thumbnails: Mapping[str, Any] | None = None
) -> Path:
    """Write one HTML file that opens offline.

    Args:
        audit: see `AuditContents`.
        out: the HTML file.
        thumbnails: row id -> ``(h, w, C)`` uint8 pixels, of the images in clusters and of blank
            ones, as far as they are to be pictured.

    Returns:
        The path of the file.

    Raises:
        ValueError: the audit does not have the fields above.
    """
    try:
        contents = AuditContents.model_validate(dict(audit))
    except ValidationError as error:
        raise ValueError(f"audit: {sentence(error)}.") from None
    figures: dict[str, Figure] = {}
    pictures = _Pictures(thumbnails or {})
    sections = [
        _section(contents, kind, crosses, pictures)
        for crosses in (True, False)
        for kind in ("labels", "identical", "near")
    ]
    return write_page(
        Path(out),
        "audit.html",
        figures=figures,
        data_blocks={},
        title=f"Audit of {contents.name}",
        body_class="",
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        audit=contents,
        answer=_answer(contents),
        facts=_facts(contents),
        sections=[section for section in sections if section["count"]],
        across=_across(contents),
        targets=_targets(contents, figures),
        split_rows=[
            (side, number(count), number(contents.groups.get(side, 0)))
            for side, count in contents.splits.items()
        ],
        blank=_named(contents.blank, pictures),
        broken=list(contents.broken.items())[:MOST_NAMES],
        sizes=sorted(contents.sizes.items(), key=lambda pair: -pair[1])[:MOST_NAMES],
        left_out=pictures.left_out,
        number=number,
    )


@dataclass
class _Pictures:
    """Makes each picture once, until the page holds enough of them."""

    thumbnails: Mapping[str, Any]
    made: dict[str, Picture] = field(default_factory=dict)
    bytes: int = 0
    left_out: int = 0

    def of(self, row_id: str) -> Picture | None:
        if row_id in self.made:
            return self.made[row_id]
        if row_id not in self.thumbnails:
            return None
        if self.bytes > PICTURE_BYTES:
            self.left_out += 1
            return None
        made = picture(np.asarray(self.thumbnails[row_id]), largest=128)
        self.bytes += len(made.uri)
        self.made[row_id] = made
        return made


def _answer(audit: AuditContents) -> str:
    if audit.leaks:
        count = len(audit.leaks)
        return f"{number(count)} leak{'s' if count != 1 else ''} across the splits."
    if len([side for side, count in audit.splits.items() if count]) < 2:
        return "There is one split only, so nothing can cross."
    return "Nothing crosses the splits."


def _facts(audit: AuditContents) -> list[tuple[str, str]]:
    shape = f"{audit.height} × {audit.width}" if audit.height and audit.width else ""
    counts = {kind: [c for c in audit.clusters if c.kind == kind] for kind in KINDS}
    facts = [
        ("Images", number(audit.images)),
        ("Size", f"{shape} pixels" if shape else ""),
        ("Channels", " ".join(filter(None, [number(audit.channels), audit.dtype]))),
        ("Sets of identical images", number(len(counts["identical"]))),
        ("Sets of nearly identical images", number(len(counts["near"]))),
        ("Same image, different labels", number(len(counts["labels"]))),
        ("Blank images", number(len(audit.blank))),
        ("Broken images", number(len(audit.broken))),
    ]
    return [(name, text) for name, text in facts if text and text != "–"]


def _section(audit: AuditContents, kind: str, crosses: bool, pictures: _Pictures) -> dict[str, Any]:
    mine = [c for c in audit.clusters if c.kind == kind and c.crosses == crosses]
    shown = []
    for cluster in mine[:MOST_CLUSTERS]:
        rows = [(row, pictures.of(row.row_id)) for row in cluster.rows[:MOST_IN_A_CLUSTER]]
        more = len(cluster.rows) - len(rows)
        shown.append({"rows": rows, "more": more, "distance": number(cluster.distance)})
    where = "across the splits" if crosses else "within a split"
    return {
        "id": f"{kind}-{'across' if crosses else 'within'}",
        "title": f"{KINDS[kind]} {where}",
        "lede": LEDES[kind],
        "count": len(mine),
        "more": len(mine) - len(shown),
        "crosses": crosses,
        "clusters": shown,
        "with_distance": kind == "near",
    }


def _across(audit: AuditContents) -> list[tuple[str, str]]:
    rows = []
    for group, splits in list(audit.groups_across.items())[:MOST_NAMES]:
        parts = [f"{number(count)} in {side}" for side, count in splits.items() if count]
        rows.append((group, listed(parts) if parts else ""))
    return rows


def _targets(audit: AuditContents, figures: dict[str, Figure]) -> list[dict[str, Any]]:
    found = []
    for at, target in enumerate(audit.targets):
        kind: Any = "class" if target.kind == "identity" else target.kind
        numbers = {
            side: np.array([[np.nan if v is None else v] for v in values], np.float64)
            for side, values in target.numbers.items()
            if values
        }
        labelled = {side: sum(counts.values()) for side, counts in target.shares.items()}
        if kind == "labels":  # an image may have several: shares are of the images
            labelled = {side: audit.splits.get(side, n) for side, n in labelled.items()}
        labelled |= {side: len(values) for side, values in numbers.items()}
        splits = Splits(labelled, labelled, {}, kind, target.shares, numbers)
        if not any(labelled.values()):
            continue
        made = distribution_figure(splits)
        if made is None:
            continue
        figures[f"target-{at}"] = made[0]
        sides = [side for side, count in labelled.items() if count]
        found.append({"id": f"target-{at}", "name": target.name, "sides": sides})
    return found


def _named(names: Sequence[str], pictures: _Pictures) -> dict[str, Any]:
    shown = [(name, pictures.of(name)) for name in names[:24]]
    return {
        "count": len(names),
        "pictured": [(name, made) for name, made in shown if made is not None],
        "names": list(names[:MOST_NAMES]),
        "more": max(0, len(names) - MOST_NAMES),
    }
