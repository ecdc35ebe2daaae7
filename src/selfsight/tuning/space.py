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

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from selfsight.settings import Settings, read_yaml, sentence

if TYPE_CHECKING:
    import optuna

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")
_LOG = re.compile(rf"log\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_HOW = "write LOW..HIGH, LOW..HIGH:STEP, log(LOW,HIGH), A,B,C or one value"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if ``whole``."""

    low: float
    high: float
    whole: bool
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        low, high = self.ends
        if self.log:
            return f"log({low},{high})"
        step = "" if self.step is None else f":{int(self.step) if self.whole else self.step}"
        return f"{low}..{high}{step}"

    @property
    def ends(self) -> tuple[Any, ...]:
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose((value - self.low) % self.step, 0.0)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Choice:
    """One of several values; a single one is fixed and no part of the search."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(_written(value) for value in self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values

    def holds(self, value: Any) -> bool:
        return self.code(value) in {self.code(known) for known in self.values}

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        if len(self.values) == 1:
            return self.values[0]
        return self.decoded(trial.suggest_categorical(name, [self.code(v) for v in self.values]))

    @staticmethod
    def code(value: Any) -> Any:
        """What Optuna stores: it takes no lists."""
        return json.dumps(list(value)) if isinstance(value, list | tuple) else value

    def decoded(self, code: Any) -> Any:
        return next(value for value in self.values if self.code(value) == code)


Dimension = Range | Choice


def value_of(settings: Settings, name: str) -> Any:
    """The value of a dotted setting."""
    return reduce(getattr, name.split("."), settings)


class Space(dict[str, Dimension]):
    """Dotted settings and what each may be."""

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The trial's value of each setting, fixed ones too."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.items()}

    def settings_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What `suggest` gave in a trial that Optuna kept as ``params``."""
        return {
            name: params[name]
            if isinstance(dimension, Range)
            else dimension.decoded(params.get(name, dimension.code(dimension.values[0])))
            for name, dimension in self.items()
        }

    @property
    def searched(self) -> list[str]:
        """Names of what is not fixed."""
        return [name for name, d in self.items() if isinstance(d, Range) or len(d.values) > 1]

    def params_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Optuna's parameters of these values; None where one lies outside of the space."""
        if not all(dimension.holds(values.get(name)) for name, dimension in self.items()):
            return None
        return {name: Choice.code(values[name]) for name in self.searched}

    def plain(self) -> dict[str, str]:
        return {name: str(dimension) for name, dimension in self.items()}

    def fitted(
        self,
        apply: Callable[[Mapping[str, Any]], Any],
        value: Callable[[Any, str], Any] = value_of,
    ) -> Space:
        """The space with whole numbers where a setting takes no others, every end tried.

        Args:
            apply: settings with some changes; raises ``ValueError`` for what is not allowed.
            value: of a dotted setting in what `apply` gives.

        Raises:
            ValueError: there is no such setting, or an end that it does not allow.
        """
        space = Space()
        for name, dimension in self.items():
            for end in dimension.ends:
                try:
                    settings = apply({name: end})
                except ValidationError as error:
                    raise ValueError(f"search {name}={dimension}: {sentence(error)}") from None
                except ValueError as error:
                    raise ValueError(f"search {name}={dimension}: {error}") from None
            if isinstance(dimension, Range) and isinstance(value(settings, name), float):
                dimension = replace(dimension, whole=False)
            space[name] = dimension
        return space


def read_space(words: Sequence[str], default: Mapping[str, str]) -> Space:
    """The space of ``--search``: words, or one YAML file; without any the default space.

    Raises:
        ValueError: a word that cannot be read; the sentence says how to write it.
    """
    space = Space()
    for word in words or ("default",):
        name, sign, text = (part.strip() for part in word.partition("="))
        if word == "default":
            space.update({name: read_dimension(name, text) for name, text in default.items()})
        elif not sign and Path(word).suffix in (".yaml", ".yml"):
            space.update(_from_yaml(read_yaml(word)))
        elif sign and name:
            space[name] = read_dimension(name, text)
        else:
            raise ValueError(
                f"search {word!r}: write SETTING=VALUES, as in optimizer.lr=log(1e-4,1), or "
                "name one YAML file."
            )
    return space


def read_dimension(name: str, text: str) -> Dimension:
    """One dimension from its text.

    Raises:
        ValueError: one sentence on what is wrong with it.
    """
    text = text.strip()
    if match := _LOG.fullmatch(text):
        return _range(name, text, match[1], match[2], log=True)
    if match := _RANGE.fullmatch(text):
        return _range(name, text, match[1], match[2], step=match[3])
    if not text or ".." in text or text.startswith("log("):
        raise ValueError(f"search {name}={text}: {_HOW}.")
    return _choice(name, text, [_value(name, part) for part in _parts(name, text)])


def _range(
    name: str, text: str, low: str, high: str, *, log: bool = False, step: str | None = None
) -> Range:
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (low, high, step or "0"))
    first, last = float(low), float(high)
    if not first < last:
        raise ValueError(f"search {name}={text}: the first end must be below the second.")
    if log and first <= 0:
        raise ValueError(f"search {name}={text}: a logarithmic range must begin above 0.")
    width = None if step is None else float(step)
    if width is not None and not 0 < width <= last - first:
        raise ValueError(f"search {name}={text}: the step must be above 0 and fit into the range.")
    if width is not None:  # both ends are included, so the last one must be met
        last = first + width * math.floor((last - first) / width + 1e-9)
    return Range(first, last, whole, log, width)


def _choice(name: str, text: str, values: Sequence[Any]) -> Choice:
    codes = [Choice.code(value) for value in values]
    if len({(type(code), code) for code in codes}) < len(codes):
        raise ValueError(f"search {name}={text}: each choice may be there once.")
    return Choice(tuple(values))


def _parts(name: str, text: str) -> list[str]:
    """``text`` cut at the commas that are in no bracket."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    parts = [part.strip() for part in parts]
    if depth or not all(parts):
        raise ValueError(f"search {name}={text}: {_HOW}.")
    return parts


def _value(name: str, text: str) -> Any:
    if re.fullmatch(_NUMBER, text):  # YAML takes 1e-4 for text
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if text.lower() == "none":
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"search {name}: {text!r} is no value; {_HOW}.") from None


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(_written(part) for part in value)}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _from_yaml(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Dimension]]:
    """Nested or dotted names; a list is choices, text is read as on the command line."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _from_yaml(value, f"{name}.")
        elif isinstance(value, list):
            if not value:
                raise ValueError(f"search {name}: it has no choice.")
            yield name, _choice(name, str(value), value)
        elif isinstance(value, str):
            yield name, read_dimension(name, value)
        else:
            yield name, Choice((value,))
