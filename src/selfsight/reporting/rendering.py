"""A template and its data as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfsight import __version__
from selfsight.files import write_text


def write_page(
    path: Path,
    template: str,
    figures: dict[str, Any],
    data_blocks: dict[str, Any],
    **values: Any,
) -> Path:
    """Renders a template of this package into ``path``; Plotly only where there is a figure.

    Args:
        path: of the HTML file; replaced atomically.
        template: its name.
        figures: id -> Plotly dictionary.
        data_blocks: id -> what the page's script reads beside the figures.
        values: of the template, escaped there.
    """
    environment = Environment(
        loader=PackageLoader("selfsight.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["code"] = with_code
    text = environment.get_template(template).render(
        version=__version__,
        style=Markup(_source("style.css")),
        script=Markup(_source("page.js")),
        plotly=Markup(_plotly()) if figures else "",
        figures=in_script(figures),
        data_blocks={name: in_script(block) for name, block in data_blocks.items()},
        **values,
    )
    write_text(path, text)
    return path


def with_code(text: str) -> Markup:
    """Escaped text, with ``code`` elements for what stands between backquotes."""
    parts = [
        Markup("<code>{}</code>").format(part) if at % 2 else Markup("{}").format(part)
        for at, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def in_script(value: Any) -> Markup:
    """JSON that cannot end the ``script`` element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _source(name: str) -> str:
    return (files("selfsight.reporting") / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
