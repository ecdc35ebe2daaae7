"""How the images were chosen."""

from __future__ import annotations

from selfsight.reporting.labelling import LabellingContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 20
TITLE = "How they were chosen"
STRATEGIES = {
    "representative": "facility location: together, the images represent all others best",
    "typical": "TypiClust: the most typical image of each cluster",
    "coverage": "k-centre: each image is the farthest from all that have been chosen before",
    "uncertainty": "margin: a linear probe on the labels so far is least certain of them",
    "random": "at random",
}


def values(contents: LabellingContents, page: Page) -> Values:
    """Run, strategy and labels so far."""
    suggestions = contents.suggestions
    return {
        "facts": [
            ("Run", suggestions.run),
            ("Strategy", f"{suggestions.by} ({STRATEGIES.get(suggestions.by, suggestions.by)})"),
            ("Labelled so far", number(suggestions.labelled)),
            ("Of test, at random", number(sum(i.split == "test" for i in suggestions.images))),
        ]
    }
