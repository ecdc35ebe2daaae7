"""Writes ``src/selfsight/__init__.pyi``: the API as editors and type checkers see it.

The functions of `selfsight` are made from the table of verbs when they are asked for, which an
editor does not run. ``make stub`` runs this file; a test compares.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import selfsight
from selfsight.api import docstring, function_name, signature_of
from selfsight.verbs import VERBS, Verb

PACKAGE = Path(selfsight.__file__).parent
STUB = PACKAGE / "__init__.pyi"
ELSEWHERE = {
    "Any": "typing",
    "Images": "selfsight.data.options",
    "Literal": "typing",
    "Module": "torch.nn",
    "Mapping": "collections.abc",
    "Method": "selfsight.method",
    "NDArray": "numpy.typing",
    "Path": "pathlib",
    "Sequence": "collections.abc",
    "Tensor": "torch",
    "overload": "typing",
}


def text() -> str:
    """The whole file, as ruff formats it."""
    functions = "\n\n".join(function(verb) for verb in VERBS.values())
    body = f"{functions}\n\n{plain_functions()}"
    lines = [
        '"""The API of selfsight for editors and type checkers; `make stub` writes this file."""',
        *imports(body),
        "from selfsight import losses as losses",
        "from selfsight.estimators import ImageClassifier as ImageClassifier",
        "from selfsight.estimators import ImageRegressor as ImageRegressor",
        "from selfsight.estimators import SelfSupervisedTransformer as SelfSupervisedTransformer",
        "from selfsight.methods import METHODS as METHODS",
        "from selfsight.version import __version__ as __version__",
        "",
        f"__all__ = {sorted(selfsight.__all__)!r}",
        "",
        body,
    ]
    made = "\n".join(lines)
    for words in (["check", "--fix", "--quiet", "--select", "I,RUF022,PIE790"], ["format"]):
        made = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--stdin-filename", str(STUB), "-"],
            input=made,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return made


def function(verb: Verb) -> str:
    """A verb as a function with its docstring."""
    signature = signature_of(verb)
    parts, keywords = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            parts.append("*")
            keywords = True
        default = "" if parameter.default is parameter.empty else " = ..."
        parts.append(f"{parameter.name}: {parameter.annotation}{default}")
    lines = docstring(verb).splitlines()
    indented = "\n".join([lines[0], *(f"    {line}".rstrip() for line in lines[1:])])
    name, returns = function_name(verb), signature.return_annotation
    return (
        f"@overload\ndef {name}({', '.join(parts)},) -> {returns}:\n"
        f'    """{indented}\n    """\n    ...\n\n'
        f"@overload\ndef {name}(settings: {verb.settings_class.__name__}, /) -> {returns}:\n"
        f'    """{lines[0]}"""\n    ...\n'
    )


def plain_functions() -> str:
    """The functions that ``__init__.py`` writes out, without their bodies."""
    found = []
    for node in ast.parse((PACKAGE / "__init__.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            node.body = [node.body[0], ast.Expr(ast.Constant(...))]
            found.append(ast.unparse(node))
    return "\n\n".join(found)


def imports(body: str) -> list[str]:
    """A line for each class that the signatures name: class names are unique in the package."""
    names = {"overload", *re.findall(r"\b[A-Z]\w+", "\n".join(signatures(body)))}
    modules = dict(ELSEWHERE)
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(("selfsight", *path.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                modules.setdefault(node.name, module.removesuffix(".__init__"))
    return [f"from {modules[name]} import {name}" for name in sorted(names) if name in modules]


def signatures(body: str) -> list[str]:
    """The annotations of all functions, as text."""
    found = []
    for node in ast.parse(body).body:
        assert isinstance(node, ast.FunctionDef)
        every = [*node.args.args, *node.args.kwonlyargs]
        found += [ast.unparse(one.annotation) for one in every if one.annotation]
        found += [ast.unparse(node.returns)] if node.returns else []
        if node.args.kwarg and node.args.kwarg.annotation:
            found.append(ast.unparse(node.args.kwarg.annotation))
    return found


if __name__ == "__main__":
    STUB.write_text(text())
    print(STUB)
