"""The audit in numbers."""

from __future__ import annotations

from selfsight.console import counted
from selfsight.reporting.audit.sets import AuditContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 10
TITLE = "In numbers"


def values(contents: AuditContents, page: Page) -> Values:
    """One number for each thing that was looked for."""
    audit = contents.audit
    low, high = audit.values
    channels = counted(audit.channels, "channel")
    facts = [
        ("Images", number(audit.images)),
        ("Size", f"{audit.height} × {audit.width} pixels"),
        (
            "Values",
            f"{channels}, {audit.dtype} from {number(low)} to {number(high)} over all images",
        ),
        ("Sets of identical images", number(len(audit.copies))),
        ("Identical, with other labels", number(len(audit.different_labels))),
        ("Nearly identical pairs", number(audit.near_count)),
        ("Nearly identical across splits", number(audit.near_across)),
        ("Test images nearly in train", number(audit.near_test)),
        ("Blank images", number(len(audit.blank))),
    ]
    if audit.groups:
        name = f"Groups ({audit.groups['name']})" if audit.groups.get("name") else "Groups"
        largest = number(audit.groups.get("largest"))
        facts.append((name, f"{number(audit.groups.get('count'))}, largest {largest}"))
    return {"facts": facts}
