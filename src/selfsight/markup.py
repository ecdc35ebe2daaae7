"""Small pieces of HTML for notebooks: facts, tables, pictures, a map; every text is escaped.

What they return loads nothing and has no script, so that a saved notebook shows it as well.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

COLORS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"),
    *("#56b4e9", "#8f7a00", "#6a51a3", "#4d4d4d", "#a0cf3a"),
)
"""Of the categories of a map, the first of which is the first; they repeat."""
GREY = "#b9bec2"
"""Of points without a category."""
ROWS = 20
"""Rows of a table that are shown."""


def block(title: object, *parts: str) -> str:
    """A title and the pieces below it."""
    return f"<div><strong>{escape(str(title))}</strong>{''.join(parts)}</div>"


def facts(pairs: Mapping[str, object]) -> str:
    """Names and values, one line each; those that are None or empty text are left out."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in pairs.items()
        if value is not None and value != ""
    )
    return f"<table>{lines}</table>"


def table(head: Sequence[object], rows: Sequence[Sequence[object]], most: int = ROWS) -> str:
    """A table; rows after the first ``most`` are counted."""
    top = "".join(f"<th>{escape(str(name))}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows[:most]
    )
    more = f"<p>and {len(rows) - most:,} more rows</p>" if len(rows) > most else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"


def lines(texts: Iterable[object]) -> str:
    """One paragraph a text."""
    return "".join(f"<p>{escape(str(text))}</p>" for text in texts)


def media_type(content: bytes) -> str:
    """``image/png`` or ``image/jpeg``, which are the small pictures that are kept."""
    return "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"


def picture_uri(content: bytes) -> str:
    """A PNG or JPEG as a data URI."""
    return f"data:{media_type(content)};base64,{base64.b64encode(content).decode()}"


def gallery(pictures: Iterable[tuple[str, str]], height: int = 64) -> str:
    """Pictures in a row, each with its words below: ``(data URI, words)``; no URI: words alone."""
    shown = []
    for uri, words in pictures:
        image = (
            f"<img src='{escape(uri)}' alt='{escape(words)}' "
            f"style='height:{height}px;image-rendering:pixelated'>"
            if uri
            else ""
        )
        shown.append(
            "<figure style='display:inline-block;margin:2px;text-align:center;"
            f"vertical-align:top;max-width:{2 * height}px;overflow-wrap:anywhere'>{image}"
            f"<figcaption><small>{escape(words)}</small></figcaption></figure>"
        )
    return f"<div>{''.join(shown)}</div>"


def scatter(
    places: Sequence[tuple[float, float]],
    categories: Sequence[str],
    names: Sequence[str],
    side: int = 420,
) -> str:
    """Points in the colour of their category, as SVG with a legend.

    Args:
        places: of the M points.
        categories: of each; empty text: unknown, grey.
        names: of each point, shown when it is pointed at.
        side: pixels of the square.
    """
    xs, ys = [x for x, _ in places], [y for _, y in places]
    low_x, low_y = min(xs, default=0.0), min(ys, default=0.0)
    span = max(max(xs, default=1.0) - low_x, max(ys, default=1.0) - low_y) or 1.0
    kinds = sorted({category for category in categories if category})
    colors = {kind: COLORS[at % len(COLORS)] for at, kind in enumerate(kinds)}
    inner = side - 12
    points = "".join(
        f"<circle cx='{6 + inner * (x - low_x) / span:.1f}' "
        f"cy='{6 + inner * (1 - (y - low_y) / span):.1f}' r='3' "
        f"fill='{colors.get(category, GREY)}' fill-opacity='.8'>"
        f"<title>{escape(name)}{escape(f': {category}') if category else ''}</title></circle>"
        for (x, y), category, name in zip(places, categories, names, strict=True)
    )
    keys = " ".join(
        f"<span style='white-space:nowrap'><span style='color:{colors[kind]}'>&#9679;</span> "
        f"{escape(kind)}</span>"
        for kind in kinds[:ROWS]
    )
    more = f" and {len(kinds) - ROWS:,} more" if len(kinds) > ROWS else ""
    return (
        f"<svg width='{side}' height='{side}' viewBox='0 0 {side} {side}' role='img'>{points}</svg>"
        f"<div>{keys}{more}</div>"
    )
