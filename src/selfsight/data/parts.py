"""One part of many images: ``--shard I/N``, so that many processes or machines share the work."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from selfsight.console import counted

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})")
MOST = 1_000_000
"""Parts, at most."""


def _checked(text: str) -> str:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("it must be I/N, as in 0/100: the first of a hundred parts")
    number, count = int(match[1]), int(match[2])
    if count > MOST:
        raise ValueError(f"there may be at most {MOST:,} parts")
    if number >= count:
        raise ValueError(f"parts count from 0: 0/{count} to {max(count - 1, 0)}/{count}")
    return text


Shard = Annotated[str, AfterValidator(_checked)]
"""``I/N``: part I of N, from 0."""


class RowPart:
    """Part I of N: a range of the rows that a source lists.

    Args:
        shard: ``I/N``.

    Attributes:
        number: I, from 0.
        count: N.
        listed: images of all parts together; known once the source has been listed.
        listing: checksum of their row ids, 32 hexadecimal digits.
    """

    def __init__(self, shard: str) -> None:
        self.number, self.count = (int(word) for word in shard.split("/"))
        self.listed, self.listing = 0, ""

    @property
    def name(self) -> str:
        """Of its files: the same for each I and N."""
        return f"{self.number:05}-of-{self.count:05}"

    def rows(self, row_ids: NDArray[np.str_], source: str) -> NDArray[np.int64]:
        """The rows of this part, ascending; sizes of parts differ by one at most.

        Args:
            row_ids: ``(N,)`` of everything that the source lists.
            source: its name, for messages.

        Raises:
            ValueError: there are fewer images than parts.
        """
        self.listed = len(row_ids)
        if self.listed < self.count:
            raise ValueError(
                f"shard {self.number}/{self.count}: {source} has "
                f"{counted(self.listed, 'image')}, fewer "
                "than parts; ask for fewer parts."
            )
        digest = hashlib.blake2b(digest_size=16)
        for first in range(0, self.listed, 1 << 16):
            digest.update("\n".join(row_ids[first : first + (1 << 16)].tolist()).encode())
            digest.update(b"\n")
        self.listing = digest.hexdigest()
        ends = [self.listed * n // self.count for n in (self.number, self.number + 1)]
        return np.arange(*ends, dtype=np.int64)
