"""Settings from flags and YAML."""

from __future__ import annotations

from pathlib import Path

import yaml

from selfsight.arguments import parsed
from selfsight.training.settings import Pretrain
from selfsight.verbs import VERBS


def pretraining(*words: str) -> Pretrain:
    settings = parsed(VERBS["pretrain"], list(words))
    assert isinstance(settings, Pretrain)
    return settings


def test_the_methods_recipe_is_the_default() -> None:
    settings = pretraining("barlow_twins", "digits")
    assert settings.optimizer.name == "lars"
    assert settings.method.model_dump()["redundancy_weight"] == 5e-3
    assert settings.data == "digits"


def test_flags_override_yaml_which_overrides_the_method(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 7\nmethod: {name: simclr, temperature: 0.3}\noptimizer.lr: 0.5\n")
    words = ["simclr", "digits", "--settings", str(file), "--optimizer.lr", "0.25"]
    settings = pretraining(*words)
    assert settings.epochs == 7
    assert settings.method.model_dump()["temperature"] == 0.3
    assert settings.optimizer.lr == 0.25
    assert settings.optimizer.name == "lars"


def test_yaml_can_name_method_and_data(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("data: digits\nmethod: vicreg\n")
    settings = pretraining("--settings", str(file))
    assert settings.data == "digits"
    assert "covariance_weight" in settings.method.model_dump()


def test_settings_survive_yaml() -> None:
    settings = pretraining("dino", "digits", "--method.prototypes", "128", "--limit", "50")
    assert Pretrain(**yaml.safe_load(settings.to_yaml())) == settings
