"""Checks of what a loss is given; each refusal is one sentence with the argument and the fault.

They read shapes, types and Python numbers, never the values of a tensor: that would wait for its
device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def check_pair(loss: str, first: Tensor, second: Tensor) -> None:
    """Embeddings of two views: ``(N, D)`` each, of the same images, N from 2 on.

    Raises:
        ValueError: they are not.
    """
    for name, z in (("first", first), ("second", second)):
        check_rows(loss, name, z)
    if first.shape != second.shape:
        raise ValueError(
            f"{loss}: first {tuple(first.shape)} and second {tuple(second.shape)} must have one "
            "shape: row i of both is of the same image."
        )
    if first.dtype != second.dtype or first.device != second.device:
        raise ValueError(
            f"{loss}: first is {first.dtype} on {first.device} and second {second.dtype} on "
            f"{second.device}; give both in one dtype on one device."
        )
    if len(first) < 2:
        raise ValueError(f"{loss}: it compares images and needs at least two (got {len(first)}).")


def check_rows(loss: str, name: str, z: object, *, dims: int = 2) -> Tensor:
    """A floating-point tensor with ``dims`` axes; only the first may be empty.

    Raises:
        ValueError: it is not.
    """
    letters = "(N, D)" if dims == 2 else "(B, G, C)"
    if not isinstance(z, Tensor):
        raise ValueError(f"{loss}: {name} must be a tensor {letters} (got a {type(z).__name__}).")
    if z.dim() != dims or 0 in z.shape[1:]:
        raise ValueError(f"{loss}: {name} must be {letters}, not empty (got {tuple(z.shape)}).")
    if not z.is_floating_point():
        raise ValueError(f"{loss}: {name} must hold floating-point numbers (got {z.dtype}).")
    return z


def check_views(loss: str, name: str, views: object) -> list[Tensor]:
    """A list of logits ``(B, K)``, all of one shape.

    Raises:
        ValueError: it is a tensor, empty, or its views differ.
    """
    if not isinstance(views, Sequence):
        raise ValueError(
            f"{loss}: {name} must be a list with a tensor (B, K) for each view (got a "
            f"{type(views).__name__}); for a stack of views give list(views)."
        )
    if not views:
        raise ValueError(f"{loss}: {name} needs one view or more; there is none.")
    checked = [check_rows(loss, f"{name}[{i}]", view) for i, view in enumerate(views)]
    for i, view in enumerate(checked):
        if view.shape != checked[0].shape:
            raise ValueError(
                f"{loss}: {name}[{i}] is {tuple(view.shape)} and {name}[0] is "
                f"{tuple(checked[0].shape)}; views of the same images have one shape."
            )
        if view.dtype != checked[0].dtype:
            raise ValueError(
                f"{loss}: {name}[{i}] is {view.dtype} and {name}[0] is {checked[0].dtype}; give "
                "all views in one dtype."
            )
    if not len(checked[0]):
        raise ValueError(f"{loss}: {name} needs one image or more; there is none.")
    return checked


def check_positive(loss: str, name: str, value: float | Tensor) -> None:
    """A finite number above 0, or a 0-d tensor, whose value is not read.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, Tensor):
        if value.dim():
            raise ValueError(f"{loss}: {name} must be one number (got {tuple(value.shape)}).")
    elif not (math.isfinite(value) and value > 0):
        raise ValueError(f"{loss}: {name} must be a finite number above 0 (got {value}).")


def check_weight(loss: str, name: str, value: float | Tensor) -> None:
    """A finite number, 0 or more, or a 0-d tensor, whose value is not read.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, Tensor):
        if value.dim():
            raise ValueError(f"{loss}: {name} must be one number (got {tuple(value.shape)}).")
    elif not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{loss}: {name} must be a finite number, 0 or more (got {value}).")
