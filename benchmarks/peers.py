"""Peers in a benchmark environment: imported beside a torch build that they were not made for."""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_lightly() -> object:
    """The ``lightly`` package; declares two operators that torchvision's Python side asks for.

    torchvision's binaries are of one torch build. The losses need none of its compiled operators,
    but importing it registers fake kernels for two, whose schemas have to exist.
    """
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(name + SCHEMA)
    import lightly

    return lightly
