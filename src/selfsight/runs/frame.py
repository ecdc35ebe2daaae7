"""What images a network was made for, as runs and model cards keep it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.pixels.values import ValueScale
from selfsight.runs.run import Run
from selfsight.settings import Settings, sentence

Side = Annotated[int, Field(ge=1, le=65536)]


class Frame(Settings):
    """Size, channels and type of images, and what their values mean."""

    height: Side
    """Pixels."""
    width: Side
    """Pixels."""
    channels: Side
    """Channels."""
    dtype: Literal["uint8", "uint16", "float32"]
    """Of the pixels."""
    value_type: str
    """Of the values in the files: uint8, int32, float32..."""
    bits: Annotated[int, Field(ge=1, le=32)] | None = None
    """That integers use, where they say it."""
    black: float | None = None
    """The value that means black; none where nothing says it."""
    white: float | None = None
    """The value that means white."""

    @model_validator(mode="before")
    @classmethod
    def _by_type(cls, values: Any) -> Any:
        """Without a word on the values they mean what their type says."""
        if isinstance(values, dict) and "value_type" not in values and "dtype" in values:
            with suppress(TypeError, KeyError):
                return {**_meaning(ValueScale.of(values["dtype"])), **values}
        return values

    @classmethod
    def of(cls, images: ImageSet) -> Frame:
        return cls.model_validate(
            {
                "height": images.height,
                "width": images.width,
                "channels": images.channels,
                "dtype": str(images.pixels.dtype),
                **_meaning(images.value_scale),
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
        values = ValueScale(self.value_type, self.dtype, self.bits, self.black, self.white)
        return Scale(owner, self.height, self.width, self.channels, self.dtype, values)


def _meaning(values: ValueScale | None) -> dict[str, Any]:
    assert values is not None
    return {
        "value_type": values.type,
        "bits": values.bits,
        "black": values.low,
        "white": values.high,
    }
