"""Sets of images that belong together, and the pictures that a page of them holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.records.audits import Audit, Copies, Crossing, NearPair
from selfsight.reporting.page import Values
from selfsight.reporting.pictures import Picture, picture
from selfsight.reporting.words import listed, number

MOST_SETS = 60
"""Sets of images that a section pictures; it counts the others."""
MOST_IN_A_SET = 6
MOST_PICTURES = 400
"""Pictures that the file beside the page holds."""
PICTURE_BYTES = 900_000
"""Bytes of pictures on a page; the page says how many were left out beyond them."""


@dataclass
class AuditContents:
    """An audit, and its pictures as far as the page has room for them.

    Attributes:
        audit: what was members.
        pixels: row -> ``(h, w, 1 or 3)``.
        left_out: pictures that were left out to keep the page small.
    """

    audit: Audit
    pixels: dict[int, NDArray[np.uint8]]
    left_out: int = 0
    _pictures: dict[int, Picture] = field(default_factory=dict)
    _bytes: int = 0

    def of_rows(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Picture and words of some rows."""
        shown = []
        for row in rows:
            note = self.audit.rows.get(row)
            shown.append(
                {
                    "picture": self._picture(row),
                    "name": note.name if note else f"row {row}",
                    "split": note.split if note else "",
                    "target": note.target if note else "",
                }
            )
        return shown

    def _picture(self, row: int) -> Picture | None:
        if row in self._pictures:
            return self._pictures[row]
        if row not in self.pixels or self._bytes > PICTURE_BYTES:
            self.left_out += 1
            return None
        small = picture(self.pixels[row])
        self._bytes += len(small.uri)
        self._pictures[row] = small
        return small

    def sets(
        self, members: Sequence[Copies | Crossing], count: int | None = None, alarm: bool = False
    ) -> Values:
        """What the macro ``sets`` draws.

        Args:
            members: copies, pairs or groups; the first `MOST_SETS` are shown.
            count: how many there are, where ``members`` are only a part.
            alarm: whether they must not be.
        """
        before = self.left_out
        shown = [self._set(one) for one in members[:MOST_SETS]]
        hints = []
        more = (len(members) if count is None else count) - len(shown)
        if more:
            hints.append(f"{number(more)} more are not pictured; `audit.json` lists them.")
        if self.left_out > before:
            left = counted(self.left_out - before, "picture")
            hints.append(f"{left} left out to keep this page small.")
        return {"sets": shown, "alarm": alarm, "wide": False, "hints": hints}

    def _set(self, one: Copies | Crossing) -> Values:
        words = []
        if isinstance(one, Crossing):
            words = [one.what, counted(len(one.rows), "image")]
        elif one.different:
            words.append(f"differ in {listed(one.different)}")
        if isinstance(one, NearPair):
            words.append(f"similarity {number(one.similarity)}")
        rows = shown_rows(self.audit, one)
        if not isinstance(one, Crossing) and len(one.rows) > len(rows):
            words.append(f"and {number(len(one.rows) - len(rows))} more copies")
        return {"rows": self.of_rows(rows), "words": words}


def identical(audit: Audit, across: bool) -> list[Copies]:
    """Identical images on two sides, or on one; those that differ in a target first."""
    chosen = [copies for copies in audit.copies if copies.across is across]
    return sorted(chosen, key=lambda copies: not copies.different)


def groups(audit: Audit) -> list[Crossing]:
    """Groups on two sides."""
    return [crossing for crossing in audit.crossings if crossing.kind == "group"]


def near(audit: Audit, across: bool) -> list[NearPair]:
    """Near-duplicates on two sides, or on one."""
    return [pair for pair in audit.near if pair.across is across]


def shown_rows(audit: Audit, one: Copies | Crossing) -> list[int]:
    """The rows of a set that a page shows: of a group one of each side, of copies the first."""
    if not isinstance(one, Crossing):
        return list(one.rows[:MOST_IN_A_SET])
    sides: dict[str, int] = {}
    for row in one.rows:
        if row in audit.rows:
            sides.setdefault(audit.rows[row].split, row)
    return list(sides.values())


def pictured_rows(audit: Audit) -> list[int]:
    """The rows that the page wants pictures of, the most alarming first; at most 400."""
    order: list[Iterable[Copies | Crossing]] = [
        identical(audit, True)[:MOST_SETS],
        groups(audit)[:MOST_SETS],
        near(audit, True)[:MOST_SETS],
        near(audit, False)[:MOST_SETS],
        identical(audit, False)[:MOST_SETS],
    ]
    rows = [row for sets in order for one in sets for row in shown_rows(audit, one)]
    rows += audit.blank[:MOST_IN_A_SET]
    return list(dict.fromkeys(rows))[:MOST_PICTURES]
