"""The notebooks: their code compiles and names what exists, and both are executed whole."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
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


def installed(
    monkeypatch: pytest.MonkeyPatch, where: Path, source: str = "", code: int = 0
) -> list[str]:
    """What the first cell gives pip where selfsight is missing."""
    text = "".join(cells("tour")[0]["source"]).replace('SOURCE = ""', f"SOURCE = {source!r}")
    given: list[str] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        given.extend(words)
        return subprocess.CompletedProcess(words, code)

    monkeypatch.chdir(where)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "run", run)
    exec(compile(text, "cell", "exec"), {})
    assert given[1:4] == ["-m", "pip", "install"]
    return given[5:]


def test_the_first_cell_installs_from_the_checkout_it_lies_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert installed(monkeypatch, FOLDER) == [f"{FOLDER.parent}[hub,start,onnx]"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("git+https://example.org/x", "selfsight[hub,start,onnx] @ git+https://example.org/x"),
        ("/else/where", "/else/where[hub,start,onnx]"),
    ],
)
def test_the_first_cell_installs_from_the_source_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, wanted: str
) -> None:
    assert installed(monkeypatch, tmp_path, source) == [wanted]
    assert installed(monkeypatch, FOLDER, source) == [wanted]


def test_the_first_cell_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "pyproject.toml"
    other.write_text('[project]\nname = "another"\n')
    with pytest.raises(RuntimeError, match="set SOURCE in this cell"):
        installed(monkeypatch, tmp_path)
    with pytest.raises(RuntimeError, match="pip cannot install /no/where: set SOURCE"):
        installed(monkeypatch, tmp_path, "/no/where", code=1)


def test_the_notebooks_share_the_first_cell_and_name_no_owner() -> None:
    """pip must not install from an address that somebody else may own."""
    assert cells("tour")[0]["source"] == cells("reproduce")[0]["source"]
    for name in NAMES:
        text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
        assert set(re.findall(r"github\.com/([\w.-]+)", text)) <= {"OWNER"}


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
