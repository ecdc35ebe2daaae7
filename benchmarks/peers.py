"""Peers in a benchmark environment: imported beside a torch build that they were not made for."""

from __future__ import annotations

import subprocess
import sys

import torch

_library: torch.library.Library | None = None
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> None:
    """Declares two operators that torchvision's Python side asks for; before it is imported.

    torchvision's binaries belong to one torch build. Nothing here needs its compiled operators,
    but importing it (lightly does, torchmetrics too) registers fake kernels for two, whose schemas
    must exist. Where torchvision fits the installed torch, it declares them itself, and a second
    declaration would abort the process: a child process finds out which case this is.
    """
    global _library
    fits = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True)
    if _library is None and fits.returncode != 0:
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(name + SCHEMA)


def import_lightly() -> object:
    """The ``lightly`` package."""
    declare_operators()
    import lightly

    return lightly
