"""The layers of the package: imports point down, and starting is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import selfsight

PACKAGE = Path(selfsight.__file__).parent

LAYERS = [
    {"cli", "__main__", "verbs"},
    {""},
    {"pipeline"},
    {"reporting", "tuning", "labelling", "index", "exporting", "estimators", "predicting"},
    {"evaluation"},
    {"training"},
    {"methods"},
    {"method"},
    {"views", "networks"},
    {"data"},
    {
        "measures",
        "nearest",
        "gram",
        "similarities",
        "precision",
        "run_folder",
        "settings",
        "distributed",
    }
    | {"draws", "console"},
]
"""From the top; a module may import its own layer and those below."""

FREE = {"views.settings", "console"}
"""Plain values that everything may name."""

FORBIDDEN = {"utils", "core", "common", "base", "helpers"}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(name: str) -> str:
    """``data.sources.table`` -> ``data``."""
    return name.split(".")[0]


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if room(name) in names)


def imported(path: Path) -> list[tuple[str, int]]:
    """Modules of the package that a file imports, with the line; type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "selfsight":
                names = [
                    f"selfsight.{alias.name}" if (PACKAGE / alias.name).exists() else "selfsight"
                    for alias in node.names
                ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [
            (name.removeprefix("selfsight").lstrip("."), node.lineno)
            for name in names
            if name.split(".")[0] == "selfsight"
        ]
    return found


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    name = "" if name == "__init__" else name
    here = layer(name)
    wrong = [
        f"{path.name}:{line} imports selfsight.{target}"
        for target, line in imported(path)
        if target not in FREE and name != "" and target != "" and layer(target) < here
    ]
    assert not wrong


def test_no_module_is_a_drawer() -> None:
    assert not [path for path in files() if path.stem in FORBIDDEN]


def test_no_module_hides_a_verb() -> None:
    from selfsight.verbs import VERBS

    verbs = {name.split()[0] for name in VERBS}
    assert not [path for path in PACKAGE.glob("*.py") if path.stem in verbs]


def modules_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_costs_no_more_than_torch() -> None:
    loaded = modules_after("import selfsight")
    heavy = {"lightning", "optuna", "plotly", "sklearn", "pyarrow", "PIL", "jinja2", "pandas"}
    assert not loaded & heavy


def test_the_overview_needs_no_torch() -> None:
    loaded = modules_after("from selfsight.cli import overview; overview()")
    assert "torch" not in loaded
