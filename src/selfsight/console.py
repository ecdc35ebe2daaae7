"""What a person reads while a command works: lines on standard error, from the first process."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Prints a line on standard error, once over all processes."""
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``95`` -> ``1 min 35 s``."""
    seconds = round(seconds)
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
