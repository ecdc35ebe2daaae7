"""``model.json``: what a model predicts, of which images, and what it was fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from selfsight.files import not_a_folder, read_json
from selfsight.fitting.head import Shape
from selfsight.fitting.novelty import Novelty
from selfsight.runs.folder import MODEL_CARD
from selfsight.runs.frame import Frame
from selfsight.settings import Settings, sentence


class Card(Settings):
    """``model.json``."""

    format: Literal[1] = 1
    """Of this folder."""
    target: str
    """What is predicted."""
    kind: Literal["class", "labels", "number"]
    """Of the target."""
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """Of the classes, labels or numbers."""
    thresholds: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] | None = None
    """Of several labels: a label is predicted where its probability is at least this."""
    head: Shape = Shape()
    """Hidden layers of the head."""
    frame: Frame
    """The images it was made for; their tiles, where it cuts them."""
    tile: Annotated[int, Field(ge=8)] | None = None
    """Side in pixels of the tiles that images are cut into; the output is pooled by image."""
    reading: dict[str, tuple[str, ...]] = {}
    """How the images of its run and its labels were read: later images are read in the same way."""
    weights: str
    """Hash of all weights."""
    labels: str = ""
    """Checksum of ``labels.parquet``; empty: there is none."""
    num_labels: Annotated[int, Field(ge=0)] = 0
    """Labelled images that it was fitted on."""
    choice: dict[str, Any] = {}
    """What was chosen inside of these."""
    validation: dict[str, float] = {}
    """Scores on the validation split, which no choice has read."""
    novelty: Novelty | None = None
    """From where on an image is unlike all training images; None: unknown."""
    allowed_leaks: tuple[str, ...] = ()
    """Leaks that the user allowed: the scores are better than they should be."""
    run: str = ""
    """The run it was made from."""
    data: str = ""
    """The images that were labelled."""
    recorded: dict[str, str] = {}
    """The working directory of `finetune` and the folder, which recorded paths are relative to."""
    selfsight: str = ""
    """Version that wrote it."""

    @model_validator(mode="after")
    def _fits(self) -> Card:
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: some are the same")
        if (self.thresholds is None) != (self.kind != "labels"):
            raise ValueError("thresholds: several labels have them, and nothing else")
        if self.thresholds is not None and len(self.thresholds) != len(self.names):
            raise ValueError("thresholds: there must be one for each of the names")
        return self


def card_of(folder: Path) -> Card:
    """What ``model.json`` of a folder says.

    Raises:
        ValueError: no such folder, no such file, or it is damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"model {folder}: {not_a_folder(folder)}.")
    path = folder / MODEL_CARD
    if not path.is_file():
        is_run = (folder / "splits.parquet").is_file()
        hint = "; it is a run: make a model of it with `selfsight finetune`" if is_run else ""
        raise ValueError(f"model {folder}: it has no {MODEL_CARD}{hint}.")
    content = read_json(path)
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {sentence(error)}.") from None
