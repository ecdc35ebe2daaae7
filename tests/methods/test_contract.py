"""What every method in the registry must do; a method of one's own is tested by the same lines."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from selfsight.method import Batch, Method
from selfsight.methods import METHODS

HERE = Path(__file__).parent
NAMES = os.environ.get("SELFSIGHT_TEST_METHODS", ",".join(METHODS)).split(",")
"""Another list tests methods of one's own: ``SELFSIGHT_TEST_METHODS=./mine.py``."""


@pytest.fixture(scope="module")
def small() -> ModuleType:
    sys.path.insert(0, str(HERE))
    try:
        import two_processes
    finally:
        sys.path.remove(str(HERE))
    return two_processes


@pytest.fixture(scope="module")
def differences() -> dict[str, dict[str, dict[str, float]]]:
    script = HERE / "two_processes.py"
    done = subprocess.run(
        [sys.executable, str(script), *NAMES],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_declares_its_recipe(name: str) -> None:
    kind = METHODS[name]
    assert kind.paper
    assert len(kind.views) >= 1
    assert kind.presets
    for preset in kind.presets.values():
        assert preset.optimizer.lr > 0
        assert preset.views is None or len(preset.views) >= 1
    assert isinstance(kind.example(), kind.Settings)
    assert all(field.description for field in kind.Settings.model_fields.values())
    assert (kind.__doc__ or "").strip()


@pytest.mark.parametrize("name", NAMES)
def test_gives_loss_and_representations(name: str, small: ModuleType) -> None:
    method: Method = small.method_of(name)
    batch: Batch = small.batch_of(name, 0, small.ROWS)
    output = method(batch)
    assert output.losses["loss"].ndim == 0
    assert output.losses["loss"].isfinite()
    for representation in output.representations:
        assert representation.shape == (small.ROWS, method.backbone.features)
    output.losses["loss"].backward()
    gradients = [p.grad for p in method.backbone.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_equal_one(
    name: str, differences: dict[str, dict[str, dict[str, float]]]
) -> None:
    found = differences[name]["global"]
    assert found["loss"] < 1e-10
    assert found["gradient"] < 1e-10
    assert found["buffers"] < 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_without_global_statistics_they_do_not(
    name: str, differences: dict[str, dict[str, dict[str, float]]], small: ModuleType
) -> None:
    """A method without batch normalisation has no such statistics: there they do."""
    method: Method = small.method_of(name)
    normalised = any(isinstance(part, _BatchNorm) for part in method.modules())
    assert (differences[name]["control"]["gradient"] > 1e-3) == normalised


@pytest.mark.parametrize("name", NAMES)
def test_compiles_to_one_graph(name: str, small: ModuleType) -> None:
    eager: Method = small.method_of(name)
    compiled: Method = small.method_of(name)
    torch._dynamo.reset()
    compiled.compile(fullgraph=True, backend="aot_eager")
    for method in (eager, compiled):
        method(small.batch_of(name, 0, small.ROWS)).losses["loss"].backward()
        method.after_step(torch.tensor(0.5))
    losses = [m(small.batch_of(name, 0, small.ROWS)).losses["loss"] for m in (eager, compiled)]
    assert torch.equal(*losses)
    for (key, a), (_, b) in zip(eager.named_parameters(), compiled.named_parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_stays_inside_the_backbone(name: str, small: ModuleType) -> None:
    method: Method = small.method_of(name).float()
    method.backbone.bf16 = True
    batch: Batch = small.batch_of(name, 0, small.ROWS)
    batch.views = [view.float() for view in batch.views]
    output = method(batch)
    assert output.losses["loss"].dtype == torch.float32
    assert all(r.dtype == torch.float32 for r in output.representations)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_reads_nothing_from_the_device(
    name: str, small: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    method: Method = small.method_of(name)
    batch: Batch = small.batch_of(name, 0, small.ROWS)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a method waited for the device")

    for reader in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, reader, refuse)
    loss = method(batch).losses["loss"]
    loss.backward()
    method.after_step(batch.progress)


@pytest.mark.parametrize("name", NAMES)
def test_its_file_is_short(name: str) -> None:
    """140 lines at most, without docstrings, comments, blank lines and recipes."""
    source = Path(inspect.getfile(METHODS[name])).read_text()
    text = source.split("\n")
    lines = {i for i, line in enumerate(text, 1) if line.strip() and line.strip()[0] != "#"}
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or _is_recipe(node):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    assert len(lines) <= 140


def _is_recipe(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        target: ast.AST = node.target
    elif isinstance(node, ast.Assign):
        target = node.targets[0]
    else:
        return False
    while isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Name) and target.id in ("presets", "views", "search")
