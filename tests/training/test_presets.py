"""Presets: which one is taken, what it fills, and that what was given stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.arguments import parsed
from selfsight.data.imageset import ImageSet, class_target
from selfsight.methods import METHODS
from selfsight.training.plan import prepare
from selfsight.training.presets import with_preset
from selfsight.training.settings import Pretrain, typed
from selfsight.verbs import VERBS


def settings(method: str = "simclr", **changes: Any) -> Pretrain:
    return Pretrain.model_validate({"method": method, "data": "made"}).updated(changes)


def images(side: int, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (24, side, side, channels), dtype=np.uint8)
    ids = np.array([f"{i}" for i in range(24)])
    kind = class_target("kind", np.arange(24) % 3, "abc")
    return ImageSet("made", pixels, ids, np.full(24, "train"), {"kind": kind})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("side", "wanted"), [(8, "tiny"), (32, "small"), (64, "small"), (65, "large")]
)
def test_auto_goes_by_the_side(method: str, side: int, wanted: str) -> None:
    presets = METHODS[method].presets
    found, (said,) = with_preset(settings(method), side)
    assert found.preset == (wanted if wanted in presets else "small")
    assert found.optimizer == presets[found.preset].optimizer
    assert found.method == presets[found.preset].method
    assert f"Preset {found.preset} (chosen for {side} px)" in said
    assert ("--preset paper" in said) == ("paper" in presets)


@pytest.mark.parametrize("method", ["simclr", "dino", "fixmatch"])
def test_what_was_given_stays_even_where_it_is_the_default(method: str) -> None:
    """Once in Python, dotted and nested, once as flags, once in a file."""
    default = settings(method)
    name, lr = default.optimizer.name, default.optimizer.lr
    words = ["--optimizer.name", name, f"--optimizer.lr={lr}", "--optimizer.weight_decay", "0.5"]
    ways = [
        default.updated(
            {"optimizer.name": name, "optimizer.lr": lr, "optimizer.weight_decay": 0.5}
        ),
        default.updated({"optimizer": {"name": name, "lr": lr, "weight_decay": 0.5}}),
        Pretrain.model_validate(
            {
                "method": method,
                "data": "made",
                "optimizer": {"name": name, "lr": lr, "weight_decay": 0.5},
            }
        ),
        parsed(VERBS["pretrain"], [method, "made", *words]),
    ]
    for given in ways:
        assert isinstance(given, Pretrain)
        found = with_preset(given, 32)[0].optimizer
        small = METHODS[method].presets["small"].optimizer
        assert (found.name, found.lr, found.weight_decay) == (name, lr, 0.5)
        assert found.base_batch_size == small.base_batch_size


def test_a_file_counts_as_given(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("method: {name: simclr, temperature: 0.1}\noptimizer: {name: lars}\n")
    words = ["simclr", "made", "--settings", str(file), "--method.projector", "64", "8"]
    given = parsed(VERBS["pretrain"], words)
    assert isinstance(given, Pretrain)
    found, _ = with_preset(given, 8)
    assert found.optimizer.name == "lars"
    assert found.optimizer.lr == METHODS["simclr"].presets["tiny"].optimizer.lr
    assert (found.method.temperature, found.method.projector) == (0.1, (64, 8))  # type: ignore[attr-defined]


def test_resolving_twice_changes_nothing() -> None:
    once = prepare(settings("dino", batch_size=8, device="cpu"), images(16)).settings
    assert prepare(once, images(16)).settings == once
    other = once.updated({"preset": "large"})
    assert prepare(other, images(16)).settings.optimizer == once.optimizer


@pytest.mark.parametrize("method", ["fixmatch", "supervised"])
def test_no_preset_bears_the_name_of_a_paper_that_it_does_not_follow(method: str) -> None:
    with pytest.raises(ValueError, match=f"no preset of {method} 'paper'"):
        settings(method, preset="paper")
    assert "paper" not in str(typed(method).model_fields["preset"].annotation)


@pytest.mark.parametrize("method", ["simclr", "vicreg"])
@pytest.mark.parametrize("side", [8, 32, 100])
def test_paper_adapts_nothing(method: str, side: int) -> None:
    plan = prepare(settings(method, preset="paper", batch_size=8, device="cpu"), images(side, 1))
    kind = METHODS[method]
    assert plan.settings.optimizer.name == kind.presets["paper"].optimizer.name
    wanted = kind.presets["paper"].views or kind.views
    assert plan.settings.views == tuple(view.updated({"size": float(side)}) for view in wanted)
    assert any(note.startswith("Views of the paper") for note in plan.notes)
