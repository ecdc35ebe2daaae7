"""One frame for every page: header, navigation, sections, footer; one file that loads nothing.

A page is its sections. A section is a module in the folder of the page with a partial template of
the same name beside it, such as ``report/training.py`` and ``report/training.html``. The folder is
the registry. The module has

* ``ORDER``, a number: sections stand in this order;
* ``TITLE``, its name in the navigation, and ``HEADING``, where the heading is another;
* ``values(contents, page)``: the variables of the partial, or None where there is nothing to show.
  ``heading`` among them replaces the heading, and ``alarm`` colours it red.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from selfsight.files import write_text
from selfsight.reporting.words import capital, number
from selfsight.version import __version__

Figure = dict[str, Any]
"""A Plotly figure as plain dictionaries."""
Values = dict[str, Any]
"""The variables of a section's partial template."""


@dataclass
class Page:
    """The header of a page, and what its sections add to it.

    Attributes:
        kind: of the page: report, audit, tuning...
        title: its heading.
        source: what it was made from, for the footer.
        answers: sentences in large type: what the page is about.
        further: sentences below, in smaller type.
        alarm: a sentence in a red box and the lines below it; empty: no box.
        warnings: a few words in bold and a sentence each.
        classes: of the body element.
        figures: id -> Plotly figure.
        labels: id of a figure -> the same in words.
        blocks: id -> plain data for the script.
    """

    kind: str
    title: str
    source: str
    answers: Sequence[str] = ()
    further: Sequence[str] = ()
    alarm: tuple[str, Sequence[str]] | None = None
    warnings: Sequence[tuple[str, str]] = ()
    classes: Sequence[str] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, Any] = field(default_factory=dict)

    def plot(self, name: str, figure: Figure, label: str, data: Any = None) -> Markup:
        """The element of a figure.

        Args:
            name: unique on the page.
            figure: see `selfsight.reporting.figures.figure`.
            label: the same in words, for those who do not see it.
            data: plain data that the script shows beside the points (the map).
        """
        self.figures[name] = figure
        self.labels[name] = label
        more = ""
        if data is not None:
            self.blocks[f"{name}-data"] = data
            more = Markup(' data-map="{}-data"').format(name)
        return Markup(
            '<div class="plot" id="plot-{0}" data-figure="{0}" role="img" aria-label="{1}" '
            'style="min-height:{2}px"{3}></div>'
        ).format(name, label, figure["layout"]["height"], more)


def write_page(path: Path, folder: ModuleType, contents: Any, page: Page) -> Path:
    """Renders the sections of a page into one HTML file; Plotly only where there is a figure.

    Args:
        path: of the file; replaced atomically.
        folder: the package whose modules are the sections.
        contents: what every section takes.
        page: the header; the sections add their figures.
    """
    environment = environment_of(*folder.__path__)
    parts = []
    for section in sections_of(folder):
        values = section.values(contents, page)
        if values is None:
            continue
        name = section.__name__.rpartition(".")[2]
        heading = values.get("heading", getattr(section, "HEADING", section.TITLE))
        body = environment.get_template(f"{name}.html").render(values)
        part = {"id": name.replace("_", "-"), "title": section.TITLE, "heading": heading}
        parts.append(part | {"alarm": values.get("alarm", False), "body": Markup(body)})
    text = environment.get_template("frame.html").render(
        version=__version__,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        page=page,
        sections=parts,
        style=Markup(page_source("style.css")),
        script=Markup(page_source("page.js")),
        plotly=Markup(plotly_source()) if page.figures else "",
        figures=in_script(page.figures),
        blocks={name: in_script(block) for name, block in page.blocks.items()},
    )
    write_text(path, text)
    return path


def environment_of(*folders: str) -> Environment:
    """Jinja for the templates of folders, then of this package; every text is escaped."""
    environment = Environment(
        loader=FileSystemLoader([*folders, str(files("selfsight.reporting"))]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"code": with_code, "number": number, "capital": capital}
    return environment


def sections_of(folder: ModuleType) -> list[Any]:
    """The modules of a package that have a partial template beside them, in their order."""
    sections = [
        importlib.import_module(f"{folder.__name__}.{module.name}")
        for module in pkgutil.iter_modules(folder.__path__)
        if any((Path(place) / f"{module.name}.html").is_file() for place in folder.__path__)
    ]
    return sorted(sections, key=lambda section: section.ORDER)


def with_code(text: str) -> Markup:
    """Escaped text, with ``code`` elements for what stands between backquotes."""
    parts = [
        Markup("<code>{}</code>").format(part) if at % 2 else Markup("{}").format(part)
        for at, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def in_script(value: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the ``script`` element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def page_source(name: str) -> str:
    """The text of a file of this package."""
    return (files("selfsight.reporting") / name).read_text(encoding="utf-8")


def plotly_source() -> str:
    """The script of Plotly, which cannot end the element that it stands in."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
