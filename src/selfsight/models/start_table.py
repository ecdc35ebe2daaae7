"""The table of `compare-starts`: its lines, its text, its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from selfsight.console import counted
from selfsight.evaluation.result_tables import aligned, with_half
from selfsight.files import write_json
from selfsight.models.tables import check_suffix, writing_table
from selfsight.vocabulary import in_percent

SUFFIXES = (".csv", ".parquet", ".json")


@dataclass(frozen=True, kw_only=True)
class StartLine:
    """A start in the table.

    Attributes:
        start: as it is called on the command line: ``--weights`` or ``--backbone``.
        backbone: its network.
        score, low, high: of the metric, with its 95 % interval; None without labels.
        behind, behind_low, behind_high: score - best score, paired by image; None for the best.
        representation: stages or mean, as the probe of each fold chose.
        rankme: effective rank of the standardised output.
        features: width of the output.
        height, width: of the images as the network saw them, pixels.
        images_per_second: resize and forward pass, in float32 on the device of the comparison.
        megabytes: of the weights.
        licence: of published weights, as far as it is known; empty for a run and random weights.
        labels_read: of a run, what its training read of labels; empty: none.
    """

    start: str
    backbone: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    representation: str = ""
    rankme: float
    features: int
    height: int
    width: int
    images_per_second: float
    megabytes: float
    licence: str
    labels_read: str = ""


@dataclass(frozen=True)
class StartTable:
    """The starts, the best first; without labels the highest effective rank first.

    Attributes:
        data: name of the image set.
        target: what is predicted; None: there are no labels to compare on.
        metric: of the score; None without labels.
        images: how many were compared on.
        device: that the speed is of.
        lines: one a start.
        notes: what was left out, and how to read the table.
        path: of the file that was written.
    """

    data: str
    target: str | None
    metric: str | None
    images: int
    device: str
    lines: tuple[StartLine, ...]
    notes: tuple[str, ...] = ()
    path: str | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        scale, unit = 1.0, ""
        if self.metric is not None and in_percent(self.metric):
            scale, unit = 100.0, " %"
        scored = self.metric is not None
        head = [f"{self.metric}{unit}", "- best", "representation"] if scored else []
        rows = [["start", *head, "RankMe", "pixels", "images/s", "MB", "licence"]]
        for line in self.lines:
            cells = []
            if scored:
                score, behind = (
                    "" if value is None else with_half(value, low, high, scale, sign=sign)
                    for value, low, high, sign in (
                        (line.score, line.low, line.high, False),
                        (line.behind, line.behind_low, line.behind_high, True),
                    )
                )
                cells = [score, behind, line.representation]
            pixels = f"{line.height} x {line.width}"
            speed, size = f"{line.images_per_second:,.0f}", f"{line.megabytes:.0f}"
            rank = f"{line.rankme:.0f} of {line.features:,}"
            rows.append([line.start, *cells, rank, pixels, speed, size, line.licence or "-"])
        of = (
            f"{self.target}, {counted(self.images, 'train label')}"
            if scored
            else f"{counted(self.images, 'image')}"
        )
        title = f"{self.data}, {of}: 95 % intervals" if scored else f"{self.data}, {of}"
        text = "\n".join([title, *aligned(rows), *(f"note: {note}" for note in self.notes)])
        return text if self.path is None else f"{text}\nThe table: {self.path}"


def write_table(path: str, table: StartTable) -> None:
    """The lines as CSV or Parquet, or everything as JSON, by the suffix of the path."""
    if check_suffix(path, SUFFIXES) == ".json":
        write_json(path, table.plain())
        return
    import pyarrow as pa

    with writing_table(path) as write:
        write(pa.Table.from_pylist([asdict(line) for line in table.lines]))
