"""The verb `audit`: an image set in, a page and a JSON file out."""

from __future__ import annotations

from pathlib import Path

from selfsight.console import say
from selfsight.data import audit as audits
from selfsight.data import request
from selfsight.data.audit import Audit
from selfsight.data.describe import describe
from selfsight.data.request import Data, Images
from selfsight.files import write_text
from selfsight.reporting.audit_page import write_audit_page


class AuditData(Data):
    """Look for what crosses the splits, duplicates, and broken or blank images."""

    out: str | None = None
    """Folder of audit.html and audit.json; by default runs/DATA-audit."""
    near: bool = True
    """Look for near-duplicates too."""


def audit(settings: AuditData, images: Images | None = None) -> tuple[Path, Audit]:
    """Audits the images and writes ``audit.html`` and ``audit.json``.

    Args:
        settings: see `AuditData`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        The path of the page, and what was found.

    Raises:
        ValueError: images that cannot be opened.
    """
    # A leak does not stop an audit: it is what is looked for.
    images = request.open(settings.updated({"allow_leaks": True}), images)
    for note in describe(images):
        say(note)
    found = audits.audit(images, near=settings.near)
    folder = Path(settings.out or f"runs/{Path(settings.data).stem}-audit")
    write_text(folder / "audit.json", found.to_json())
    return write_audit_page(found.plain(), folder / "audit.html", images), found
