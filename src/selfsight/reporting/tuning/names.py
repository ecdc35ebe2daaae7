"""How the page of a study calls its probes, its representations and the steps of its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsight import vocabulary


def probe_title(study: Mapping[str, Any], name: str) -> str:
    """How the page calls a probe of this study."""
    title = vocabulary.probe(name).title
    if study["verb"] == "pretrain":
        return title
    if name == "tuned":
        return "tuned recipe" if study["verb"] == "finetune" else "tuned"
    if study["verb"] == "finetune":
        return "default fine-tuning" if name == "finetune" else f"{title}, frozen"
    return f"default {title}"


def subject_title(study: Mapping[str, Any], name: str) -> str:
    """How the page calls a representation of this study."""
    own = {"trained": "tuned settings", "default": "first settings"}
    if study["verb"] == "pretrain" and name in own:
        return own[name]
    return vocabulary.subject(name).title


def unit_name(study: Mapping[str, Any]) -> str:
    """What a curve has one value for: an epoch, or a look at the held-out images."""
    return str(study.get("unit", "epoch"))
