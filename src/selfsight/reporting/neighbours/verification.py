"""Same or different: a table of scores, and the ROC curve."""

from __future__ import annotations

from selfsight.records.neighbours import VerificationLine
from selfsight.reporting.figures import axis, figure, rounded
from selfsight.reporting.neighbours import NeighboursContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 20
TITLE = "Scores"
HEADING = "Same or different"


def values(contents: NeighboursContents, page: Page) -> Values | None:
    """Scores as they are and after centring; None where no pairs were given."""
    pairs = contents.pairs
    if pairs is None or not pairs.lines:
        return None
    curve = None
    if pairs.curve is not None:
        trace = {
            "type": "scatter",
            "mode": "lines",
            "x": [rounded(100 * value) for value in pairs.curve.falsely],
            "y": [rounded(100 * value) for value in pairs.curve.accepted],
            "line": {"color": "var(--run-0)", "width": 2},
            "hovertemplate": "%{y:.3~g} % of same pairs at %{x:.3~g} %<extra></extra>",
        }
        chart = figure(
            [trace],
            360,
            xaxis=axis("different pairs accepted", ticksuffix=" %", range=[0, 100]),
            yaxis=axis("same pairs accepted", ticksuffix=" %", range=[0, 100]),
        )
        curve = page.plot("roc", chart, "ROC curve of all pairs")
    rates = [rate for rate, *_ in pairs.lines[0].points]
    return {
        "rates": [f"{rate * 100:g} %" for rate in rates],
        "rows": [_row(line) for line in pairs.lines],
        "threshold": number(pairs.threshold, 4),
        "curve": curve,
        "least": _least(pairs.lines[0]),
    }


def _row(line: VerificationLine) -> Values:
    return {
        "name": line.name,
        "pairs": number(line.pairs),
        "same": number(line.same),
        "accuracy": f"{100 * line.accuracy:.1f} ± {100 * line.standard_error:.1f} %",
        "majority": f"{100 * line.majority:.1f} %",
        "auc": f"{line.auc:.3f}",
        "equal_error": f"{100 * line.equal_error:.1f} %",
        "points": [
            (
                f"{100 * accepted / max(same, 1):.1f} %",
                f"{number(accepted)} of {number(same)}; {number(falsely)} of {number(different)}",
            )
            for _, accepted, same, falsely, different in line.points
        ],
    }


def _least(line: VerificationLine) -> str:
    """On how few pairs the strictest point rests."""
    rate, _, _, _, different = line.points[-1]
    count = int(rate * different)
    return (
        f"At {rate * 100:g} % false acceptance the threshold rests on {number(count)} of "
        f"{number(different)} different pairs: read it as an order of magnitude."
    )
