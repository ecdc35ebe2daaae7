"""Versions, device, command and all settings."""

from __future__ import annotations

import yaml

from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.report.what import text

ORDER = 100
TITLE = "Environment"
HEADING = "Environment and settings"
NAMES = ("selfsight", "python", "torch", "lightning", "numpy", "device", "threads", "commit")


def values(contents: ReportContents, page: Page) -> Values:
    """What is needed to run each training again."""
    return {
        "several": contents.several,
        "runs": [
            {
                "name": run.name,
                "rows": environment_rows(run),
                "settings": yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
                if run.settings
                else "",
                "missing": [
                    f"There is no {name}, so {what} not known."
                    for name, content, what in (
                        ("environment.json", run.environment, "versions and device are"),
                        ("settings.yaml", run.settings, "the settings are"),
                    )
                    if content is None
                ],
            }
            for run in contents.runs
        ],
    }


def environment_rows(run: RunContents) -> list[tuple[str, str]]:
    """Versions, commit, fingerprint and command; what is not known is left out."""
    environment = run.environment or {}
    rows = [(name, text(environment.get(name))) for name in NAMES]
    rows.append(("data fingerprint", text(run.about_data.get("fingerprint"))))
    command = environment.get("command")
    if isinstance(command, list):
        rows.append(("command", " ".join(map(str, command))))
    return [(name, shown) for name, shown in rows if shown]
