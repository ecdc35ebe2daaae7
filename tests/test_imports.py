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
    {"__main__"},
    {"cli"},
    {
        *("api", "api_arguments", "verbs", "", "pipeline", "merging", "estimators"),
        *("arguments", "flags", "answers", "catalogue", "completions", "usage", "next_step"),
    },
    {"tuning", "labelling", "neighbours", "models", "exporting"},
    {"evaluation"},
    {"fitting"},
    {"training"},
    {"runs"},
    {"methods"},
    {"method"},
    {"losses", "networks", "views"},
    {"data"},
    {"measures"},
    {"kernels"},
    {"reporting"},
    {"vocabulary", "records"},
    {
        "plugins",
        "settings",
        "files",
        "outputs",
        "markup",
        "faults",
        "stops",
        "distributed",
        "draws",
        "console",
        "version",
    },
]
"""From the top; a module may import its own layer and those below.

`reporting` stands low because it reads files alone: the verbs above write its pages.
"""

FREE = {"views.settings", "console", "runs.folder"}
"""Plain values that everything may name."""

FORBIDDEN = {"utils", "core", "common", "base", "helpers"}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """``data/sources/__init__.py`` -> ``data.sources``; the package itself is the empty text."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return "" if name == "__init__" else name.removesuffix(".__init__")


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
    name = module_of(path)
    here = layer(name)
    wrong = [
        f"{path.name}:{line} imports selfsight.{target}"
        for target, line in imported(path)
        if target not in FREE and name != "" and target != "" and layer(target) < here
    ]
    assert not wrong


def graph() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, wherever in the file."""
    names = {module_of(path) for path in files()}
    found: dict[str, set[str]] = {}
    for path in files():
        wanted = set()
        for name, _ in imported(path):
            # ``from selfsight.data import near`` names a module, ``... import Data`` a class.
            wanted.add(name if name in names else name.rpartition(".")[0])
        found[module_of(path)] = wanted - {module_of(path)}
    return found


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules each of which reaches the others."""
    reached = {name: set(to) for name, to in arrows.items()}
    for _ in arrows:
        larger = {
            n: to.union(*(reached.get(each, set()) for each in to)) for n, to in reached.items()
        }
        if larger == reached:
            break
        reached = larger
    inside = {name for name, to in reached.items() if name in to}
    return sorted(
        {tuple(sorted(o for o in inside if o in reached[n] and n in reached[o])) for n in inside}
    )


def test_no_circle_of_modules() -> None:
    """The package's own root is left out: the verbs as functions import when they are called."""
    arrows = {name: to - {""} for name, to in graph().items() if name}
    assert not circles(arrows)


def test_the_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [("b", "c")]


def test_no_class_name_stands_twice() -> None:
    where: dict[str, list[str]] = {}
    for path in files():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(module_of(path))
    assert not {name: modules for name, modules in where.items() if len(modules) > 1}


def test_no_module_is_a_drawer() -> None:
    assert not [path for path in files() if path.stem in FORBIDDEN]


def test_no_module_hides_a_verb() -> None:
    from selfsight.verbs import VERBS

    verbs = {name.split()[0] for name in VERBS} | set(selfsight.__all__)
    assert not [path for path in PACKAGE.iterdir() if path.stem in verbs]


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
    assert not loaded & {"torch", "pydantic", "yaml", "numpy"}


@pytest.mark.parametrize("name", ["run", "tune pretrain", "evaluate", "finetune"])
def test_help_needs_no_training_engine(name: str) -> None:
    loaded = modules_after(f"from selfsight.verbs import VERBS; VERBS[{name!r}].settings_class")
    assert "torch" in loaded
    assert not loaded & {"lightning", "torchmetrics", "sklearn", "optuna", "plotly", "scipy"}


def test_networks_know_no_loss() -> None:
    arrows = graph()
    assert not [
        name
        for name, to in arrows.items()
        if room(name) == "networks" and "losses" in map(room, to)
    ]


def test_the_losses_are_an_attribute_that_is_imported_when_asked_for() -> None:
    assert "torch" not in modules_after("import selfsight")
    loaded = modules_after("import selfsight; selfsight.losses.nt_xent_loss")
    assert "selfsight.losses.nt_xent" in loaded
