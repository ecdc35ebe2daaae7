"""What images a network was made for, and others brought to that form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from selfsight.console import say
from selfsight.data.imageset import ImageSet
from selfsight.data.sources import open_images
from selfsight.settings import Settings, sentence
from selfsight.runs.run import Run

Side = Annotated[int, Field(ge=1, le=65536)]


class Frame(Settings):
    """Size, channels and type of images."""

    height: Side
    """Pixels."""
    width: Side
    """Pixels."""
    channels: Side
    """Channels."""
    dtype: Literal["uint8", "uint16", "float32"]
    """Of the raw values."""

    @classmethod
    def of(cls, images: ImageSet) -> Frame:
        return cls.model_validate(
            {
                "height": images.height,
                "width": images.width,
                "channels": images.channels,
                "dtype": str(images.pixels.dtype),
            }
        )

    @classmethod
    def of_run(cls, run: Run) -> Frame:
        """Of the images that a run was trained on.

        Raises:
            ValueError: its ``environment.json`` is damaged.
        """
        try:
            data = run.environment["data"]
            return cls(**{name: data[name] for name in cls.model_fields})
        except (KeyError, TypeError):
            problem = "it does not say what images the run was trained on"
        except ValidationError as error:
            problem = sentence(error)
        raise ValueError(f"{run.folder.environment}: {problem}.")

    @property
    def top(self) -> float:
        """What stands for 1 on the unit scale."""
        return {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[self.dtype]

    @property
    def words(self) -> str:
        return f"{self.height}x{self.width}x{self.channels} {self.dtype}"

    def empty(self, name: str) -> ImageSet:
        """A set of no images of this form."""
        shape = (0, self.height, self.width, self.channels)
        pixels = np.zeros(shape, self.dtype)
        return ImageSet(name, pixels, np.zeros(0, "<U1"), np.zeros(0, "<U10"))

    def open(
        self, source: str | Path | ImageSet, name: str, *, max_unreadable: float = 0.05
    ) -> ImageSet:
        """Images of any source in this form; says what had to be done to them.

        Args:
            source: what `open_images` takes.
            name: how sentences call the network.
            max_unreadable: share of unreadable images above which it stops.

        Raises:
            ValueError: the source cannot be read, or its channels do not fit.
        """
        images = open_images(
            source,
            like=self.empty(name),
            max_unreadable=max_unreadable,
            validation=0.0,
            test=0.0,
        )
        for note in images.notes:
            say(note)
        return images
