"""The verb `export`: a run or a model in, a file for another program out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from selfsight.console import progress
from selfsight.exporting.graph import Source, outputs_of, write_onnx
from selfsight.exporting.state_dicts import State, code_to_load, state_dict_for
from selfsight.files import replacing
from selfsight.models.embed import backbone_of
from selfsight.models.predictor import Predictor
from selfsight.models.tables import check_suffix
from selfsight.runs.folder import is_model
from selfsight.settings import Settings


class Export(Settings):
    """Write a run's backbone, or a model with its head, for another program."""

    run: tyro.conf.Positional[str]
    """The folder of a finished run, or of a model of `finetune`."""
    out: str
    """The file: .onnx, or for a state dict .safetensors, .pth or .pt."""
    format: Literal["onnx", "torchvision", "timm", "transformers"] = "onnx"
    """ONNX from raw pixels on, or a state dict that this library loads strictly."""
    input: Literal["float32", "own"] = "float32"
    """ONNX: dtype of the input; own: that of the images, such as uint8. Values are the same."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        usage: names of inputs and outputs, or code that loads it.
        difference: the largest difference from torch on a few images; None for a state dict.
    """

    path: Path
    usage: str
    difference: float | None = None

    def __str__(self) -> str:
        return f"{self.path}\n{self.usage}"


def export(settings: Export) -> Exported:
    """Writes the file, whole or not at all.

    Returns:
        The path, and how the file is used.

    Raises:
        ValueError: no such run or model, a package that is missing, a network that the library
            does not have, or an ONNX file that gives other numbers than torch.
    """
    onnx = settings.format == "onnx"
    suffixes = (".onnx",) if onnx else (".safetensors", ".pth", ".pt")
    suffix = check_suffix(settings.out, suffixes, settings)
    source = _source(settings)
    path = Path(settings.out)
    if onnx:
        return _exported_onnx(path, source, settings)
    assert settings.format != "onnx"
    state, code = state_dict_for(source, settings.format)
    usage = code_to_load(code, settings.out, source)
    _write_state(path, suffix, state, source, usage)
    return Exported(path, usage)


def _source(settings: Export) -> Source:
    name = Path(settings.run).resolve().name
    if is_model(settings.run):
        found = Predictor.load(settings.run, allow_code=settings.allow_code)
        return Source(found.backbone, found.statistics, found.card.frame, found, name)
    backbone, statistics, frame = backbone_of(settings.run, allow_code=settings.allow_code)
    return Source(backbone, statistics, frame, None, name)


def _exported_onnx(path: Path, source: Source, settings: Export) -> Exported:
    own = settings.input == "own"
    with progress("writing ONNX and comparing it with torch"):
        difference = write_onnx(path, source, raw=own)
    frame = source.frame
    values = f"0 to {frame.top:g}" if frame.dtype != "float32" else "as in the images"
    dtype = frame.dtype if own else "float32"
    usage = (
        f"images (batch, {frame.channels}, {frame.height}, {frame.width}) {dtype}, raw values "
        f"({values}) -> {', '.join(outputs_of(source))}; onnxruntime and torch differ by at most "
        f"{difference:.1e}."
    )
    card = None if source.predictor is None else source.predictor.card
    if card is not None and card.tile is not None:
        pool = "maximum" if card.kind == "labels" else "mean"
        usage += (
            f" Each of them is a tile of {card.tile} pixels in the size above; take the {pool} "
            "of the output over the tiles of an image."
        )
    return Exported(path, usage, difference)


def _write_state(path: Path, suffix: str, state: State, source: Source, usage: str) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        about = {"selfsight": json.dumps({**source.about, "code": usage})}
        with replacing(path) as temporary:
            save_file(state, temporary, metadata=about)
        return
    import torch

    with replacing(path) as temporary:
        torch.save(state, temporary)
