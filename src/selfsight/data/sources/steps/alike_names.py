"""Names of classes or groups that are probably one name, written in several ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from selfsight.data.notes import Note, doubt

ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")
"""Leading zeros of a whole number; those behind a decimal point mean something."""


def alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ only in case, blanks or leading zeros, together: ``C1``, ``c 01``."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        found.setdefault(ZEROS.sub("", plain), []).append(name)
    return [same for same in found.values() if len(same) > 1]


def alike_doubt(
    names: Iterable[str], what: str, kind: str, about: str, setting: str = ""
) -> list[Note]:
    """A doubt that names two of the names that are alike; nothing where none are.

    Args:
        names: of classes, labels or groups.
        what: how the sentence calls what has the names.
        kind: what they are, in the plural.
        about: the column or target.
        setting: what the names are read for.
    """
    found = alike(names)
    if not found:
        return []
    more = f" (and {len(found) - 1:,} more such)" if len(found) > 1 else ""
    first, second = (repr(name) if name != name.strip() else name for name in found[0][:2])
    text = (
        f"{what} that differ only in case or blanks, or in leading zeros, are taken as different "
        f"{kind}: {first} and {second}{more}; write them in one way where they are the same."
    )
    return [doubt(text, about=about, setting=setting, count=len(found))]
