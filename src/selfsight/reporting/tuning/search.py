"""How the search went: history, curves, importances, parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsight import vocabulary
from selfsight.reporting.page import Page, Values
from selfsight.reporting.tuning.figures import (
    STATES,
    history_figure,
    importances_figure,
    parallel_figure,
    trials_figure,
)
from selfsight.reporting.tuning.names import unit_name

ORDER = 20
TITLE = "Search"
HEADING = "How the search went"


def values(study: Mapping[str, Any], page: Page) -> Values:
    """The charts, as far as the trials allow them."""
    rows = study["rows"]
    curves = {int(number): curve for number, curve in study["curves"].items()}
    legend = [(color, name) for color, _, name in STATES.values()]
    charts = [
        _chart(
            f"History: {vocabulary.metric(study['metric']).title} on the held-out images",
            page.plot(
                "history", history_figure(study, rows), "Value of each trial and the best so far"
            ),
            legend,
        )
    ]
    if curves:
        plot = page.plot(
            "curves",
            trials_figure(study, rows, curves),
            f"Value of each trial after each {unit_name(study)}",
        )
        note = "A dot marks where a trial ended. The thick line is the best trial."
        charts.append(_chart("Curves of the trials, as far as each got", plot, legend, note))
    if study["importances"]:
        plot = page.plot(
            "importances", importances_figure(study["importances"]), "Importance of each setting"
        )
        note = (
            "PED-ANOVA over the completed trials: it shows where the good trials lie together, "
            "not what a setting causes."
        )
        charts.append(_chart("Which settings separate good trials from others", plot, [], note))
    complete = [row for row in rows if row["state"] == "complete"]
    if len(complete) > 1 and study["searched"]:
        label = "Parallel coordinates of the completed trials"
        plot = page.plot("parallel", parallel_figure(study, rows), label)
        note = "Stronger lines are better trials; drag along an axis to select."
        charts.append(_chart("Completed trials through their settings", plot, [], note, True))
    return {"charts": charts}


def _chart(
    title: str,
    plot: str,
    legend: list[tuple[str, str]],
    note: str = "",
    wide: bool = False,
) -> Values:
    return {"title": title, "plot": plot, "legend": legend, "note": note, "wide": wide}
