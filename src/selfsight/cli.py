"""The verbs as commands: words to settings, settings to the verb, errors to one sentence.

Flags are made from the settings of the verb; its first words are positional; ``--settings
file.yaml`` gives other defaults, which flags override.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from selfsight.console import progress, quiet, say, shown
from selfsight.plugins import is_file, names_in
from selfsight.stops import Stopped, raising
from selfsight.verbs import VERBS, Verb, verb_named

if TYPE_CHECKING:
    from selfsight.settings import Settings

HELP = {"-h", "--help", "--help-all"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0; the ``exit_code`` of what the verb returns, such as 1 for an audit that finds a leak; 1
        for an error that nobody foresaw; 2 for bad input, a full disk or too little memory; 130,
        143, 129 where a signal ended it; 141 where nobody read its output any more.
    """
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(words), words)


def _run(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        from selfsight.version import __version__

        print(f"selfsight {__version__}")
        return 0
    if words[1:] in ([], ["-h"], ["--help"], ["--help-all"]) and (inner := _inner(words[0])):
        print(_table(inner))
        return 0
    verb, rest = _verb(words)
    rest, quietly = _switched(rest, "--quiet")
    rest, as_json = _switched(rest, "--json")
    if HELP & set(rest):
        parsed(verb, rest)  # which prints it and leaves
    # Under --json nothing but the object may reach stdout, also not from a library.
    output = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with quiet(quietly):
        with progress(verb.name), output:
            settings = parsed(verb, rest)
            result = verb.call(settings)
        if as_json:
            from selfsight.answers import json_text

            print(json_text(verb.name, result))
        elif result is not None:
            print(shown(str(result)), flush=True)
        from selfsight.next_step import next_step

        if step := next_step(verb.name, settings, result):
            say(step)
    return int(getattr(result, "exit_code", 0))


def guarded(command: Callable[[], int], words: Sequence[str]) -> int:
    """The exit code of a command; whatever it raises ends as a sentence on standard error.

    Raises:
        SystemExit: for flags that do not fit, and after ``--help``.
    """
    code, text = 2, ""
    try:
        try:
            with raising():
                return command()
        except Stopped as stop:
            code, text = stop.exit_code, str(stop)
        except KeyboardInterrupt:
            code, text = 130, "stopped by SIGINT."
        except BrokenPipeError:
            raise
        except Exception as error:
            code, text = _explained(error, " ".join(words))
        finally:
            sys.stdout.flush()
        print(f"selfsight: {shown(text)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        return _closed_pipe()
    return code


def _explained(error: Exception, command: str) -> tuple[int, str]:
    """The exit code and the sentence of an error."""
    from pydantic import ValidationError

    from selfsight.faults import last_resort, sentence_of
    from selfsight.settings import sentence

    if isinstance(error, ValidationError):
        return 2, sentence(error)
    text = sentence_of(error)
    return (1, last_resort(error, command)) if text is None else (2, text)


def _closed_pipe() -> int:
    """Nobody reads the output any more (``| head``): the exit code of other tools, in silence."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    return 141


def overview() -> str:
    """What ``selfsight --help`` prints; imports neither torch nor pydantic."""
    methods = ", ".join(names_in(os.path.join(os.path.dirname(__file__), "methods")))
    return "\n".join(
        [
            "selfsight: image representations from unlabelled images, proved with few labels",
            "",
            _table(VERBS),
            "",
            textwrap.fill(f"METHOD is {methods}, or a file of your own (./mine.py).", 79),
            "DATA is a folder of images, Parquet, CSV, .npy, .npz, HDF5, .tar, hf:owner/name",
            "or `digits` (docs/data.md).",
            "`selfsight VERB --help` shows the most used settings, --help-all all of them,",
            "`selfsight pretrain METHOD --help-all` those of the method. Every verb takes",
            "--settings FILE.yaml, --quiet (results and warnings only) and --json.",
        ]
    )


def parsed(verb: Verb, words: list[str]) -> Settings:
    """The settings of a verb from its words: defaults, then the YAML file, then flags.

    Raises:
        ValueError: a YAML file or a method that cannot be used.
        SystemExit: flags that do not fit (code 2), or ``--help`` and ``--help-all`` (code 0).
    """
    import contextlib
    import io

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
        with contextlib.redirect_stderr(printed):
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
    return settings.marked(_given(settings, words) - ({"method"} if unnamed else set()))


def _as_given(value: Any, kind: type[Settings], field: str, words: Sequence[str]) -> Any:
    """A group of settings of which only those count as given that the file or a flag names."""
    from selfsight.settings import Settings

    default = kind.model_fields[field].default
    if not isinstance(value, Settings) or not isinstance(default, Settings):
        return value
    flags = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    named = {
        name
        for name in type(value).model_fields
        if getattr(value, name) != getattr(default, name)
        or flags & {f"--{field}.{no}{name}".replace("_", "-") for no in ("", "no-")}
    }
    return value.marked(default.model_fields_set | named)


def _given(settings: Settings, words: Sequence[str]) -> set[str]:
    """The settings that the file or a flag names, those of groups left aside."""
    flags = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    return {
        name
        for name, field in type(settings).model_fields.items()
        if field.is_required()
        or getattr(settings, name) != field.default
        or flags & {f"--{no}{name}".replace("_", "-") for no in ("", "no-")}
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


def _verb(words: list[str]) -> tuple[Verb, list[str]]:
    """The verb that the first word, or the first two, name; and the other words."""
    if is_file(words[0]):
        return verb_named(words[0]), words[1:]
    if (name := " ".join(words[:2])) in VERBS:
        return VERBS[name], words[2:]
    if inner := _inner(words[0]):
        from selfsight.settings import unknown

        raise unknown("command", name, inner)
    return verb_named(words[0]), words[1:]


def _inner(word: str) -> list[str]:
    """The verbs of two words that begin with this one."""
    return [name for name in VERBS if name.startswith(f"{word} ")]


def _table(names: Collection[str]) -> str:
    """A line a verb."""
    width = max(len(f"{name} {VERBS[name].words}") for name in names)
    return "\n".join(
        f"  {f'{name} {VERBS[name].words}':<{width}}  {VERBS[name].summary}" for name in names
    )


def _switched(words: list[str], flag: str) -> tuple[list[str], bool]:
    """``words`` without a flag that has no value, and whether it was there."""
    return [word for word in words if word != flag], flag in words


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
