"""`View`: an augmentation is data that can be printed, saved and searched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from selfsight.settings import Settings

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Strength = Annotated[float, Field(ge=0.0)]


class View(Settings):
    """One random augmentation. Sides and kernel sizes are shares of the image side or pixels."""

    size: Annotated[float, Field(gt=0.0)] = 1.0
    """Output side: a share of the image set's side up to 1.0, pixels above it."""
    crop_scale: tuple[float, float] | None = (0.2, 1.0)
    """Range of the area of the crop as a share of the image; None keeps the whole frame."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the crop's width over height, drawn log-uniformly."""
    flip: Probability = 0.5
    """Probability of a left-right mirror."""
    vertical_flip: Probability = 0.0
    """Probability of a top-bottom mirror."""
    quarter_turns: bool = False
    """Turn by a random multiple of 90 degrees."""
    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Largest rotation to either side, degrees."""
    shear: Annotated[float, Field(ge=0.0, lt=90.0)] = 0.0
    """Largest horizontal shear to either side, degrees."""
    color: Probability = 0.8
    """Probability of brightness, contrast, saturation and hue, in random order."""
    brightness: Strength = 0.4
    """Factor drawn from 1 - s to 1 + s (not below 0)."""
    contrast: Strength = 0.4
    """Factor drawn from 1 - s to 1 + s (not below 0)."""
    saturation: Strength = 0.4
    """Factor drawn from 1 - s to 1 + s (not below 0); RGB only."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Largest turn of the hue to either side, as a share of the circle; RGB only."""
    grayscale: Probability = 0.2
    """Probability of dropping the colour; RGB only."""
    blur: Probability = 0.0
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the blur's standard deviation, pixels."""
    solarize: Probability = 0.0
    """Probability of inverting the pixels at or above half of the range."""
    gain: Strength = 0.0
    """Standard deviation of a factor for each channel (scientific images)."""
    offset: Strength = 0.0
    """Standard deviation of an offset for each channel, in standard deviations of the channel."""
    channel_dropout: Probability = 0.0
    """Probability for each channel of being blanked to its mean (never all of them)."""
    noise: Strength = 0.0
    """Largest standard deviation of added Gaussian noise, in standard deviations of the channel."""

    @model_validator(mode="after")
    def _ranges(self) -> View:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value[0] <= value[1]:
                raise ValueError(f"{name}: must be (low, high) with 0 < low <= high")
        if self.crop_scale is not None and self.crop_scale[1] > 1.0:
            raise ValueError("crop_scale: a crop is at most the whole image, 1.0")
        return self
