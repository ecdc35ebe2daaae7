"""The verb `list-methods`: name, paper, needs and cost of each method."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from selfsight.methods import METHODS
from selfsight.settings import Settings


class ListMethods(Settings):
    """List the methods: what each is called, its paper, what it needs and what a step costs."""


class Entry(NamedTuple):
    """A method.

    Attributes:
        name: for the command line.
        title: what people call it.
        paper: where it is from.
        needs: of the data and the backbone; empty where it takes any.
        views: of each image in a step.
        cost: pixels that the backbone sees in a step per pixel of the batch, of the student alone.
    """

    name: str
    title: str
    paper: str
    needs: tuple[str, ...]
    views: int
    cost: float


class Catalogue(tuple[Entry, ...]):
    """The methods, one line each."""

    def __str__(self) -> str:
        rows = [("method", "needs", "views", "cost", "paper"), *map(_cells, self)]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join([*map(str.ljust, row, widths), row[4]]).rstrip() for row in rows]
        return "\n".join(
            [*lines, "", "cost: pixels that the backbone sees in a step, per pixel of the batch."]
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("method", "needs", "views", "cost", "paper"))
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in _cells(entry)) for entry in self)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def plain(self) -> dict[str, Any]:
        return {"methods": [entry._asdict() for entry in self]}


def list_methods(settings: ListMethods) -> Catalogue:
    """The methods of the package.

    Returns:
        One entry each, by name.
    """
    return Catalogue(_entry(name) for name in METHODS)


def _entry(name: str) -> Entry:
    kind = METHODS[name]
    title, colon, _ = (kind.__doc__ or "").strip().partition(":")
    title = title if colon and "\n" not in title else kind.__name__
    cost = sum(_area(view.size) for view in kind.views)
    return Entry(
        name, title, kind.paper, tuple(sorted(kind.needs)), len(kind.views), round(cost, 2)
    )


def _area(size: float) -> float:
    """Area of a view, in images; a size in pixels is taken as one of images of 224."""
    return size**2 if size <= 1.0 else (size / 224) ** 2


def _cells(entry: Entry) -> tuple[str, ...]:
    needs = ", ".join(entry.needs) or "-"
    return entry.name, needs, str(entry.views), f"{entry.cost:g}x", entry.paper
