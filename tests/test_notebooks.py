"""The notebooks: their code compiles and names what exists, and both are executed whole."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import selfsight
from selfsight.verbs import VERBS

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = ("tour", "reproduce")


def cells(name: str, kind: str = "code") -> list[dict[str, Any]]:
    content = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def tree(name: str) -> ast.Module:
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells(name)))


@pytest.mark.parametrize("name", NAMES)
def test_every_call_exists_with_its_words(name: str) -> None:
    calls = 0
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("selfsight"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, each.name) for each in node.names)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if not isinstance(node.func.value, ast.Name) or node.func.value.id != "selfsight":
            continue
        calls += 1
        signature = inspect.signature(getattr(selfsight, node.func.attr))
        named = {word.arg: None for word in node.keywords if word.arg is not None}
        if any(word.arg is None for word in node.keywords):
            signature.bind_partial(*node.args, **named)
        else:
            signature.bind(*node.args, **named)
        kind = (
            {v.name.replace(" ", "_"): v for v in VERBS.values()}[node.func.attr]
            if (node.func.attr not in ("open_images", "load_model"))
            else None
        )
        for word in node.keywords:
            if word.arg == "settings" and kind is not None:
                for dotted in ast.literal_eval(word.value):
                    assert exists(kind.settings_class, dotted), dotted
    assert calls >= 1


def exists(settings: Any, dotted: str) -> bool:
    """Whether a class of settings has a field with this dotted path."""
    for part in dotted.split("."):
        field = getattr(settings, "model_fields", {}).get(part)
        if field is None:
            return False
        settings = type(field.default) if hasattr(type(field.default), "model_fields") else None
    return True


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_kept_and_small(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 500_000
    assert "colab.research.google.com" in "".join(cells(name, "markdown")[0]["source"])
    shown = json.dumps([cell["outputs"] for cell in cells(name)])
    assert '"error"' not in shown and "/tmp/" not in shown and "/home/" not in shown
    assert all(cell["execution_count"] for cell in cells(name))
    assert sum(bool(cell["outputs"]) for cell in cells(name)) >= len(cells(name)) // 2
    assert "± " in shown or "untrained" in shown


def test_the_kept_run_is_whole_and_small() -> None:
    run = selfsight.load(FOLDER / "digits_run")
    assert run.spec.channels == 1
    assert sum(f.stat().st_size for f in (FOLDER / "digits_run").rglob("*")) < 2_500_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_the_notebook_runs_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("SELFSIGHT_QUIET", "1")
    spec = spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    notebook = module.stripped(module.executed(FOLDER / f"{name}.ipynb", tmp_path), tmp_path)
    kept = cells(name)
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [bool(cell.outputs) for cell in ran] == [bool(cell["outputs"]) for cell in kept]
