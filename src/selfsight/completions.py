"""The verb `completion`: words and flags for the Tab key of bash, zsh and fish.

A script holds every verb with its flags, so that the Tab key starts no Python; write it again after
an update.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import tyro

from selfsight.flags import flags_of
from selfsight.settings import Settings
from selfsight.verbs import VERBS, Verb

EVERYWHERE = ("--help", "--help-all", "--json", "--quiet", "--settings")


class Completion(Settings):
    """Print a script that completes verbs, methods and flags with the Tab key.

    bash: `selfsight completion bash > ~/.local/share/bash-completion/completions/selfsight`; zsh:
    a file `_selfsight` in a folder of `$fpath`; fish: `~/.config/fish/completions/selfsight.fish`.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """bash, zsh or fish."""


class Words(NamedTuple):
    """What may follow a verb.

    Attributes:
        flags: of the verb.
        texts: one for each flag.
        words: other words, such as methods.
    """

    flags: tuple[str, ...]
    texts: tuple[str, ...]
    words: tuple[str, ...]


def completion(settings: Completion) -> str:
    """The script.

    Returns:
        Its text.
    """
    tree = {name: _words(verb) for name, verb in VERBS.items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[settings.shell](tree)


def _words(verb: Verb) -> Words:
    from selfsight.methods import METHODS, method_names
    from selfsight.training.settings import typed

    base = verb.settings_class
    methods: tuple[str, ...] = ()
    flags: dict[str, str] = {}
    if verb.method == "none":
        kinds = [base]
    else:
        kinds = [typed(name, base) for name in METHODS]  # type: ignore[arg-type]
        methods = tuple(method_names())
    for kind in kinds:
        for flag in flags_of(kind):
            if not flag.positional:
                text = flag.text.split(". ")[0].rstrip(".")
                flags.setdefault(f"--{flag.path.replace('_', '-')}", text)
    if verb.method == "flag":
        flags["--method"] = "A method, or a file of your own"
    for name in EVERYWHERE:
        flags.setdefault(name, "")
    choices = tuple(base.model_fields["shell"].annotation.__args__) if base is Completion else ()  # type: ignore[union-attr]
    return Words(tuple(flags), tuple(flags.values()), (*methods, *choices))


def _cases(tree: dict[str, Words]) -> str:
    """The branches of a ``case`` over the verb, in bash and zsh."""
    lines = []
    for name, words in tree.items():
        lines.append(f'    "{name}") flags="{" ".join(words.flags)}"; words="')
        lines[-1] += f'{" ".join(words.words)}" ;;'
    return "\n".join(lines)


def _inner(tree: dict[str, Words]) -> tuple[str, str]:
    """First words of all verbs, and those of verbs of two words."""
    first = dict.fromkeys(name.split()[0] for name in tree)
    double = dict.fromkeys(name.split()[0] for name in tree if " " in name)
    return " ".join(first), "|".join(double)


def _seconds(tree: dict[str, Words], first: str) -> str:
    return " ".join(name.split()[1] for name in tree if name.startswith(f"{first} "))


def _bash(tree: dict[str, Words]) -> str:
    first, double = _inner(tree)
    inner = "\n".join(f'    {d}) second="{_seconds(tree, d)}" ;;' for d in double.split("|") if d)
    return f"""# selfsight: completion for bash
_selfsight() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}" second="" flags="" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{first}" -- "$current")); return
  fi
  case "$verb" in
{inner}
  esac
  if [ -n "$second" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$second" -- "$current")); return
    fi
    verb="$verb ${{COMP_WORDS[2]}}"
  fi
  case "$verb" in
{_cases(tree)}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current")) ;;
  esac
}}
complete -o filenames -F _selfsight selfsight
"""


def _zsh(tree: dict[str, Words]) -> str:
    first, double = _inner(tree)
    inner = "\n".join(f'    {d}) second="{_seconds(tree, d)}" ;;' for d in double.split("|") if d)
    return f"""#compdef selfsight
_selfsight() {{
  local verb="${{words[2]}}" second="" flags="" choices=""
  if (( CURRENT == 2 )); then
    compadd -- {first}; return
  fi
  case "$verb" in
{inner}
  esac
  if [[ -n "$second" ]]; then
    if (( CURRENT == 3 )); then
      compadd -- ${{=second}}; return
    fi
    verb="$verb ${{words[3]}}"
  fi
  case "$verb" in
{_cases(tree).replace("words=", "choices=")}
  esac
  if [[ "${{words[CURRENT]}}" == -* ]]; then
    compadd -- ${{=flags}}
  else
    compadd -- ${{=choices}}
    _files
  fi
}}
compdef _selfsight selfsight 2>/dev/null || _selfsight "$@"
"""


def _fish(tree: dict[str, Words]) -> str:
    first, _ = _inner(tree)
    lines = ["# selfsight: completion for fish"]
    lines.append(f"complete -c selfsight -n __fish_use_subcommand -f -a '{first}'")
    for name, words in tree.items():
        outer, _, inner = name.partition(" ")
        seen = f"__fish_seen_subcommand_from {outer}"
        if inner:
            others = _seconds(tree, outer)
            unseen = f"{seen}; and not __fish_seen_subcommand_from {others}"
            lines.append(f"complete -c selfsight -n '{unseen}' -f -a {inner}")
            seen += f"; and __fish_seen_subcommand_from {inner}"
        if words.words:
            lines.append(f"complete -c selfsight -n '{seen}' -a '{' '.join(words.words)}'")
        for flag, text in zip(words.flags, words.texts, strict=True):
            told = text.replace("\\", "").replace("'", "’")
            shown = f" -d '{told}'" if told else ""
            lines.append(f"complete -c selfsight -n '{seen}' -l {flag[2:]}{shown}")
    return "\n".join(lines) + "\n"
