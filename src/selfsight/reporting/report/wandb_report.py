"""The report at Weights & Biases: the answers, tables and figures of the page.

The page and its figures are logged to one W&B run of the job type ``report``. Where the package
``wandb-workspaces`` is installed, a W&B Report shows them beside the curves of the trainings that
were tracked there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from selfsight.files import read_json
from selfsight.reporting.figures import with_colors
from selfsight.reporting.page import Page
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.report.tables import Cell, Table, results_table
from selfsight.runs.folder import RunFolder

CURVES = (("loss", "Step"), ("knn", "epoch"), ("effective_rank", "epoch"))
"""Metrics of the trainings, and what each is drawn over."""


@dataclass(frozen=True)
class Published:
    """A page that was sent to Weights & Biases.

    Attributes:
        page: path of the file.
        url: of the W&B Report, or of the W&B run that holds the page; empty where W&B is offline.
        note: why there is no W&B Report; empty where there is one.
    """

    page: Path
    url: str
    note: str = ""

    def __str__(self) -> str:
        lines = [str(self.page), self.url, self.note]
        return "\n".join(line for line in lines if line)


def check_packages() -> None:
    """Raises a ``ValueError`` where wandb is not installed."""
    if find_spec("wandb") is None:
        raise ValueError("report: --to wandb needs a package; pip install 'selfsight[wandb]'.")


def publish(path: Path, contents: ReportContents, page: Page) -> Published:
    """Logs the page and its figures to W&B, and makes a W&B Report where that is possible.

    Args:
        path: of the written page.
        contents: what it is about.
        page: with the figures of its sections.

    Returns:
        Where it is.

    Raises:
        ValueError: W&B cannot be used: no key, no server.
    """
    import wandb

    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")  # its own default is 90 seconds
    try:
        project = os.environ.get("WANDB_PROJECT", "selfsight")
        run = wandb.init(project=project, name=page.title, job_type="report", dir=path.parent)
        with run:
            run.log({"report": wandb.Html(path.read_text("utf-8"), inject=False)})
            run.log(_figures(page))
            artifact = wandb.Artifact(f"report-{run.id}", type="report")
            artifact.add_file(str(path))
            run.log_artifact(artifact)
            note = _no_report(run)
            if note:
                return Published(path, run.url or "", note)
        # The run is complete now, so that the report finds its figures.
        report = wandb_report(contents, page, run.entity, run.project, run.id)
        report.save()
        return Published(path, str(report.url))
    except Exception as error:  # no key, no server, no room, a version: all end as one sentence
        lines = str(error).strip().splitlines()
        raise ValueError(
            f"report: Weights & Biases failed ({type(error).__name__}: "
            f"{lines[0] if lines else 'no reason given'}). The page is {path}. Log in with "
            "`wandb login`, or set WANDB_MODE=offline to keep it for `wandb sync`."
        ) from error


def _no_report(run: Any) -> str:
    """Why there can be no W&B Report; empty: there can."""
    if find_spec("wandb_workspaces") is None:
        return (
            "The page is an artifact of this W&B run. For a W&B Report: "
            "pip install 'selfsight[wandb]' brings wandb-workspaces."
        )
    if run.offline:
        return (
            "W&B is offline: the page is an artifact of a run that `wandb sync` uploads; a W&B "
            "Report needs the server."
        )
    return ""


def _figures(page: Page) -> dict[str, Any]:
    import plotly.graph_objects as go
    import wandb

    return {
        f"figures/{name}": wandb.Plotly(go.Figure(with_colors(figure)))
        for name, figure in page.figures.items()
    }


def wandb_report(
    contents: ReportContents, page: Page, entity: str, project: str, run_id: str
) -> Any:
    """The W&B Report, which is not saved yet.

    Args:
        contents: what the page is about.
        page: with the figures of its sections.
        entity: the account or team at W&B.
        project: at W&B.
        run_id: of the W&B run that holds the figures.

    Returns:
        A ``wandb_workspaces.reports.v2.Report``.
    """
    import wandb_workspaces.reports.v2 as wr

    def grid(name: str, ids: Sequence[str], panels: list[Any]) -> Any:
        runs = wr.Runset(
            entity=entity, project=project, name=name, filters=f"Metric('ID') in {list(ids)!r}"
        )
        return wr.PanelGrid(runsets=[runs], panels=panels)

    def figures(start: str) -> list[Any]:
        panels = [
            wr.MediaBrowser(
                title=page.labels[name].partition(".")[0].partition(":")[0],
                media_keys=[f"figures/{name}"],
                num_columns=1,
                layout=wr.Layout(x=12 * (at % 2), y=10 * (at // 2), w=12, h=10),
            )
            for at, name in enumerate(n for n in page.figures if n.startswith(start))
        ]
        return [grid("The report", [run_id], panels)] if panels else []

    blocks: list[Any] = []
    if page.alarm is not None:
        sentence, lines = page.alarm
        blocks.append(wr.CalloutBlock(text=" ".join([sentence, *lines])))
    blocks += [wr.CalloutBlock(text=" ".join(warning)) for warning in page.warnings]
    blocks += [wr.P(text=plain(text)) for text in (*page.answers, *page.further)]
    blocks.append(wr.H2(text="Results beside the controls"))
    for at, question in enumerate(contents.questions):
        table = results_table(question)
        blocks += [wr.H3(text=table.title), wr.MarkdownBlock(text=markdown(table))]
        blocks += figures(f"results-{at}-")
    blocks.append(wr.H2(text="Training"))
    if ids := tracked_ids(contents):
        panels = [
            wr.LinePlot(x=x, y=[name], layout=wr.Layout(x=8 * at, y=0, w=8, h=8))
            for at, (name, x) in enumerate(CURVES)
        ]
        blocks.append(grid("Trainings", ids, panels))
    blocks += figures("curve-")
    blocks.append(wr.H2(text="Map of the representations"))
    blocks += figures("map-")
    return wr.Report(
        entity=entity,
        project=project,
        title=page.title[:128],
        description=f"selfsight: {page.source}",
        blocks=blocks,
        width="fluid",
    )


def tracked_ids(contents: ReportContents) -> list[str]:
    """Ids of the W&B runs of the trainings, as far as they have one."""
    folders = [RunFolder(run.path) for run in contents.runs]
    known = [read_json(f.trackers) if f.trackers.is_file() else {} for f in folders]
    return [str(ids["wandb"]) for ids in known if "wandb" in ids]


def plain(text: str) -> str:
    """The text of an answer without its elements."""
    return Markup(text).striptags() if isinstance(text, Markup) else str(text)


def markdown(table: Table) -> str:
    """A table of results in Markdown, intervals and verdicts in each cell."""
    head = ["Probe", "Share", "Labels", *(name for name, _ in table.columns), "Draws"]
    lines = [head, ["---"] * len(head)]
    for probe, rows in table.blocks:
        for row in rows:
            cells = [_cell_text(cell) for cell in row.cells]
            lines.append([probe, row.fraction, row.labels, *cells, row.draws])
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _cell_text(cell: Cell) -> str:
    parts = [cell.main, f"({cell.interval})" if cell.interval else "", cell.verdict]
    return " ".join(part for part in (*parts, *(text for text, _ in cell.against)) if part)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
