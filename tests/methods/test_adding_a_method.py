"""Methods in files of one's own are found everywhere without an edit: BYOL, and a masked one.

BYOL is the one of CONTRIBUTING.md; MAE (``mae.py``) needs patch tokens and draws its own masks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import selfsight
from selfsight.cli import main
from selfsight.training.plan import prepare
from selfsight.training.settings import Pretrain

ROOT = Path(__file__).resolve().parents[2]
TINY = {"epochs": 1, "batch_size": 32, "limit": 64, "device": "cpu"}


@pytest.fixture(scope="module")
def byol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"<!-- byol\.py.*?-->\n```python\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path_factory.mktemp("methods") / "byol.py"
    path.write_text(code)
    return path


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("methods") / "mae.py"
    path.write_text((Path(__file__).parent / "mae.py").read_text())
    return path


def test_the_command_line_knows_its_flags(
    byol: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(byol.parent)
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "./byol.py", "--help-all"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    assert "--method.momentum" in help_text
    assert "Momentum of the teacher at the start" in help_text.replace("\n", " ")
    assert re.search(r"--preset\s+\{auto,paper,small,continue\}", help_text)


def test_the_api_trains_it(byol: Path, tmp_path: Path) -> None:
    run = selfsight.pretrain(
        str(byol),
        "digits",
        out=str(tmp_path / "run"),
        settings={"method.projector": (16, 8)},
        **TINY,
    )
    assert run.method == str(byol)
    rows = run.folder.read_metrics()
    assert rows["step"] == [2.0]
    assert selfsight.load(run.folder.path).features == 64


def test_a_method_that_needs_tokens_gets_a_vit(mae: Path, tmp_path: Path) -> None:
    run = selfsight.pretrain(
        str(mae),
        "digits",
        out=str(tmp_path / "run"),
        settings={"network.depths": (2,), "supervision.weight": 0.5},
        **TINY,
    )
    assert run.spec.name == "vit_tiny"
    losses = run.folder.read_metrics()["method_loss"]
    assert losses[-1] is not None and 0.5 < losses[-1] < 2.0
    assert any("needs patch tokens" in note for note in run.environment["notes"])
    assert selfsight.load(run.folder.path)(torch.zeros(2, 1, 8, 8)).shape == (2, 192)


NO_TOKENS = """
from torch import nn

