"""The page of a map: one file that loads nothing, to look at, search and select images.

It differs from the pages of sections: the map fills the window, and its script keeps a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from selfsight.files import write_text
from selfsight.reporting.page import environment_of, in_script, page_source, plotly_source
from selfsight.reporting.pictures import Sprites
from selfsight.version import __version__

SVG_POINTS = 3000
"""Points up to which the map is drawn as SVG, which needs no evaluated code (``unsafe-eval``) under
a content policy; WebGL draws more of them faster."""


@dataclass(frozen=True)
class MapColumn:
    """What is known of each point, to colour the map by.

    Attributes:
        name: of the column.
        names: of its categories; none for numbers.
        values: ``(M,)`` place in ``names`` (-1: unknown), or a number (NaN: unknown).
    """

    name: str
    names: tuple[str, ...]
    values: NDArray[Any]


@dataclass(frozen=True)
class MapContents:
    """What the page shows.

    Attributes:
        title: its heading.
        of: a sentence on what is shown.
        row_ids: ``(M,)``.
        places: ``(M,)`` of the points in the index.
        positions: ``(M, 2)``.
        neighbours: ``(M, k)`` points, most similar first.
        cosines: ``(M, k)``.
        columns: to colour by; the first one comes first.
        sheet: thumbnails of all points, or None.
        notes: sentences on what is left out.
    """

    title: str
    of: str
    row_ids: Sequence[str]
    places: NDArray[np.int64]
    positions: NDArray[Any]
    neighbours: NDArray[np.int64]
    cosines: NDArray[Any]
    columns: tuple[MapColumn, ...]
    sheet: Sprites | None
    notes: tuple[str, ...] = ()

    @property
    def drawn_by_gl(self) -> bool:
        """Whether WebGL draws it."""
        return len(self.row_ids) > SVG_POINTS


def map_html(contents: MapContents, *, token: str = "", nonce: str = "") -> str:
    """The page.

    Args:
        contents: what it shows.
        token: of the server that the page is from; empty: there is none, it is a file.
        nonce: that a content policy asks of scripts.
    """
    environment = environment_of(*__path__)
    return environment.get_template("map.html").render(
        version=__version__,
        contents=contents,
        count=len(contents.row_ids),
        served=bool(token),
        nonce=nonce,
        style=Markup(page_source("style.css") + page_source("map_page/map.css")),
        script=Markup(page_source("map_page/map.js")),
        plotly=Markup(plotly_source()),
        block=in_script({**_block(contents), "token": token}),
    )


def write_map_page(path: Path, contents: MapContents) -> Path:
    """Writes the page as one file that opens offline."""
    write_text(path, map_html(contents))
    return path


def _block(contents: MapContents) -> dict[str, Any]:
    """The data of the script; positions are whole numbers from 0 to 10,000."""
    low = contents.positions.min(0, initial=np.inf)
    span = float(np.ptp(contents.positions, axis=0).max(initial=0.0)) or 1.0
    places = np.round((contents.positions - low) / span * 10_000).astype(int)
    columns = []
    for column in contents.columns:
        if column.names:
            values = column.values.tolist()
        else:
            values = [float(f"{v:.5g}") if np.isfinite(v) else None for v in column.values]
        columns.append({"name": column.name, "names": list(column.names), "values": values})
    return {
        "ids": [str(row_id) for row_id in contents.row_ids],
        "places": contents.places.tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "k": contents.neighbours.shape[1],
        "neighbours": contents.neighbours.reshape(-1).tolist(),
        "cosines": [int(v) for v in np.round(1000 * contents.cosines.reshape(-1))],
        "columns": columns,
        "sheet": None if contents.sheet is None else asdict(contents.sheet),
        "gl": contents.drawn_by_gl,
    }
