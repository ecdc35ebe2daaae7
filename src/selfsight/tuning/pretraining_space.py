"""What `tune pretrain` may search: settings of a pretraining, and the strength of its views.

``views.strength`` multiplies how far colours, gains, noise and turns reach in every view;
``views.crop_scale`` is the smallest crop of the large views; any other ``views.SETTING`` is set in
every view.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsight.methods import METHODS
from selfsight.settings import Settings, unknown
from selfsight.training.settings import Pretrain, method_name
from selfsight.tuning.space import value_of as plain_value
from selfsight.views.settings import View

STRENGTHS = {
    "brightness": None,
    "contrast": None,
    "saturation": None,
    "hue": 0.5,
    "gain": None,
    "offset": None,
    "noise": None,
    "rotation": 180.0,
    "shear": 89.0,
}
"""What ``views.strength`` multiplies, and the most it may become."""


def default_space(settings: Pretrain) -> dict[str, str]:
    """Optimizer, views and what the method itself says; of a resolved pretraining.

    A method without a ``search`` of its own has its positive numbers without an upper limit
    searched from a quarter to four times their value.
    """
    optimizer = settings.optimizer
    space = {"optimizer.lr": f"log({optimizer.lr / 8:g},{optimizer.lr * 8:g})"}
    if optimizer.weight_decay > 0:
        low, high = optimizer.weight_decay / 30, optimizer.weight_decay * 30
        space["optimizer.weight_decay"] = f"log({low:g},{high:g})"
    assert settings.views is not None
    if any(_strong(view) for view in settings.views):
        space["views.strength"] = "0.25..1.75"
    large = [view for view in settings.views if view.size == _largest(settings.views)]
    if all(view.crop_scale is not None and view.crop_scale[1] >= 0.7 for view in large):
        space["views.crop_scale"] = "0.08..0.7"
    kind = METHODS[method_name(settings.method)]
    own = dict(kind.search) or _guessed(settings.method)
    return {**space, **{f"method.{name}": text for name, text in own.items()}}


def _guessed(method: Settings) -> dict[str, str]:
    found = {}
    for name, field in type(method).model_fields.items():
        value = getattr(method, name)
        limited = any(hasattr(rule, "le") or hasattr(rule, "lt") for rule in field.metadata)
        if isinstance(value, float) and value > 0 and not limited:
            found[name] = f"log({value / 4:g},{value * 4:g})"
    return found


def with_changes(settings: Pretrain, changes: Mapping[str, Any]) -> Pretrain:
    """A pretraining with the values of a trial.

    Args:
        settings: whose views have been resolved.
        changes: dotted settings; ``views.NAME`` as this module says.

    Raises:
        ValueError: there is no such setting, or a value that is not allowed.
    """
    plain = {name: value for name, value in changes.items() if not name.startswith("views.")}
    settings = settings.updated(plain)
    assert settings.views is not None
    views = settings.views
    for name, value in changes.items():
        if name.startswith("views."):
            views = _changed_views(views, name.removeprefix("views."), value)
    return settings if views is settings.views else settings.updated({"views": views})


def value_of(settings: Pretrain, name: str) -> Any:
    """What a searched setting is before the search; None where the views differ in it."""
    head, _, rest = name.partition(".")
    if head != "views":
        return plain_value(settings, name)
    assert settings.views is not None
    if rest == "strength":
        return 1.0
    if rest == "crop_scale":
        large = [view for view in settings.views if view.size == _largest(settings.views)]
        lowest = {view.crop_scale[0] for view in large if view.crop_scale is not None}
        return lowest.pop() if len(lowest) == 1 else None
    values = {getattr(view, rest) for view in settings.views}
    return values.pop() if len(values) == 1 else None


def _changed_views(views: tuple[View, ...], name: str, value: Any) -> tuple[View, ...]:
    if name == "strength":
        return tuple(_stronger(view, float(value)) for view in views)
    if name == "crop_scale":
        largest = _largest(views)
        return tuple(
            view.updated({"crop_scale": (float(value), max(float(value), view.crop_scale[1]))})
            if view.size == largest and view.crop_scale is not None
            else view
            for view in views
        )
    if name not in View.model_fields:
        raise unknown("setting of the views", name, {"strength", *View.model_fields})
    return tuple(view.updated({name: value}) for view in views)


def _stronger(view: View, factor: float) -> View:
    changes = {}
    for name, most in STRENGTHS.items():
        value = getattr(view, name) * factor
        changes[name] = value if most is None else min(value, most)
    return view.updated(changes)


def _strong(view: View) -> bool:
    return any(getattr(view, name) > 0 for name in STRENGTHS)


def _largest(views: tuple[View, ...]) -> float:
    return max(view.size for view in views)
