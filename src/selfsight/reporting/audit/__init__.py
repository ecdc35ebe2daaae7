"""The page of an audit: what crosses the splits comes first, pictured side by side."""

from __future__ import annotations

import sys
from pathlib import Path

from selfsight.console import counted
from selfsight.records.audits import SIDES, Audit, Crossing
from selfsight.records.content import read_record
from selfsight.reporting.audit.sets import AuditContents, pictured_rows
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.pictures import read_pictures
from selfsight.reporting.words import listed, number

__all__ = ["pictured_rows", "write_audit_page"]


def write_audit_page(folder: str | Path) -> Path:
    """Writes ``audit.html``, one file that opens offline, from the files beside it.

    Args:
        folder: of ``audit.json`` and ``pictures.npz``; without pictures the page shows names.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file is missing or damaged.
    """
    folder = Path(folder)
    audit = read_record(Audit, folder / "audit.json")
    contents = AuditContents(audit, read_pictures(folder / "pictures.npz"))
    page = Page(
        kind="audit",
        title=f"Audit of {audit.name}",
        source=str(folder),
        answers=[answer(audit)],
        alarm=("Leaks between the splits", leaks(audit))
        if audit.crossings or audit.near_leak
        else None,
    )
    return write_page(folder / "audit.html", sys.modules[__name__], contents, page)


def answer(audit: Audit) -> str:
    """Whether anything crosses the splits, in a sentence."""
    if audit.crossings or audit.near_leak:
        return "Something crosses the splits: results on this data would look too good."
    if len({SIDES.get(side) for side, count in audit.splits.items() if count}) < 2:
        return "All images are on one side, so there are no splits to cross."
    if audit.near_test:
        return f"No image or group crosses the splits, but {audit.near_sentence}"
    return "Nothing crosses the splits."


def leaks(audit: Audit) -> list[str]:
    """A sentence for each kind of crossing and the splits it joins."""
    together: dict[tuple[str, tuple[str, ...]], list[Crossing]] = {}
    for crossing in audit.crossings:
        together.setdefault((crossing.kind, crossing.splits), []).append(crossing)
    group = (audit.groups or {}).get("name") or "group"
    sentences = []
    for (kind, splits), crossings in together.items():
        count = len(crossings)
        what = f"{counted(count, 'image')} with identical copies"
        if kind == "group":
            images = sum(len(crossing.rows) for crossing in crossings)
            what = f"{number(count)} “{group}” group{'' if count == 1 else 's'}"
            what += f" ({counted(images, 'image')})"
        sentences.append(f"{what} {'is' if count == 1 else 'are'} in {listed(splits)}.")
    return [*sentences, audit.near_sentence] if audit.near_leak else sentences
