"""`Report`: which runs a page is on."""

from __future__ import annotations

import tyro

from selfsight.settings import Settings


class Report(Settings):
    """Write one self-contained page on one run, or on several side by side."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of finished runs."""
    out: str | None = None
    """The page; by default report.html in the run, or comparison.html in the first of several."""
