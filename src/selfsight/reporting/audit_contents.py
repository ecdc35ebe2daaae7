"""What an audit found, read for its page, and the same in words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from selfsight.data.duplicates import SIDES
from selfsight.reporting.distributions import bins_figure, distribution_figure
from selfsight.reporting.figures import Figure
from selfsight.reporting.reading import Splits
from selfsight.reporting.wording import listed, number


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Crossing(_Part):
    kind: str
    splits: tuple[str, ...]
    rows: tuple[int, ...]
    what: str


class Copies(_Part):
    rows: tuple[int, ...]
    splits: tuple[str, ...]
    different: tuple[str, ...] = ()


class NearPair(Copies):
    similarity: float


class Audit(_Part):
    """What the page reads of `selfsight.data.audit.Audit.plain`."""

    name: str
    images: int
    height: int
    width: int
    channels: int
    dtype: str
    values: tuple[float, float]
    splits: dict[str, int]
    distributions: dict[str, dict[str, Any]] = {}
    groups: dict[str, Any] | None = None
    blank: tuple[int, ...] = ()
    copies: tuple[Copies, ...] = ()
    near: tuple[NearPair, ...] = ()
    near_count: int = 0
    near_across: int = 0
    crossings: tuple[Crossing, ...] = ()
    row_ids: dict[str, str] = {}
    notes: tuple[str, ...] = ()


def crosses(copies: Copies) -> bool:
    return len({SIDES.get(split) for split in copies.splits}) > 1


def answer(audit: Audit) -> str:
    if audit.crossings:
        return "Something crosses the splits: results on this data would look too good."
    if len({SIDES.get(side) for side, count in audit.splits.items() if count}) < 2:
        return "There is nothing to cross: the images stand on one side only."
    return "Nothing crosses the splits."


def leaks(audit: Audit) -> list[str]:
    """A sentence for each kind of crossing and the splits it joins."""
    together: dict[tuple[str, tuple[str, ...]], list[Crossing]] = {}
    for crossing in audit.crossings:
        together.setdefault((crossing.kind, crossing.splits), []).append(crossing)
    group = (audit.groups or {}).get("name") or "group"
    sentences = []
    for (kind, splits), found in together.items():
        count, one = len(found), len(found) == 1
        images = sum(len(crossing.rows) for crossing in found)
        what = {
            "pixels": f"image{'' if one else 's'} with identical copies",
            "group": f"“{group}” group{'' if one else 's'} ({number(images)} images)",
        }.get(kind, kind)
        sentences.append(
            f"{number(count)} {what} stand{'s' if one else ''} in {listed(list(splits))}."
        )
    return sentences


def facts(audit: Audit) -> list[tuple[str, str]]:
    low, high = audit.values
    facts = [
        ("Images", number(audit.images)),
        ("Size", f"{audit.height} × {audit.width} pixels"),
        ("Channels", f"{audit.channels}, {audit.dtype} from {number(low)} to {number(high)}"),
        ("Sets of identical images", number(len(audit.copies))),
        ("Identical, with other labels", number(sum(bool(c.different) for c in audit.copies))),
        ("Nearly identical pairs", number(audit.near_count)),
        ("Nearly identical across splits", number(audit.near_across)),
        ("Blank images", number(len(audit.blank))),
    ]
    if audit.groups:
        name = f"Groups ({audit.groups['name']})" if audit.groups.get("name") else "Groups"
        largest = number(audit.groups.get("largest"))
        facts.append((name, f"{number(audit.groups.get('count'))}, largest {largest}"))
    return facts


def target_sections(audit: Audit, figures: dict[str, Figure]) -> list[dict[str, Any]]:
    """A chart for each target, or a sentence for identities."""
    found = []
    for at, (name, about) in enumerate(audit.distributions.items()):
        sides = {side: part for side, part in about.get("splits", {}).items() if part["known"]}
        unknown = {side: part["unknown"] for side, part in about.get("splits", {}).items()}
        missing = [f"{number(count)} of {side}" for side, count in unknown.items() if count]
        section: dict[str, Any] = {
            "name": name,
            "sides": list(sides),
            "unknown": f"Unknown for {listed(missing)}." if missing else "",
            "charts": [],
            "words": "",
        }
        found.append(section)
        kind = about.get("kind")
        if not sides:
            section["words"] = "It is known for no image."
        elif kind == "identity":
            parts = [f"{number(part['counts'])} in {side}" for side, part in sides.items()]
            section["words"] = f"Identities: {listed(parts)}."
        elif kind == "number":
            names = about.get("names") or [name]
            for entry, edges in enumerate(about["edges"][:4]):
                counts = {side: part["counts"][entry] for side, part in sides.items()}
                figures[f"target-{at}-{entry}"] = bins_figure(edges, counts)
                section["charts"].append((f"target-{at}-{entry}", names[entry]))
        else:
            shares = {
                side: dict(zip(about["names"], part["counts"], strict=True))
                for side, part in sides.items()
            }
            known = {side: part["known"] for side, part in sides.items()}
            splits = Splits(known, known, {}, kind, shares)
            if (made := distribution_figure(splits)) is not None:
                figures[f"target-{at}"] = made[0]
                section["charts"].append((f"target-{at}", name))
    return found
