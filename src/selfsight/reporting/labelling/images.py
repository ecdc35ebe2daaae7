"""The images in the order of the table, with the reason for each."""

from __future__ import annotations

from selfsight.reporting.labelling import LabellingContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.pictures import picture

ORDER = 10
TITLE = "Images"
HEADING = "The most helpful first, random test images last"


def values(contents: LabellingContents, page: Page) -> Values:
    """A figure for each image."""
    images = [
        {
            "number": at + 1,
            "picture": picture(contents.pixels[at]) if at in contents.pixels else None,
            "name": image.row_id,
            "reason": image.reason,
        }
        for at, image in enumerate(contents.suggestions.images)
    ]
    return {"images": images}
