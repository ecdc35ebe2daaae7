"""The verbs as commands: words to the verb, what it gives to the user, errors to one sentence."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, redirect_stdout

from selfsight.arguments import HELP, parsed
from selfsight.console import progress, quiet, say, shown
from selfsight.plugins import is_file, names_in
from selfsight.stops import Stopped, raising
from selfsight.verbs import VERBS, Verb, verb_named


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
