"""Small pictures of the indexed images, so that pages need neither the images nor a decoder."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.display import displayed

CRISP = 72
"""Longer side in pixels up to which a picture is kept without loss."""
GROUP = 256
"""Pictures that are read at once."""


def encoded(pixels: NDArray[Any], side: int) -> bytes:
    """One image ``(H, W, C)`` of any type as PNG (up to 72 pixels) or JPEG.

    Args:
        pixels: of an image set; values other than bytes are stretched.
        side: longest side in pixels; larger images are made smaller.
    """
    from PIL import Image

    shown = displayed(pixels[None])[0]
    image = Image.fromarray(shown if shown.shape[2] == 3 else shown[..., 0])
    crisp = max(image.size) <= CRISP
    if max(image.size) > side:
        share = side / max(image.size)
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if crisp:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class PicturesFile:
    """A Parquet file of encoded pictures that grows, some hundred to a row group."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([("picture", pa.binary())])
        self._writer: Any = pq.ParquetWriter(str(path), self._schema, compression="none")

    def append(self, pictures: Iterable[bytes | None]) -> None:
        """Adds pictures; None: there is none of this image."""
        import pyarrow as pa

        table = pa.table({"picture": list(pictures)}, schema=self._schema)
        self._writer.write_table(table, row_group_size=GROUP)

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Pictures:
    """Pictures of an index by place; only the row groups that are asked for are read."""

    path: Path

    def at(self, places: Iterable[int]) -> dict[int, bytes]:
        """Place -> PNG or JPEG, of those that have a picture.

        Raises:
            ValueError: the file is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = np.unique(np.fromiter(places, np.int64))
        pictures: dict[int, bytes] = {}
        try:
            with pq.ParquetFile(self.path) as file:
                groups = range(file.num_row_groups)
                sizes = [file.metadata.row_group(group).num_rows for group in groups]
                ends = np.cumsum(sizes)
                for group in np.unique(np.searchsorted(ends, wanted, side="right")).tolist():
                    column = file.read_row_group(group)["picture"]
                    first = int(ends[group]) - sizes[group]
                    for place in wanted[(wanted >= first) & (wanted < ends[group])].tolist():
                        content = column[place - first].as_py()
                        if content is not None:
                            pictures[place] = content
        except (OSError, UnicodeError, pa.ArrowException) as error:
            raise ValueError(f"{self.path} is damaged and cannot be read: {error}") from None
        return pictures
