"""Memory for images that are being decoded: large ones wait for each other, small ones never."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from selfsight.data.pixels.header import Header
from selfsight.data.pixels.store import machine_memory

SMALL = 32 << 20
"""Bytes of a decoded image below which nothing is counted."""
PART = 8
"""The images that are decoded at one time take at most this fraction of the memory, or are one."""
COPIES = 2
"""A decoder's own image and ours."""


class Room:
    """Bytes that several threads share.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self.changed = Condition()

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Waits until ``count`` bytes are free; what is larger than the room waits for all."""
        count = min(count, self.size)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= count)
            self.free -= count
        try:
            yield
        finally:
            with self.changed:
                self.free += count
                self.changed.notify_all()


ROOM = Room(machine_memory() // PART)


@contextmanager
def room_for(header: Header) -> Iterator[None]:
    """Room to decode an image with this header."""
    width = 4 if header.type == "uint8" else 2 * max(2, header.channels)
    count = header.height * header.width * width * COPIES
    if count < SMALL:
        yield
        return
    with ROOM.held(count):
        yield
