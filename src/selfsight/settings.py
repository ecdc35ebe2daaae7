"""The frozen settings that every stage takes, their YAML form and dotted overrides.

A dotted path (``optimizer.lr``) means the same in Python, in a YAML file, as a flag of the command
line and as a key of a hyper-parameter search.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)

LARGEST = 1_000_000
"""Bytes of a settings file."""
DEEPEST = 50
"""Levels of values in it, and aliases."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, documented by attribute docstrings.

    ``model_fields_set`` names the fields that were given, also after `updated`: a preset of a
    method fills the others.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: Any) -> Any:
        """A field that does not exist is an error that names the nearest."""
        if isinstance(values, Mapping):
            for name in values:
                if name not in cls.model_fields:
                    raise unknown("setting", name, cls.model_fields)
        return values

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """A copy with ``changes``: dotted (``{"optimizer.lr": 0.1}``) or nested keys.

        Raises:
            ValueError: an unknown key (names the nearest one) or a value that is not allowed.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        new = type(self)(**changed(values, changes))
        return new.marked(self.model_fields_set | {key.partition(".")[0] for key in changes})

    def marked(self, given: Iterable[str]) -> Self:
        """The same values, with these fields as the ones that were given."""
        new = self.model_copy()
        object.__setattr__(new, "__pydantic_fields_set__", set(given))
        return new

    @classmethod
    def with_defaults(cls, changes: Mapping[str, Any]) -> type[Self]:
        """A subclass whose defaults are ``changes``; fields without a default stay required.

        The command line parses this class, so that flags override a YAML file, which overrides
        the defaults of the method.
        """
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        values = changed(defaults, changes)
        fields: dict[str, Any] = {}
        for name, value in values.items():
            kind: Any = cls.model_fields[name].rebuild_annotation()
            if name in {key.partition(".")[0] for key in changes}:
                try:
                    value = TypeAdapter(kind).validate_python(value)
                except ValidationError as error:
                    raise ValueError(sentence(error, prefix=name)) from None
            fields[name] = (kind, value)
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)

    def plain(self) -> dict[str, Any]:
        """Nested dictionaries, lists, numbers and text: what YAML and JSON hold."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.plain(), sort_keys=False, allow_unicode=True)


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` merged into it; keys may be dotted or nested."""
    new = dict(values)
    for key, value in changes.items():
        head, _, rest = key.partition(".")
        if head not in values:
            raise unknown("setting", head, values)
        old = new[head]
        if rest and not isinstance(old, Settings):
            raise ValueError(f"setting {key!r}: {head!r} has no setting {rest!r} below it.")
        if isinstance(old, Settings) and not isinstance(value, Settings):
            if not rest and not isinstance(value, Mapping):
                new[head] = value
                continue
            inner = {rest: value} if rest else value
            try:
                value = old.updated(inner)
            except ValidationError as error:
                raise ValueError(sentence(error, prefix=head)) from None
        new[head] = value
    return new


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ValueError: the file is missing, no plain file, too large, no YAML, or not a mapping.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"settings file {path}: it is no plain file; name a YAML file.")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"settings file {path}: it has more than {LARGEST:,} bytes.")
        text = path.read_text(encoding="utf-8")
        _check_depth(text, path)
        content = yaml.load(text, _LOADER)
    except OSError as error:
        raise ValueError(f"settings file {path}: {error.strerror or error}.") from None
    except RecursionError:
        raise ValueError(f"settings file {path}: its values are nested too deeply.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()).replace(' in "<unicode string>",', " at")
        raise ValueError(f"settings file {path} is not valid YAML: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"settings file {path} must hold `name: value` lines.")
    named: dict[str, Any] = _text_keys(content)
    return named


def _text_keys(content: Any) -> Any:
    """YAML with numbers, dates and nothing as keys of settings, as text."""
    if isinstance(content, dict):
        return {str(key): _text_keys(value) for key, value in content.items()}
    return [_text_keys(value) for value in content] if isinstance(content, list) else content


def _check_depth(text: str, path: Path) -> None:
    """The parser's time grows with the square of the depth, and aliases multiply what they name."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEEPEST:
            raise ValueError(f"settings file {path}: its values are nested too deeply.")
        if aliases > DEEPEST:
            raise ValueError(f"settings file {path}: it has more than {DEEPEST} aliases.")


def unknown(what: str, word: object, known: Iterable[str]) -> ValueError:
    """The error for a name that does not exist; it names the nearest that does."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(names)}."
    return ValueError(f"there is no {what} {str(word)!r}; {hint}")


LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
"""Constraints of numbers in pydantic's words and in ours."""


def described(value: object) -> str:
    """A value that was given, for a sentence: itself, or what it is where that would be long."""
    if value is None or isinstance(value, str | int | float | bool):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        kind = "a tensor" if hasattr(value, "detach") else "an array"
        return f"{kind} of shape {tuple(shape)}"
    if isinstance(value, list | tuple | set | dict):
        return f"a {type(value).__name__} of {len(value):,}"
    return f"an object of type {type(value).__name__}"


def sentence(error: ValidationError, prefix: str = "") -> str:
    """One line for a pydantic error: field, what is wrong, what was given."""
    parts = []
    for problem in error.errors(include_url=False):
        where = ".".join([prefix] * bool(prefix) + [str(part) for part in problem["loc"]])
        limits = problem.get("ctx", {})
        message = next(
            (f"must be {words} {limits[sign]}" for sign, words in LIMITS.items() if sign in limits),
            problem["msg"].removeprefix("Value error, "),
        )
        message = re.sub(r"^Input should be (?:a valid (?=integer))", "must be an ", message)
        message = re.sub(r"^Input should be a valid ", "must be a ", message)
        message = message.replace("Input should be", "must be")
        given = problem.get("input")
        shown = f" (got {described(given)})" if problem["type"] != "missing" else ""
        parts.append(f"{where}: {message}{shown}" if where else message)
    return "; ".join(parts)
