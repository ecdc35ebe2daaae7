"""The report at Weights & Biases: its content, without a network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfsight.files import write_json
from selfsight.reporting import report as module
from selfsight.reporting.report import Report, report
from selfsight.reporting.report.tables import Cell, Row, Table
from selfsight.reporting.report.wandb_report import Published, markdown, wandb_report
from selfsight.runs.folder import RunFolder

pytestmark = pytest.mark.filterwarnings("default")  # of the trackers' own packages


@pytest.fixture
def evaluated(make_run: Callable[..., Path], tmp_path: Path, without_plotly: None) -> Path:
    path = make_run(tmp_path / "runs" / "a|run")
    write_json(RunFolder(path).trackers, {"wandb": "abc123"})
    return path


def test_the_report_has_answers_tables_figures_and_curves(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wr = pytest.importorskip(
        "wandb_workspaces.reports.v2", reason="wandb-workspaces is not installed"
    )
    from wandb_workspaces.reports.v2 import interface

    _, contents, page = module._written([evaluated], None)
    built = wandb_report(contents, page, "me", "selfsight", "page9")
    kinds = [type(block) for block in built.blocks]
    text = " ".join(block.text for block in built.blocks if isinstance(block, wr.P))
    assert "untrained backbone" in text and "<strong>" not in text
    tables = [b.text for b in built.blocks if isinstance(b, wr.MarkdownBlock)]
    assert len(tables) == len(contents.questions)
    question = contents.questions[0]
    value = question.value(question.series[0], question.probes[0], 1.0)
    assert value is not None and value.mean is not None
    assert f"{100 * value.mean:.1f}" in tables[0] and f"{100 * (value.low or 0):.1f}" in tables[0]
    grids = [block for block in built.blocks if isinstance(block, wr.PanelGrid)]
    media = [p.media_keys[0] for g in grids for p in g.panels if isinstance(p, wr.MediaBrowser)]
    starts = ("results-", "curve-", "map-")
    assert media == [
        f"figures/{n}" for start in starts for n in page.figures if n[: len(start)] == start
    ]
    assert {"figures/results-0-0", "figures/curve-loss", "figures/map-0"} <= set(media)
    curves = [p.y[0] for g in grids for p in g.panels if isinstance(p, wr.LinePlot)]
    assert curves == ["loss", "knn", "effective_rank"]
    assert wr.H2 in kinds
    # What is sent to the server, which is asked for nothing but the number of the project.
    answer = {"project": {"internalId": "p1"}}
    monkeypatch.setattr(interface, "_get_api", lambda: SimpleNamespace(default_entity="me"))
    monkeypatch.setattr(interface, "execute_graphql", lambda *arguments: answer)
    sent = built._to_model().model_dump_json(by_alias=True)
    assert "abc123" in sent and "page9" in sent


def test_offline_the_page_and_its_figures_are_logged(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    wandb.teardown()  # it remembers the environment of its first run
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    published = report(Report(runs=(str(evaluated),), out=str(tmp_path / "p.html"), to="wandb"))
    assert isinstance(published, Published)
    assert published.page.is_file() and published.url == "" and published.note
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    assert list(media.glob("html/report*.html"))
    assert len(list((media / "plotly").rglob("*.json"))) >= 3


def test_a_server_that_is_not_there_is_one_sentence(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    wandb.teardown()  # it remembers the environment of its first run
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    out = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"Weights & Biases failed \(UsageError.*wandb login"):
        report(Report(runs=(str(evaluated),), out=str(out), to="wandb"))
    assert out.is_file()


def test_without_the_package_nothing_is_written(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsight.reporting.report.wandb_report.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'selfsight\[wandb\]'"):
        report(Report(runs=(str(evaluated),), out=str(tmp_path / "p.html"), to="wandb"))
    assert not (tmp_path / "p.html").exists()


class Logged:
    """A W&B run in memory."""

    id, entity, project, url, offline = "r1", "me", "selfsight", "https://wandb.example/r1", False

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self.artifacts: list[Any] = []

    def __enter__(self) -> Logged:
        return self

    def __exit__(self, *reason: object) -> None: ...

    def log(self, content: dict[str, Any]) -> None:
        self.content |= content

    def log_artifact(self, artifact: Any) -> None:
        self.artifacts.append(artifact)


def test_without_workspaces_the_page_is_an_artifact(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, files = Logged(), list[str]()
    wandb = SimpleNamespace(
        init=lambda **words: run,
        Html=lambda text, inject: text,
        Plotly=lambda figure: figure,
        Artifact=lambda name, type: SimpleNamespace(name=name, type=type, add_file=files.append),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(
        "selfsight.reporting.report.wandb_report.find_spec",
        lambda name: None if name == "wandb_workspaces" else True,
    )
    out = tmp_path / "page.html"
    published = report(Report(runs=(str(evaluated),), out=str(out), to="wandb"))
    assert isinstance(published, Published)
    assert published.url == Logged.url and "wandb-workspaces" in published.note
    assert files == [str(out)] and run.artifacts[0].type == "report"
    assert run.content["report"] == out.read_text()
    figure = run.content["figures/results-0-0"]
    assert "var(--" not in figure.to_json() and figure.data[0].line.color.startswith("#")


def test_cells_of_markdown_are_escaped() -> None:
    row = Row("10 %", "12", "5", [Cell("40.0 %", "38.0 to 42.0", "no better"), Cell("–")])
    text = markdown(Table("t", [("a|b", ""), ("c", "")], [("kNN", [row])]))
    head, _, line = text.splitlines()
    assert head == r"| Probe | Share | Labels | a\|b | c | Draws |"
    assert line == "| kNN | 10 % | 12 | 40.0 % (38.0 to 42.0) no better | – | 5 |"
