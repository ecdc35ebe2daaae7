"""A few images and the views that the training saw of them."""

from __future__ import annotations

from selfsight.console import counted
from selfsight.reporting.page import Page, Values
from selfsight.reporting.pictures import picture
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents

ORDER = 70
TITLE = "Views"
HEADING = "Images and their views"
MOST_EXAMPLES = 8
MOST_PICTURES = 64


def values(contents: ReportContents, page: Page) -> Values:
    """A grid for each run: each column an image, below it its views."""
    most = MOST_EXAMPLES // 2 if contents.several else MOST_EXAMPLES
    grids = [{"name": run.name, **_grid(run, most)} for run in contents.runs]
    return {"several": contents.several, "grids": grids}


def _grid(run: RunContents, most: int) -> Values:
    if run.samples is None:
        missing = ["There is no samples.npz, so no examples of the views can be shown."]
        return {"rows": [], "sentence": "", "missing": missing}
    names = sorted(
        (name for name in run.samples if name.startswith("view_")),
        key=lambda name: int(name[5:]) if name[5:].isdigit() else 0,
    )
    most = max(2, min(most, MOST_PICTURES // (1 + len(names))))
    rows = []
    for at, name in enumerate(["images", *names]):
        height, width = run.samples[name].shape[1:3]
        title = f"view {at}" if at else "image"
        rows.append(
            {
                "title": title,
                "size": f"{height} px" if height == width else f"{height} × {width} px",
                "pictures": [
                    (picture(pixels), f"{title} of example {column + 1}")
                    for column, pixels in enumerate(run.samples[name][:most])
                ],
            }
        )
    sentence = "A few images, and below each the random views that the training saw of it."
    if run.unchanged:
        sentence = (
            "A few images, and below each random views of it, as the alignment is measured on them."
        )
    channels = run.samples["images"].shape[3]
    if channels > 3:
        sentence += f" The first three of {counted(channels, 'channel is', 'channels are')} shown."
    return {"rows": rows, "sentence": sentence, "missing": []}
