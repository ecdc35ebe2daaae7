"""What "auto" chose when a training began, which stays when it goes on on another machine."""

from __future__ import annotations

from selfsight.runs.folder import RunFolder
from selfsight.training.settings import Pretrain

KEPT = ("backbone", "precision", "memory_format")
"""Settings that "auto" resolves by the machine, and that change what is trained."""


def as_begun(settings: Pretrain, folder: RunFolder) -> tuple[Pretrain, set[str]]:
    """Settings in which what is left to "auto" is what it was in the folder's training.

    Args:
        settings: as asked for.
        folder: of the training; where it holds neither weights nor a checkpoint nothing changes.

    Returns:
        The settings, and the names of those that were taken.

    Raises:
        ValueError: the folder's settings cannot be read.
    """
    begun = folder.backbone.is_file() or any(folder.checkpoints.glob("*.ckpt"))
    if not begun or not folder.settings.is_file():
        return settings, set()
    before = folder.read_settings()
    kept = {
        name: before[name]
        for name in KEPT
        if getattr(settings, name) == "auto" and before.get(name, "auto") != "auto"
    }
    return settings.updated(kept), set(kept)
