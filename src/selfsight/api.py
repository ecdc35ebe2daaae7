"""The verbs as functions: `selfsight.evaluate`, `selfsight.audit` and the rest, by one helper.

Every function takes the verb's settings as keywords, dotted ones in the mapping ``settings``, or a
settings object as its only word; and it takes images as a path, an `ImageSet`, arrays or a torch
`Dataset`, as `selfsight.data.request.open` does.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from selfsight.api_arguments import (
    IMAGES,
    QUERIES,
    are_words,
    check_no_pair,
    is_text,
    named,
    refuse,
    updated,
    with_labels,
)
from selfsight.data.request import name_of
from selfsight.settings import Settings
from selfsight.verbs import VERBS, Verb

RUNS = ("run", "runs", "model", "weights", "index")
"""Settings that name the folder of a run, a model or an index; a function takes the object too."""
MORE = "A settings object, or a mapping with nested or dotted names (``{'optimizer.lr': 1e-3}``)."
OBJECTS = " Or an image set, arrays, a list of arrays, or a torch dataset."
METHOD = "A name in `METHODS`, or the path of a file of your own (``./mine.py``)."


def function_name(verb: Verb) -> str:
    """``tune probe`` -> ``tune_probe``, ``list-methods`` -> ``list_methods``."""
    return verb.name.replace(" ", "_").replace("-", "_")


NAMES = {function_name(verb): verb.name for verb in VERBS.values()}
"""Name of the function -> name of the verb."""


def as_function(verb: Verb) -> Callable[..., Any]:
    """The function of a verb, with the signature and the docstring of its settings."""
    kind = verb.settings_class
    parameters = parameters_of(verb)
    words = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def call(*arguments: Any, **keywords: Any) -> Any:
        given = _bound(verb, words, arguments, keywords)
        settings = given.pop("settings", None)
        images = None
        given = {name: named(name, value) for name, value in given.items()}
        for name in IMAGES:
            if not is_text(given.get(name)):
                check_no_pair(name, given[name])
                images, given[name] = given[name], name_of(given[name])
        if "labels" in kind.model_fields and not is_text(given.get("labels")):
            images = with_labels(images, given.pop("labels"), given.get("axes"))
        if not are_words(given.get(QUERIES)):
            images, given[QUERIES] = given[QUERIES], (name_of(given[QUERIES]),)
        network = None
        if hasattr(given.get("run"), "state_dict"):  # a torch module, whoever it is from
            network, given["run"] = given["run"], type(given["run"]).__name__
        changes = {
            name: _plain(value, kind.model_fields.get(name)) for name, value in given.items()
        }
        if isinstance(settings, Settings):
            ready = updated(function_name(verb), settings, changes)
        else:
            ready = _settings_of(verb, kind, {**(settings or {}), **changes}, parameters)
        if network is not None:
            return verb.call(ready, images, network)
        return verb.call(ready) if images is None else verb.call(ready, images)

    call.__name__ = call.__qualname__ = function_name(verb)
    call.__module__ = "selfsight"
    call.__doc__ = docstring(verb)
    call.__signature__ = signature_of(verb)  # type: ignore[attr-defined]
    return call


def signature_of(verb: Verb) -> inspect.Signature:
    """The words of a verb, its settings as keywords, and what it returns; annotations are text."""
    returns = verb.call.__annotations__.get("return", Any)
    text = returns if isinstance(returns, str) else typed(returns)
    return inspect.Signature(parameters_of(verb), return_annotation=text)


def parameters_of(verb: Verb) -> list[inspect.Parameter]:
    """The words of a verb, then its settings as keywords."""
    fields = verb.settings_class.model_fields
    words = [name for name, field in fields.items() if tyro.conf.Positional in field.metadata]
    if verb.method == "word":
        words = ["method", *words]
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [_parameter(name, fields[name], plain) for name in words]
    only = inspect.Parameter.KEYWORD_ONLY
    more = f"{verb.settings_class.__name__} | Mapping[str, Any] | None"
    parameters.append(inspect.Parameter("settings", only, default=None, annotation=more))
    rest = [name for name in fields if name not in words]
    return parameters + [_parameter(name, fields[name], only) for name in rest]


def _parameter(name: str, field: FieldInfo, kind: Any) -> inspect.Parameter:
    annotation = typed(field.annotation)
    none = " | None" if annotation.endswith("None") else ""
    default = inspect.Parameter.empty if field.is_required() else field.default
    if name == "method":
        annotation = "str | Path | type[Method]"
        default = inspect.Parameter.empty if kind.name.startswith("POSITIONAL") else "simclr"
    elif name in IMAGES:
        annotation = f"str | Path | ImageSet | NDArray[Any] | MapDataset{none}"
    elif name == "runs":
        annotation = "str | Path | Run | Sequence[str | Path | Run]"
    elif name == "queries":
        annotation = "str | Path | Sequence[str | Path] | ImageSet | NDArray[Any] | Tensor"
    elif name in RUNS:
        kinds = {"model": "Predictor", "index": "Index"}
        network = " | Module" if name == "run" and not field.is_required() else ""
        annotation = f"str | Path | {kinds.get(name, 'Run')}{network}{none}"
    elif name == "labels":
        annotation = f"str | Path | NDArray[Any]{none}"
    elif name == "out":
        annotation = f"str | Path{none}"
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def docstring(verb: Verb) -> str:
    """Summary, the settings as arguments, and what the function itself says below its own."""
    fields = verb.settings_class.model_fields
    lines = [verb.summary, "", "Args:"]
    for parameter in parameters_of(verb):
        text = fields[parameter.name].description if parameter.name in fields else MORE
        text = METHOD if parameter.name == "method" else " ".join((text or "").split())
        text += OBJECTS if parameter.name in IMAGES else ""
        line = f"    {parameter.name}: {text}"
        lines += textwrap.wrap(line, 92, subsequent_indent=" " * 8, break_on_hyphens=False)
    own = inspect.cleandoc(verb.call.__doc__ or "")
    places = [own.find(f"\n{part}:") for part in ("Returns", "Raises")]
    ends = [place for place in places if place >= 0]
    return "\n".join([*lines, *([own[min(ends) :]] if ends else [])])


def typed(annotation: Any) -> str:
    """An annotation as people write it: ``tuple[float, ...] | None``; constraints are left out."""
    origin: Any = get_origin(annotation)
    inner: tuple[Any, ...] = get_args(annotation)
    if annotation in (None, NoneType):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin is Annotated:
        return typed(inner[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin in (Union, UnionType):
        return " | ".join(typed(part) for part in inner)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(typed(part) for part in inner)}]"
    return str(getattr(annotation, "__name__", annotation))


def _bound(
    verb: Verb, words: Sequence[str], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> dict[str, Any]:
    """Words and keywords by name; a settings object as the first word is ``settings``."""
    if arguments and isinstance(arguments[0], verb.settings_class):
        arguments, keywords = arguments[1:], {**keywords, "settings": arguments[0]}
    name = function_name(verb)
    if len(arguments) > len(words):
        raise TypeError(f"{name}() takes at most {len(words)} words ({', '.join(words)}).")
    given = dict(zip(words, arguments, strict=False))
    if twice := given.keys() & keywords.keys():
        raise TypeError(f"{name}() got {sorted(twice)[0]!r} twice.")
    return {**given, **keywords}


def _settings_of(
    verb: Verb,
    kind: type[Settings],
    changes: Mapping[str, Any],
    parameters: Sequence[inspect.Parameter],
) -> Settings:
    """The settings: what has no default first, then the changes with their dotted names."""
    needed = [p.name for p in parameters if p.default is p.empty]
    missing = [name for name in needed if name not in changes]
    if missing:
        raise TypeError(f"{function_name(verb)}() needs {missing[0]!r}.")
    first = {name: changes[name] for name in needed}
    if verb.method != "none":
        first["method"] = changes.get("method", "simclr")
    rest = {name: value for name, value in changes.items() if name not in first}
    try:
        settings = kind.model_validate(first).updated(rest)
    except ValidationError as error:
        refuse(function_name(verb), error)
    unnamed = {"method"} if verb.method == "flag" and "method" not in changes else set()
    return settings.marked(settings.model_fields_set - unnamed)


def _plain(value: Any, field: FieldInfo | None) -> Any:
    """A path as text, a run or a model as its folder; several where one was given."""
    if field is not None and get_origin(field.annotation) is tuple:
        several = list(value) if isinstance(value, list | tuple) else [value]
        return tuple(_plain(one, None) for one in several)
    folder = getattr(value, "folder", None)
    if folder is not None:
        return str(getattr(folder, "path", folder))
    return str(value) if isinstance(value, Path) else value
