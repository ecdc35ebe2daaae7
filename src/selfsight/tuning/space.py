"""What is searched: one line a setting, as a flag or in a YAML file.

======================================  ========================================================
``probe.dropout=0..0.5``                uniform between the ends, both included
``probe.depth=0..3``                    whole numbers, where the setting takes no others
``probe.width=64..512:64``              in steps of 64
``optimizer.lr=log(1e-4,1)``            log-uniform; whole numbers too
``backbone=resnet18,resnet34``          one of these (numbers, text, true, false, none)
``method.projector=[512,128],[2048]``   lists are choices as well
``epochs=20``                           fixed
``default``                             the default space of the method or probe; later words
                                        change it
======================================  ========================================================
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import ValidationError

from selfsight.settings import Settings, read_yaml, sentence, unknown
from selfsight.tuning.dimensions import Choice, Dimension, Range, choice_of, read_dimension

if TYPE_CHECKING:
    import optuna


class Space(dict[str, Dimension]):
    """Dotted settings and what each may be."""

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The trial's value of each setting, fixed ones too."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.items()}

    def settings_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What `suggest` gave in a trial that Optuna kept as ``params``."""
        found: dict[str, Any] = {}
        for name, dimension in self.items():
            if isinstance(dimension, Range):
                found[name] = params[name]
            else:
                fixed = len(dimension.values) == 1
                found[name] = dimension.values[0] if fixed else dimension.decoded(params[name])
        return found

    @property
    def searched(self) -> list[str]:
        """Names of what is not fixed."""
        return [name for name, d in self.items() if isinstance(d, Range) or len(d.values) > 1]

    def params_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Optuna's parameters of these values; None where one lies outside of the space."""
        params: dict[str, Any] = {}
        for name, dimension in self.items():
            value = values.get(name)
            if not dimension.holds(value):
                return None
            if name in self.searched:
                params[name] = value if isinstance(dimension, Range) else Choice.code(value)
        return params

    def plain(self) -> dict[str, str]:
        return {name: str(dimension) for name, dimension in self.items()}

    def fitted(
        self,
        apply: Callable[[Mapping[str, Any]], Settings],
        kind: Callable[[str], set[type]],
    ) -> Space:
        """The space with whole numbers where a setting takes no others, every end tried.

        Args:
            apply: settings with some changes; raises ``ValueError`` for what is not allowed.
            kind: the types that a setting may have.

        Raises:
            ValueError: there is no such setting, or an end that it does not allow.
        """
        space = Space()
        for name, dimension in self.items():
            if isinstance(dimension, Range):
                kinds = kind(name)
                if float in kinds and int not in kinds:
                    dimension = replace(dimension, whole=False)
            for value in dimension.ends:
                try:
                    apply({name: value})
                except ValidationError as error:
                    raise ValueError(f"search {name}={dimension}: {sentence(error)}") from None
                except ValueError as error:
                    raise ValueError(f"search {name}={dimension}: {error}") from None
            space[name] = dimension
        return space


def read_space(words: Sequence[str], default: Mapping[str, str]) -> Space:
    """The space of ``--search``: words, or one YAML file; without any the default space.

    Raises:
        ValueError: a word that cannot be read; the sentence says how to write it.
    """
    if not words:
        words = ("default",)
    space = Space()
    for word in words:
        if word == "default":
            space.update({name: read_dimension(name, text) for name, text in default.items()})
        elif "=" not in word and Path(word).suffix in (".yaml", ".yml"):
            space.update(_from_yaml(read_yaml(word)))
        else:
            name, sign, text = word.partition("=")
            if not sign or not name.strip():
                raise ValueError(
                    f"search {word!r}: write SETTING=VALUES, as in optimizer.lr=log(1e-4,1), or "
                    "name one YAML file."
                )
            space[name.strip()] = read_dimension(name.strip(), text)
    return space


def kinds_of(settings: Settings, name: str) -> set[type]:
    """The types that a dotted setting may have.

    Raises:
        ValueError: there is no such setting.
    """
    head, _, rest = name.partition(".")
    fields = type(settings).model_fields
    if head not in fields:
        raise unknown("setting", head, fields)
    inner = getattr(settings, head)
    if rest and isinstance(inner, Settings):
        return kinds_of(inner, rest)
    return _kinds(fields[head].annotation)


def searched_kinds(settings: Settings, name: str, part: str, example: str) -> set[type]:
    """`kinds_of` a setting that a study searches, which must be one of ``part``.

    Raises:
        ValueError: there is no such setting, or it is of another part.
    """
    if not name.startswith(f"{part}."):
        raise ValueError(
            f"search {name}: this study searches {part}.SETTING, as in {part}.{example}."
        )
    try:
        return kinds_of(settings, name)
    except ValueError as error:
        raise ValueError(f"search {name}: {error}") from None


def value_of(settings: Settings, name: str) -> Any:
    """The value of a dotted setting."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _kinds(annotation: Any) -> set[type]:
    if isinstance(annotation, type):
        return {annotation}
    found: set[type] = set()
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            found |= _kinds(part)
    elif get_args(annotation) and hasattr(annotation, "__metadata__"):
        found |= _kinds(get_args(annotation)[0])
    return found


def _from_yaml(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Dimension]]:
    """Nested or dotted names; a list is choices, text is read as on the command line."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _from_yaml(value, f"{name}.")
        elif isinstance(value, list):
            if not value:
                raise ValueError(f"search {name}: it has no choice.")
            yield name, choice_of(name, str(value), value)
        elif isinstance(value, str):
            yield name, read_dimension(name, value)
        else:
            yield name, Choice((value,))
