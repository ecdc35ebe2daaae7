"""What a person reads while a command works: lines on standard error, from the first process."""

from __future__ import annotations

import os
import sys
from typing import Any


def say(text: str) -> None:
    """Prints a line on standard error, once over all processes."""
    if first_process():
        print(shown(text), file=sys.stderr, flush=True)


def shown(text: str) -> str:
    """Text for a terminal: control characters as escapes; lines and tabs as they are.

    The name of a file may hold escape sequences, which would move the cursor or clear the screen.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t " else c.encode("unicode_escape").decode() for c in text
    )


def progress(what: str, total: int) -> Any:
    """A bar (tqdm) on standard error, after a second of work, where that is a terminal.

    Use it in a ``with`` block and call ``update()`` for each of ``total`` things.
    """
    from tqdm import tqdm

    shown = first_process() and sys.stderr.isatty()
    return tqdm(total=total, desc=what, disable=not shown, delay=1.0, leave=False, unit_scale=True)


def first_process() -> bool:
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def duration(seconds: float) -> str:
    """``95`` -> ``1 min 35 s``."""
    seconds = round(seconds)
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
