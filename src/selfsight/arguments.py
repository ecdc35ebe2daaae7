"""The words of a command as settings: defaults, then the YAML file, then flags.

Flags are made from the settings of the verb; its first words are positional; ``--settings
file.yaml`` gives other defaults, which flags override.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

from selfsight.plugins import is_file
from selfsight.verbs import Verb

if TYPE_CHECKING:
    from selfsight.settings import Settings

HELP = {"-h", "--help", "--help-all"}


def parsed(verb: Verb, words: list[str]) -> Settings:
    """The settings of a verb from its words: defaults, then the YAML file, then flags.

    Raises:
        ValueError: a YAML file or a method that cannot be used.
        SystemExit: flags that do not fit (code 2), or ``--help`` and ``--help-all`` (code 0).
    """
    import tyro

    from selfsight.settings import read_yaml

    words, file = _taken(words, "--settings")
    changed = changes = {} if file is None else read_yaml(file)
    base = kind = verb.settings_class
    program = f"selfsight {verb.name}"
    method, unnamed = None, False
    if verb.method != "none":
        from selfsight.training.settings import Pretrain, typed

        assert issubclass(base, Pretrain)
        before = words
        method, words, changes = _method(verb, words, changes)
        unnamed = words == before and verb.method == "flag" and "method" not in changed
        kind = typed(method, base)
        program += f" {method}" * (verb.method == "word")
    if changes:
        try:
            kind = kind.with_defaults(changes)
        except ValueError as error:
            raise ValueError(f"settings file {file}: {_sentence(error)}") from None
    if HELP & set(words):
        flag = method if verb.method == "flag" else None
        print(_help(kind, verb, program, flag, whole="--help-all" in words), end="")
        raise SystemExit(0)
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            values = tyro.cli(
                kind,
                args=words,
                prog=program,
                config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.AvoidSubcommands),
            )
    except SystemExit as stop:
        if refused := _refused(stop):
            end = "" if refused.endswith("?") else "."
            raise ValueError(f"{refused}{end} `{program} --help` lists all settings.") from None
        from selfsight.usage import complaint

        if wrong := complaint(kind, words):
            raise ValueError(f"{wrong} See `{program} --help`.") from None
        print(printed.getvalue(), end="", file=sys.stderr)
        raise
    # The class that the command line parses cannot be pickled; the plain one can.
    fields = base.model_fields
    settings = base(
        **{field: _as_given(getattr(values, field), kind, field, words) for field in fields}
    )
    given = _named(settings, {name: field.default for name, field in fields.items()}, words)
    return settings.marked(given - ({"method"} if unnamed else set()))


def _as_given(value: Any, kind: type[Settings], field: str, words: Sequence[str]) -> Any:
    """A group of settings of which only those count as given that the file or a flag names."""
    from selfsight.settings import Settings

    default = kind.model_fields[field].default
    if not isinstance(value, Settings) or not isinstance(default, Settings):
        return value
    named = _named(value, dict(default), words, f"{field}.")
    return value.marked(default.model_fields_set | named)


def _named(
    settings: Settings, defaults: Mapping[str, Any], words: Sequence[str], group: str = ""
) -> set[str]:
    """The settings that are not their defaults, or that a flag names."""
    flags = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    return {
        name
        for name in type(settings).model_fields
        if getattr(settings, name) != defaults[name]
        or flags & {f"--{group}{no}{name}".replace("_", "-") for no in ("", "no-")}
    }


def _sentence(error: ValueError) -> str:
    """The sentence of an error of settings."""
    from pydantic import ValidationError

    from selfsight.settings import sentence

    return sentence(error) if isinstance(error, ValidationError) else str(error)


def _help(
    kind: type[Settings], verb: Verb, program: str, method: str | None, *, whole: bool
) -> str:
    """The screen of ``--help``, or all of ``--help-all``."""
    from inspect import cleandoc

    from selfsight.flags import long_help, short_help

    text = cleandoc(verb.settings_class.__doc__ or verb.summary).split("\n\n")[0]
    description = " ".join(text.split())
    if verb.method != "none" and kind.__doc__:
        description += f"\n\n{kind.__doc__}"
    return (long_help if whole else short_help)(kind, program, description, method)


def _refused(stop: SystemExit) -> str:
    """What pydantic refused when tyro stopped, in a sentence; empty where that was not the cause.

    tyro prints the text of pydantic, which has several lines.
    """
    from pydantic import ValidationError

    from selfsight.settings import sentence

    error, prefix = stop.__context__, ""
    while error is not None and not isinstance(error, ValidationError):
        place = getattr(error, "arg", None)  # the group of settings that was being made
        prefix = place if isinstance(place, str) else prefix
        error = error.__context__
    return "" if error is None else sentence(error, prefix).removesuffix(".")


def _taken(words: list[str], flag: str) -> tuple[list[str], str | None]:
    """``words`` without a flag, and its value."""
    for i, word in enumerate(words):
        if word == flag:
            if i + 1 == len(words):
                raise ValueError(f"{flag} needs a value.")
            return [*words[:i], *words[i + 2 :]], words[i + 1]
        if word.startswith(flag + "="):
            return [*words[:i], *words[i + 1 :]], word.partition("=")[2]
    return words, None


def _check_order(verb: Verb, name: str, words: Sequence[str]) -> None:
    """Raises ``ValueError`` where the data stand in front of the method."""
    from selfsight.methods import method_names

    known = method_names()
    if name not in known and not is_file(name) and words and words[0] in known:
        raise ValueError(
            f"the method comes first: `selfsight {verb.name} {words[0]} {name}` "
            f"({name!r} is no method)."
        )


def _method(
    verb: Verb, words: list[str], changes: Mapping[str, Any]
) -> tuple[str, list[str], dict[str, Any]]:
    """The method's name, from the words or the YAML file; the words and changes without it."""
    rest = dict(changes)
    inner = rest.pop("method", None)
    from_file = inner if isinstance(inner, str) else (inner or {}).get("name")
    if verb.method == "flag":
        words, given = _taken(words, "--method")
        name = given or from_file or "simclr"
    elif words and not words[0].startswith("-"):
        name, words = words[0], words[1:]
        _check_order(verb, name, words)
    elif from_file:
        name = from_file
    elif HELP & set(words):
        name = "simclr"
    else:
        from selfsight.methods import method_names

        raise ValueError(f"pretrain needs a METHOD: {', '.join(method_names())}, or ./mine.py.")
    if from_file not in (None, name):
        raise ValueError(f"the settings file is for method {from_file!r}, not for {name!r}.")
    if isinstance(inner, Mapping):
        values = {key: value for key, value in inner.items() if key != "name"}
        if values:
            rest["method"] = values
    return str(name), words, rest
