"""What is wrong with the words of a command, in a sentence.

tyro parses the words. Where it stops, its own text names Python's types and prints a flag's whole
help; the sentence here names the word, what belongs in its place, and the nearest flag.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from selfsight.console import counted
from selfsight.flags import Flag, aliases, flags_of, metavar
from selfsight.settings import Settings

NUMBER = re.compile(r"-[\d.]")
EVERY_VERB = ("--help", "--help-all", "--settings", "--quiet", "--json")
"""Flags that every verb takes beside its settings."""


def complaint(kind: type[Settings], words: Sequence[str]) -> str | None:
    """What is wrong with the words of a verb.

    Args:
        kind: settings of the verb.
        words: as the user typed them, without the verb.

    Returns:
        A sentence; None where nothing was found here.
    """
    text = _problem(kind, words)
    return None if text is None else text if text.endswith("?") else f"{text}."


def _problem(kind: type[Settings], words: Sequence[str]) -> str | None:
    flags = flags_of(kind)
    named = {name: flag for flag in flags if not flag.positional for name in _names(flag)}
    positional = [flag for flag in flags if flag.positional]
    loose, rest = _loose(words), _by_flag(words)
    several = any(get_origin(part) is tuple for flag in positional for part in _parts(flag))
    free = room = len(words) if several else len(positional) - len(loose)
    if free < 0:
        return f"the word {loose[len(positional)]!r} belongs to no flag"
    for place, value in zip(positional, loose, strict=False):
        choice = _parts(place)[0]
        if get_origin(choice) is Literal and not _fits(value, choice):
            return f"{_word(place)} takes {metavar(choice)}, not {value!r}"
    for word, values in rest:
        known = named.get(word) or named.get(word.replace("--no-", "--", 1))
        if known is None:
            near = _nearest(word, named)
            hint = f"; did you mean {near}?" if near else ""
            return f"there is no flag {word}{hint}"
        free -= max(0, _spare(known, values))
        if problem := _values(known, word, values, free):
            return problem
    wanted = [flag for flag in positional if flag.field.is_required()]
    if len(loose) < len(wanted) and free == room:
        flag = wanted[len(loose)]
        return _missing(_word(flag), flag)
    given = {word for word, _ in rest}
    for flag in flags:
        if not flag.positional and flag.field.is_required() and not given & set(_names(flag)):
            return _missing(_names(flag)[0], flag)
    return None


def _missing(name: str, flag: Flag) -> str:
    """``INDEX is missing; give the folder of an index``."""
    what = flag.text.split(". ")[0].rstrip(".")
    what = what if what[:2].isupper() else what[:1].lower() + what[1:]
    return f"{name} is missing; give {what}"


def _word(flag: Flag) -> str:
    """What help calls a positional word."""
    return flag.path.upper().replace("_", "-")


def _nearest(word: str, named: Iterable[str]) -> str | None:
    """The flag that a wrong one comes near to, as a whole or in its last part (``--lr``)."""
    names = [*named, *EVERY_VERB]
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.7):
        return near[0]
    last = {name.rpartition(".")[2]: name for name in reversed(names) if "." in name}
    near = difflib.get_close_matches(word.removeprefix("--"), last, n=1, cutoff=0.7)
    return last[near[0]] if near else None


def _names(flag: Flag) -> list[str]:
    """The ways to write a flag: its path, and ``-n`` where it has that name, too."""
    return ["--" + flag.path.replace("_", "-"), *aliases(flag)]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not NUMBER.match(word) and word != "-"


def _loose(words: Sequence[str]) -> list[str]:
    """The words before the first flag."""
    return list(itertools.takewhile(lambda word: not _is_flag(word), words))


def _by_flag(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag with the words that follow it, or the one behind its ``=``."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if _is_flag(word):
            name, equals, value = word.partition("=")
            found.append((name.replace("_", "-"), [value] if equals else []))
        elif found:
            found[-1][1].append(word)
    return found


def _parts(flag: Flag) -> tuple[Any, ...]:
    """What a value of a flag may be: the alternatives of a union, without None."""
    return _alternatives(flag.field.annotation)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return tuple(
            part
            for inner in get_args(annotation)
            for part in _alternatives(inner)
            if part is not NoneType
        )
    return (annotation,)


def _kinds(flag: Flag, count: int) -> tuple[Any, ...]:
    """The type of each word that a flag takes, where ``count`` words follow it."""
    parts = _parts(flag)
    if parts == (bool,):
        return ()
    inner = next((get_args(part) for part in parts if get_origin(part) is tuple), None)
    if inner is None:
        return (Union[parts],)  # noqa: UP007
    return inner[:1] * count if inner[-1] is Ellipsis else inner


def _spare(flag: Flag, values: list[str]) -> int:
    """How many of the words behind a flag it does not take."""
    return len(values) - len(_kinds(flag, len(values)))


def _values(flag: Flag, word: str, values: list[str], free: int) -> str | None:
    """What is wrong with the words behind a flag; ``free`` is below 0 where too many follow."""
    kinds = _kinds(flag, len(values))
    takes = metavar(flag.field.annotation).removesuffix("|None")
    if len(values) < len(kinds):
        given = f", not {' '.join(map(repr, values))}" if values else ""
        return f"{word} needs a value: {takes}{given}"
    for value, kind in zip(values, kinds, strict=False):
        if not _fits(value, kind):
            return f"{word} takes {takes}, not {value!r}"
    if free < 0:
        many = (
            "no value"
            if not kinds
            else "one value"
            if len(kinds) == 1
            else counted(len(kinds), "value")
        )
        return f"{word} takes {many}; {values[len(kinds)]!r} belongs to no flag"
    return None


def _fits(value: str, kind: Any) -> bool:
    if value == "None":
        return True
    try:
        TypeAdapter(kind).validate_strings(value)
    except ValidationError as error:
        # Ranges and the like have sentences of their own.
        kinds = {problem["type"] for problem in error.errors()}
        return not any(kind.endswith("_parsing") or kind == "literal_error" for kind in kinds)
    return True