def build(channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, 8))
"""


@pytest.mark.parametrize("backbone", ["resnet18", "file"])
def test_without_tokens_it_is_refused_before_anything_is_written(
    mae: Path, tmp_path: Path, backbone: str
) -> None:
    if backbone == "file":
        (tmp_path / "flat.py").write_text(NO_TOKENS)
        backbone = f"{tmp_path}/flat.py:build"
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="patch tokens") as refused:
        selfsight.pretrain(str(mae), "digits", out=str(out), backbone=backbone, **TINY)
    assert "\n" not in str(refused.value)
    assert "leave --backbone out" in str(refused.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("method.width", "method.widht"), "no setting 'widht'; did you mean 'width'"),
        (("method=Settings()", "metod=Settings()"), "'metod'; did you mean 'method'"),
        (("Optimizer(lr=", "Optimizer(rl="), "'rl'; did you mean 'lr'"),
        (('"optimizer.warmup": 40', '"optimizer.wramup": 40'), "'wramup'; did you mean 'warmup'"),
        (('{"tokens"}', '{"token"}'), "'token'; did you mean 'tokens'"),
        (("width=32, depth=1", "width=32, dept=1"), "'dept'; did you mean 'depth'"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_typo_in_its_recipe_is_one_sentence(
    mae: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "typo.py"
    text = mae.read_text().replace(*change)
    assert text != mae.read_text()
    path.write_text(text)
    with pytest.raises(ValueError) as refused:
        selfsight.METHODS[str(path)].example()
    assert said in str(refused.value)
    if "dept" not in change[1]:  # that one is found when the tests run, not at import
        assert str(refused.value).startswith(f"method {path}: ")
        assert "\n" not in str(refused.value)


def test_a_preset_that_it_has_not_names_the_nearest(byol: Path) -> None:
    with pytest.raises(ValueError, match=r"no preset of .*byol\.py 'smal'; did you mean 'small'"):
        Pretrain.model_validate({"method": str(byol), "data": "digits", "preset": "smal"})


def test_lengths_in_epochs_become_shares(byol: Path) -> None:
    base = Pretrain.model_validate({"method": str(byol), "data": "digits", "preset": "paper"})
    plan = prepare(base.updated({"epochs": 40, "batch_size": 32, "limit": 64}))
    assert plan.settings.optimizer.warmup == 0.25
    with pytest.raises(ValueError, match=r"optimizer.warmup lasts 10 epochs, and the training has"):
        prepare(base.updated({"epochs": 10, "batch_size": 32, "limit": 64}))
    given = base.updated({"epochs": 10, "batch_size": 32, "limit": 64, "optimizer.warmup": 0.5})
    assert prepare(given).settings.optimizer.warmup == 0.5


@pytest.mark.slow  # a test run of its own
def test_the_generic_tests_run_on_both(byol: Path, mae: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/methods/test_contract.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SELFSIGHT_TEST_METHODS": f"{byol},{mae}", "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b16 passed", done.stdout)


def test_in_the_folder_it_is_a_name(byol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight import methods

    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(byol.parent)])
    assert "byol" in selfsight.METHODS
    assert selfsight.METHODS["byol"].__name__ == "BYOL"
    monkeypatch.delitem(sys.modules, "selfsight.methods.byol")


GIVES = '        return Output({"loss": all_sum(loss) / world_size()}, representations)'
MISTAKES = {
    "no docstring": (
        '    """BYOL: predict the teacher\'s embedding of one view from the other; '
        'no negatives."""\n',
        "",
        "the class BYOL needs a docstring",
    ),
    "no presets": ("    presets: ", "    recipes: ", "the class BYOL needs presets"),
    "another name of the loss": (
        GIVES,
        '        return Output({"mainloss": loss}, representations)',
        "line 71: forward of BYOL must give .*; its losses have no 'loss' \\('mainloss'\\)",
    ),
    "a tensor": (GIVES, "        return loss", "line 71: .*; it gives Tensor"),
    "two numbers": (
        GIVES,
        '        return Output({"loss": torch.stack([loss, loss])}, representations)',
        r"line 71: .*; 'loss' has the shape \(2,\), not that of one number",
    ),
    "detached": (
        GIVES,
        '        return Output({"loss": loss.detach()}, representations)',
        "line 71: .*; its 'loss' has no gradient",
    ),
    "no list": (
        GIVES,
        '        return Output({"loss": loss}, representations[0])',
        "line 71: .*; its representations are Tensor, not a list of tensors",
    ),
    "a typo": (
        "each_view(self.predictor",
        "each_view(self.predicktor",
        "line 73: AttributeError: 'BYOL' object has no attribute 'predicktor'",
    ),
    "wrong shapes": (
        "each_view(self.projector, representations)",
        "each_view(self.projector, [r[:, :3] for r in representations])",
        "line 73: RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "after the step": ("update(nn", "update(self.x, nn", "line 81: AttributeError"),
    "syntax": ("said = each", "said = = each", r"SyntaxError: invalid syntax \(line 73\)\.$"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_it_is_one_sentence_with_its_line(
    mistake: str,
    byol: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new, said = MISTAKES[mistake]
    text = byol.read_text()
    if mistake == "no presets":
        text = text.replace("presets[", "recipes[")
    assert old in text
    path = tmp_path / "mine.py"
    path.write_text(text.replace(old, new, 1))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small = "--epochs 1 --weights none --backbone resnet15 --network.widths 8 16 --limit 64"
    words = ["pretrain", str(path), "digits", *small.split(), "--method.projector", "16", "8"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "run")]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert str(path) in sentence and "did not foresee" not in sentence
    assert re.search(said, sentence), sentence


def test_labels_joined_to_it_change_nothing_in_the_sentence(byol: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(byol.read_text().replace('Output({"loss"', 'Output({"lost"'))
    changes = {"method.projector": (16, 8), "supervision.weight": 1.0}
    with pytest.raises(ValueError, match=r"mine\.py, line 71: .*no 'loss' \('lost'\)"):
        selfsight.pretrain(str(path), "digits", out=str(tmp_path / "r"), settings=changes, **TINY)
