"""Where the key of a WebDataset sample ends: at the first dot of a name, or at the last."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

PARTS = 4
"""Images of a sample beyond which its dots belong to names."""
WORDS = re.compile(r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$", re.I)


def keys_to_last_dot(names: Sequence[str]) -> bool:
    """Whether dots belong to the names of images, so that keys go to the last one.

    By the rule of WebDataset a key ends at the first dot: ``0001.mask.png`` is a part of the
    sample ``0001``. That is kept where the words between the dots are the same in most samples.

    Args:
        names: of all images, without folders.
    """
    middles: dict[str, set[str]] = defaultdict(set)
    for name in names:
        key, _, suffix = name.partition(".")
        middle = suffix.rpartition(".")[0]
        middles[key].add(middle)
    words = {middle for found in middles.values() for middle in found if middle}
    if not words:
        return False
    if not all(map(WORDS.match, words)) or max(map(len, middles.values())) > PARTS:
        return True
    shared = sum(all(word in found for word in words) for found in middles.values())
    return 2 * shared < len(middles)
