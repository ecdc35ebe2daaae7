"""What holds for the settings of every verb: one block for data, one meaning for a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from selfsight.cli import main
from selfsight.data.options import DataOptions
from selfsight.methods import METHODS
from selfsight.settings import Settings
from selfsight.verbs import VERBS, Verb

NO_IMAGES = (
    "export",
    "report",
    "merge",
    "search",
    "pairs",
    "cluster",
    "explore",
    "list-methods",
    "cache",
    "completion",
)
OPENS = [verb for verb in VERBS.values() if verb.name not in NO_IMAGES]
RUNS = [verb for verb in OPENS if verb.name != "audit"]


def named(verb: Verb) -> str:
    return verb.name


def leaves(kind: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a verb by its dotted name."""
    for name, field in kind.model_fields.items():
        inner = [field.annotation, *get_args(field.annotation)]
        blocks = [one for one in inner if isinstance(one, type) and issubclass(one, Settings)]
        for block in blocks:
            yield from leaves(block, f"{prefix}{name}.")
        if not blocks:
            yield prefix + name, field


@pytest.mark.parametrize("verb", OPENS, ids=named)
def test_every_verb_that_opens_images_has_the_block(verb: Verb) -> None:
    assert issubclass(verb.settings_class, DataOptions)
    for name, field in DataOptions.model_fields.items():
        own = verb.settings_class.model_fields[name]
        assert (own.default, own.annotation) == (field.default, field.annotation), name
        assert own.description == field.description, name


@pytest.mark.parametrize("verb", OPENS, ids=named)
def test_the_flags_are_in_the_help(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*verb.name.split(), *(["simclr"] if verb.method == "word" else []), "--help-all"]
    with pytest.raises(SystemExit):
        main(words)
    text = capsys.readouterr().out
    for flag in ("labels", "target", "group", "split-column", "tile", "image-size", "limit"):
        assert f"--{flag} " in text, flag
    assert "--drop-leaks" in text and "--allow-leaks" in text


@pytest.mark.parametrize("verb", RUNS, ids=named)
def test_there_is_one_way_to_choose_a_device(verb: Verb) -> None:
    field = verb.settings_class.model_fields["device"]
    assert field.default == "auto"
    assert field.description == "auto, cpu, cuda, or one GPU of several, as in cuda:1."


def test_a_name_has_one_meaning() -> None:
    """A share of labels is ``label_fraction``; a factor on the rate is ``backbone_lr_factor``."""
    found: dict[str, set[Any]] = {}
    rates: set[str] = set()
    kinds = [verb.settings_class for verb in VERBS.values()]
    for kind in (*kinds, *(METHODS[name].Settings for name in METHODS)):
        for dotted, field in leaves(kind):
            block, _, leaf = dotted.rpartition(".")
            if leaf == "backbone_lr":  # a rate, or several to try
                rates.add(block)
            found.setdefault(leaf, set()).add((str(field.annotation), str(field.metadata)))
    assert "fraction" not in found
    assert rates == {"finetuning"}
    for name in ("label_fraction", "fractions", "backbone_lr_factor"):
        assert len(found[name]) == 1, found[name]
