"""What images a network was made for, as runs and model cards keep it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from selfsight.data.imageset import ImageSet, Scale
from selfsight.runs.run import Run
from selfsight.settings import Settings, sentence

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

    def scale(self, owner: str) -> Scale:
        """The form that images are brought to; ``owner`` is how sentences call the network."""
        return Scale(owner, self.height, self.width, self.channels, self.dtype)
