"""One dimension of a search space: a range of numbers or a choice, from its text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

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
        low, high = (int(e) if self.whole else e for e in (self.low, self.high))
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


def read_dimension(name: str, text: str) -> Dimension:
    """One dimension from its text.

    Raises:
        ValueError: one sentence on what is wrong with it.
    """
    text = text.strip()
    if found := _LOG.fullmatch(text):
        return _range(name, text, found[1], found[2], log=True)
    if found := _RANGE.fullmatch(text):
        return _range(name, text, found[1], found[2], step=found[3])
    if not text or ".." in text or text.startswith("log("):
        raise ValueError(f"search {name}={text}: {_HOW}.")
    return choice_of(name, text, [_value(name, part) for part in _parts(name, text)])


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


def choice_of(name: str, text: str, values: Sequence[Any]) -> Choice:
    """Of these values, each once.

    Raises:
        ValueError: one is there twice.
    """
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
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
