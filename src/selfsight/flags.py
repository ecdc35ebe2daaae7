"""What a verb's ``--help`` shows: the settings that people turn on one screen, or all by group.

The screens are classes of their own, which tyro formats and nothing parses: a parser has to know
that a setting may be None, and a reader wants to know what happens where he leaves it out.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import textwrap
from collections.abc import Collection, Iterator, Mapping
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import create_model
from pydantic.fields import FieldInfo

from selfsight.settings import Settings

DIALS = (
    "method",
    "target",
    "labels",
    "group",
    "run",
    "count",
    "by",
    "search",
    "trials",
    "head_only",
    "minutes",
    "workers",
    "metric",
    "label_fraction",
    "fractions",
    "draws",
    "probes",
    "finetune",
    "controls",
    "out",
    "weights",
    "backbone",
    "epochs",
    "batch_size",
    "optimizer.lr",
    "preset",
    "device",
    "track",
    "seed",
    "image_size",
    "limit",
    "drop_leaks",
    "allow_leaks",
    "split",
    "folds",
    "supervision.weight",
    "stopping",
)
"""The settings that people turn, the most wanted first, over all verbs."""
BRIEF = 110
"""Characters of a text that the short help does not cut at its semicolon."""
SHOWN = 15
"""Settings that the short help shows at most."""


class Flag(NamedTuple):
    """A setting as the command line knows it.

    Attributes:
        path: as in YAML, ``optimizer.lr``.
        field: its annotation, text and constraints.
        default: of the command at hand.
        positional: whether it is a word and no flag.
    """

    path: str
    field: FieldInfo
    default: Any
    positional: bool

    @property
    def text(self) -> str:
        return " ".join((self.field.description or "").split())


def flags_of(kind: type[Settings]) -> list[Flag]:
    """All flags and words of the settings, nested ones with dotted paths."""
    return list(_flags(kind, {n: f.default for n, f in kind.model_fields.items()}, ""))


def _flags(kind: type[Settings], defaults: Mapping[str, Any], prefix: str) -> Iterator[Flag]:
    import tyro

    for name, field in kind.model_fields.items():
        if tyro.conf.Suppress in field.metadata:
            continue
        default = defaults[name]
        if isinstance(default, Settings):
            inner = {key: getattr(default, key) for key in type(default).model_fields}
            yield from _flags(type(default), inner, f"{prefix}{name}.")
        else:
            positional = tyro.conf.Positional in field.metadata
            yield Flag(prefix + name, field, default, positional)


def dials(flags: list[Flag], own: Collection[str] = ()) -> list[Flag]:
    """The flags of the short help: all where they are few, else those that people turn.

    Args:
        flags: of the verb.
        own: those that a verb in a file of the user's own adds; they come first.
    """
    flags = [flag for flag in flags if not flag.positional]
    if len(flags) <= SHOWN:
        return flags
    order = {path: place for place, path in enumerate((*own, *DIALS))}
    wanted = [flag for flag in flags if flag.path in order]
    return sorted(wanted, key=lambda flag: order[flag.path])[:SHOWN]


def short_help(kind: type[Settings], program: str, description: str, method: str | None) -> str:
    """The words and the dials of a verb, on one screen of 80 columns.

    Args:
        kind: settings of the verb, with the defaults of the command at hand.
        program: as the user types it, ``selfsight pretrain simclr``.
        description: what the verb does.
        method: value of ``--method`` where the verb has that flag.
    """
    flags = flags_of(kind)
    words, shown = [flag for flag in flags if flag.positional], dials(flags, _own(kind))
    if method is not None:
        shown = [_method_flag(method), *shown][:SHOWN]
    fields: dict[str, Any] = {}
    for flag in [*words, *shown]:
        fields[flag.path.replace(".", "_")] = _shown(flag, brief=True)
    text = _formatted(create_model("Dials", __base__=Settings, **fields), program, description)
    more = len(flags) - len(words) - len(shown) + (method is not None)
    rest = f"{more} more settings: --help-all. " if more > 0 else ""
    return f"{text}{rest}Also: --settings FILE, --quiet, --json.\n"


def _own(kind: type[Settings]) -> list[str]:
    """The settings that are declared outside this package."""
    outside = [c for c in kind.__mro__ if c.__module__.startswith("selfsight_verb_")]
    return [name for c in outside for name in get_annotations(c)]


def long_help(kind: type[Settings], program: str, description: str, method: str | None) -> str:
    """All settings of a verb by group, with what happens where one is left out."""
    if method is not None:
        description += f"\n\n--method TEXT names another method (default: {method})."
    return _formatted(_all_shown(kind, {}), program, description)


def _all_shown(kind: type[Settings], values: Mapping[str, Any]) -> type[Settings]:
    import tyro

    fields: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        default = values.get(name, field.default)
        if isinstance(default, Settings):
            inner = {key: getattr(default, key) for key in type(default).model_fields}
            group = _all_shown(type(default), inner)
            marks = [mark for mark in field.metadata if mark is tyro.conf.Suppress]
            annotation: Any = group
            for mark in marks:
                annotation = Annotated[annotation, mark]
            shown = FieldInfo(annotation=annotation, default=group(), description=field.description)
            fields[name] = (annotation, shown)
        elif tyro.conf.Suppress not in field.metadata:
            positional = tyro.conf.Positional in field.metadata
            fields[name] = _shown(Flag(name, field, default, positional), brief=False)
    return create_model(kind.__name__, __base__=Settings, __doc__=kind.__doc__, **fields)


def _method_flag(method: str) -> Flag:
    field = FieldInfo(annotation=str, description="A method, or a file of your own (./mine.py).")
    return Flag("method", field, method, False)


def _shown(flag: Flag, *, brief: bool) -> tuple[Any, Any]:
    """Annotation and field of a setting on a screen of help."""
    import tyro

    required = flag.field.is_required() and not isinstance(flag.default, str | tuple)
    text = flag.text
    if brief:
        text = text.split(". ")[0].rstrip(".")
        first = _first_clause(text)
        # What comes behind a semicolon stays where it says what happens without the setting.
        text = (text if "default" in text or "None:" in text else first) + "."
        text = text if len(text) <= BRIEF else first + "."
        text += _choices(flag, text)
    hint = "(required)" if required else default_text(flag)
    hint = "" if brief and hint == "(optional)" else hint
    options: dict[str, Any] = {"help": text, "help_behavior_hint": hint}
    plain = _without_none(flag.field.annotation)
    if not flag.positional:
        options["name"] = flag.path.rpartition(".")[2] if not brief else flag.path
        options["aliases"] = aliases(flag)
        if plain is not bool:
            options["metavar"] = metavar(plain, brief=brief)
    argument: Any = tyro.conf.arg(**options)
    annotation: Any = flag.field.annotation
    marks: tuple[Any, ...] = (argument,)
    if flag.positional:
        marks += (tyro.conf.Positional,)
    annotation = Annotated[(annotation, *marks)]
    return annotation, ... if required else flag.default


def aliases(flag: Flag) -> tuple[str, ...]:
    """Short names of a flag, such as ``-n``."""
    return tuple(
        name for mark in flag.field.metadata for name in getattr(mark, "aliases", None) or ()
    )


def _first_clause(text: str) -> str:
    """What stands in front of the first semicolon outside brackets."""
    for end, sign in enumerate(text):
        if sign == ";" and text[:end].count("(") == text[:end].count(")"):
            return text[:end]
    return text


def _choices(flag: Flag, text: str) -> str:
    """The names to choose from, where the metavar is too short for them and the text has none."""
    plain = _without_none(flag.field.annotation)
    names = [str(name) for name in get_args(plain)] if get_origin(plain) is Literal else []
    if metavar(plain, brief=True) != "NAME" or all(name in text for name in names):
        return ""
    return f" One of {', '.join(names)}."


def default_text(flag: Flag) -> str:
    """``(default: 100)``; nothing where the text says what happens without the setting."""
    value = flag.default
    if value is None or value == () or value == "":
        told = any(word in flag.text for word in ("default", "None:", "auto:"))
        return "" if told else "(optional)"
    if "auto:" in flag.text and value == "auto":
        return ""
    if isinstance(value, bool):
        return "(default: yes)" if value else "(default: no)"
    if isinstance(value, tuple):
        return f"(default: {' '.join(map(str, value))})"
    return f"(default: {value})"


def metavar(annotation: Any, *, brief: bool = False) -> str:
    """What a value looks like: ``INT``, ``{auto,on,off}``, ``STR...``."""
    origin: Any = get_origin(annotation)
    inner: tuple[Any, ...] = get_args(annotation)
    if origin is Annotated:
        return metavar(inner[0], brief=brief)
    if origin is Literal:
        names = "{" + ",".join(map(str, inner)) + "}"
        return names if not brief or len(names) <= 12 else "NAME"
    if origin in (Union, UnionType):
        parts = [metavar(part, brief=brief) for part in inner if part is not NoneType]
        return "|".join(dict.fromkeys(parts)) + ("" if brief or NoneType not in inner else "|None")
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            name = metavar(inner[0], brief=brief)
            return f"{name}..." if not name.startswith("{") else f"{name} ..."
        return " ".join(metavar(part, brief=brief) for part in inner)
    names_of = {bool: "{True,False}", str: "TEXT", int: "INT", float: "FLOAT"}
    return names_of.get(annotation, getattr(annotation, "__name__", "VALUE").upper())


def _without_none(annotation: Any) -> Any:
    """``X`` of ``X | None`` and of ``Annotated[X, ...]``."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return parts[0] if len(parts) == 1 else Union[tuple(parts)]  # noqa: UP007
    return annotation


def _formatted(kind: type[Settings], program: str, description: str) -> str:
    import tyro

    printed, width = io.StringIO(), shutil.get_terminal_size().columns
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.cli(
            kind,
            args=["--help"],
            prog=program,
            description=description,
            config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.AvoidSubcommands),
        )
    # tyro puts words in brackets also where at least one of them is needed.
    text = printed.getvalue()
    for name, field in kind.model_fields.items():
        if tyro.conf.Positional in field.metadata and field.is_required():
            word = name.upper().replace("_", "-")
            text = text.replace(f"[{word}]  ", f"{word}... ").replace(f"[{word}]", f"{word}...")
    # tyro wraps its tables and leaves usage and description as they come.
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="  " * line.startswith("usage"))
        if len(line) > width
        else line
        for line in map(str.rstrip, text.split("\n"))
    )
