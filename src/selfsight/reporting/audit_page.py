"""The audit as one self-contained page: what crosses the splits first, pictured side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selfsight.data.imageset import ImageSet, Target
from selfsight.reporting.audit_contents import (
    Audit,
    Copies,
    Crossing,
    NearPair,
    answer,
    crosses,
    facts,
    leaks,
    target_sections,
)
from selfsight.reporting.figures import Figure
from selfsight.reporting.pictures import Picture, display, picture
from selfsight.reporting.rendering import write_page
from selfsight.reporting.wording import listed, number
from selfsight.settings import sentence

MOST_SETS = 60
"""Sets of images that a section pictures; the rest are counted."""
MOST_IN_A_SET = 6
MOST_NAMES = 200
PICTURE_BYTES = 900_000
"""Pictures beyond this many bytes are left out, and it is said."""


def write_audit_page(
    audit: Mapping[str, Any], out: str | Path, images: ImageSet | None = None
) -> Path:
    """Write one HTML file that opens offline.

    Args:
        audit: ``Audit.plain()``, also as read back from its JSON.
        out: the HTML file.
        images: the image set that was audited, for pictures and targets; None: without them.

    Returns:
        The path of the file.

    Raises:
        ValueError: a field of the audit is missing or wrong.
    """
    try:
        found = Audit.model_validate(dict(audit))
    except ValidationError as error:
        raise ValueError(f"audit: {sentence(error)}.") from None
    figures: dict[str, Figure] = {}
    shown = _Shown(found, images)
    return write_page(
        Path(out),
        "audit.html",
        figures=figures,
        data_blocks={},
        title=f"Audit of {found.name}",
        body_class="",
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        answer=answer(found),
        leaks=leaks(found),
        facts=facts(found),
        sections=[section for section in _sections(found, shown) if section["count"]],
        targets=target_sections(found, figures),
        splits=[(side, number(count)) for side, count in found.splits.items() if count],
        notes=found.notes,
        left_out=shown.left_out,
        number=number,
    )


@dataclass
class _Shown:
    """Pictures and words for rows; each picture once, until the page holds enough of them."""

    audit: Audit
    images: ImageSet | None
    made: dict[int, Picture] = field(default_factory=dict)
    bytes: int = 0
    left_out: int = 0

    def rows(self, rows: Sequence[int], splits: Iterable[str] = ()) -> list[dict[str, Any]]:
        """What is known of rows, for a set of pictures."""
        of_splits = dict(zip(rows, splits, strict=False))
        return [
            {
                "picture": self.picture(row),
                "name": self.name(row),
                "split": of_splits.get(row) or self._split(row),
                "target": self._target(row),
            }
            for row in rows
        ]

    def name(self, row: int) -> str:
        if self.images is not None and 0 <= row < len(self.images):
            return str(self.images.row_ids[row])
        return self.audit.row_ids.get(str(row), f"row {row}")

    def picture(self, row: int) -> Picture | None:
        if row in self.made:
            return self.made[row]
        if self.images is None or not 0 <= row < len(self.images):
            return None
        if self.bytes > PICTURE_BYTES:
            self.left_out += 1
            return None
        made = picture(display(self.images.pixels[row], *self.audit.values))
        self.bytes += len(made.uri)
        self.made[row] = made
        return made

    def _split(self, row: int) -> str:
        known = self.images is not None and 0 <= row < len(self.images)
        return str(self.images.splits[row]) if known and self.images is not None else ""

    def _target(self, row: int) -> str:
        if self.images is None or not 0 <= row < len(self.images):
            return ""
        targets = list(self.images.targets.values())
        texts = [(target.name, _value(target, row)) for target in targets]
        if len(texts) == 1:
            return texts[0][1]
        return ", ".join(f"{name} {text}" for name, text in texts[:4])


def _value(target: Target, row: int) -> str:
    if not target.known[row]:
        return "unknown"
    value = target.values[row]
    if target.values.ndim == 1:
        return target.names[int(value)]
    if target.kind == "labels":
        present = [name for name, v in zip(target.names, value, strict=True) if v > 0.5]
        return ", ".join(present) or "none"
    return ", ".join(number(float(v)) for v in value)


def _sections(audit: Audit, shown: _Shown) -> Iterable[dict[str, Any]]:
    """In the order of alarm; pictures are made in that order too."""
    across = [copies for copies in audit.copies if crosses(copies)]
    groups = [crossing for crossing in audit.crossings if crossing.kind == "group"]
    near = [pair for pair in audit.near if crosses(pair)]
    within = [copies for copies in audit.copies if not crosses(copies)]
    yield _section(
        "identical-across",
        "Identical images across the splits",
        "The same pixels on two sides: what is measured on one was learned on the other.",
        [_set(shown, copies) for copies in across[:MOST_SETS]],
        len(across),
        alarm=True,
    )
    yield _section(
        "groups-across",
        "Groups on two sides of the splits",
        "What belongs together was parted; one image of each side is shown.",
        [_group(shown, crossing) for crossing in groups[:MOST_SETS]],
        len(groups),
        alarm=True,
    )
    yield _section(
        "near-across",
        "Nearly identical images across the splits",
        "The same image shifted, recompressed or brightened, or images alike by nature: look at "
        "them. They warn, they do not stop a run.",
        [_set(shown, pair) for pair in near[:MOST_SETS]],
        audit.near_across,
    )
    yield _section(
        "identical-within",
        "Identical images on one side",
        "The same pixels stored more than once.",
        [_set(shown, copies) for copies in sorted(within, key=_least_harm)[:MOST_SETS]],
        len(within),
    )
    close = [pair for pair in audit.near if not crosses(pair)]
    yield _section(
        "near-within",
        "Nearly identical images on one side",
        "",
        [_set(shown, pair) for pair in close[:MOST_SETS]],
        audit.near_count - audit.near_across,
    )
    pictured = audit.blank[:MOST_IN_A_SET]
    yield _section(
        "blank",
        "Blank images",
        "Every channel is one colour: nothing can be learned from them.",
        [{"rows": shown.rows(pictured), "more": len(audit.blank) - len(pictured), "words": []}]
        if audit.blank
        else [],
        len(audit.blank),
        names=[shown.name(row) for row in audit.blank[:MOST_NAMES]],
    )


def _section(
    name: str,
    title: str,
    lede: str,
    sets: list[dict[str, Any]],
    count: int,
    alarm: bool = False,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    more = 0 if names else count - len(sets)
    return {
        "id": name, "title": title, "lede": lede, "sets": sets, "count": count, "alarm": alarm,
        "more": more, "names": names, "more_names": count - len(names) if names else 0,
    }  # fmt: skip


def _set(shown: _Shown, copies: Copies) -> dict[str, Any]:
    words = []
    if copies.different:
        words.append(f"differ in {listed(list(copies.different))}")
    if isinstance(copies, NearPair):
        words.append(f"similarity {number(copies.similarity)}")
    rows = shown.rows(copies.rows[:MOST_IN_A_SET], copies.splits)
    return {"rows": rows, "more": len(copies.rows) - len(rows), "words": words}


def _group(shown: _Shown, crossing: Crossing) -> dict[str, Any]:
    """One image of each side, where the splits of its rows are known."""
    sides: dict[str, int] = {}
    if shown.images is not None:
        for row in crossing.rows:
            if 0 <= row < len(shown.images):
                sides.setdefault(str(shown.images.splits[row]), row)
    rows = shown.rows(list(sides.values()))
    words = [crossing.what, f"{number(len(crossing.rows))} images"]
    return {"rows": rows, "more": 0, "words": words}


def _least_harm(copies: Copies) -> bool:
    """Sorts those that differ in a target first."""
    return not copies.different
