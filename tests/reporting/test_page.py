"""One frame, and sections that a folder finds; every kind of page opens without torch."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import selfsight.reporting.audit
import selfsight.reporting.labelling
import selfsight.reporting.report
import selfsight.reporting.tuning
from selfsight.reporting.page import Page, in_script, sections_of, with_code, write_page

KINDS = [
    selfsight.reporting.report,
    selfsight.reporting.audit,
    selfsight.reporting.tuning,
    selfsight.reporting.labelling,
]

ONE = """
from markupsafe import Markup
ORDER = 15
TITLE = "Licence"
def values(contents, page):
    if contents is None:
        return None
    plot = page.plot("licence", {"data": [], "layout": {"height": 99}}, 'a "label"')
    return {"name": contents, "plot": plot}
"""


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside that of the report's sections, with one more section."""
    (tmp_path / "licence.py").write_text(ONE)
    (tmp_path / "licence.html").write_text("<p>{{ name }}</p>{{ plot }}\n")
    (tmp_path / "no_partial.py").write_text("raise AssertionError\n")
    package = selfsight.reporting.report
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("selfsight.reporting.report.licence", None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.rpartition(".")[2])
def test_sections_have_an_order_and_words(kind) -> None:
    sections = sections_of(kind)
    assert len(sections) >= 2
    orders = [section.ORDER for section in sections]
    assert orders == sorted(set(orders))
    assert len({section.TITLE for section in sections}) == len(sections)
    assert all(section.__doc__ and section.values.__doc__ for section in sections)


def test_every_partial_belongs_to_a_section() -> None:
    for kind in KINDS:
        folder = Path(kind.__file__).parent
        names = {section.__name__.rpartition(".")[2] for section in sections_of(kind)}
        assert names == {path.stem for path in folder.glob("*.html")}


@pytest.mark.usefixtures("without_plotly")
def test_a_section_is_a_module_and_a_partial(make_run, tmp_path: Path, dropped_in: Path) -> None:
    titles = [section.TITLE for section in sections_of(selfsight.reporting.report)]
    assert titles[:3] == ["Overview", "Licence", "Results"]
    package = selfsight.reporting.report
    page = Page("report", "A <title>", "x")
    one = [section for section in sections_of(package) if section.TITLE == "Licence"]
    assert one[0].values(None, page) is None
    assert 'aria-label="a &#34;label&#34;"' in one[0].values("MIT", page)["plot"]


def test_a_section_without_content_is_left_out(tmp_path: Path, dropped_in: Path) -> None:
    import types

    folder = types.ModuleType("only")
    folder.__path__ = [str(dropped_in)]
    sys.modules["only"] = folder
    try:
        page = write_page(tmp_path / "a.html", folder, None, Page("report", "A <title>", "x"))
        text = page.read_text()
        assert "Licence" not in text
        assert "<h1>A &lt;title&gt;</h1>" in text
        page = write_page(tmp_path / "b.html", folder, "MIT & more", Page("report", "t", "x"))
        text = page.read_text()
        assert '<a href="#licence">Licence</a>' in text
        assert "<p>MIT &amp; more</p>" in text
        assert 'style="min-height:99px"' in text
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "only"]:
            del sys.modules[name]


def test_text_in_scripts_and_code_stays_text() -> None:
    assert json.loads(in_script({"a": "</script><b>&"})) == {"a": "</script><b>&"}
    assert "<" not in in_script({"a": "</script>"})
    assert with_code("run `a < b` now") == "run <code>a &lt; b</code> now"


def test_the_report_opens_without_torch(make_run, tmp_path: Path, opened_alone) -> None:
    runs = [str(make_run(tmp_path / name)) for name in ("a", "b", "c")]
    assert opened_alone("report", "write_report", runs[:1]).is_file()
    assert opened_alone("report", "write_report", runs).is_file()


def test_the_command_report_needs_no_torch(make_run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    code = (
        "import sys; from selfsight.cli import main\n"
        f"assert main(['report', {str(run)!r}]) == 0\n"
        "import selfsight\n"
        f"selfsight.report({str(run)!r})\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run / 'report.html'}\n"
