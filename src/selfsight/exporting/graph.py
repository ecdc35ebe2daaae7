"""A backbone, with a head where there is one, as one module from raw pixels on; and as ONNX."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsight.data.statistics import Statistics
from selfsight.files import replacing
from selfsight.models.predictor import Predictor
from selfsight.networks.backbones import Backbone
from selfsight.networks.vit import ViT
from selfsight.runs.frame import Frame

TOLERANCE = 1e-4
"""Largest difference to torch that a file may have, relative to the largest number of an output."""


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        backbone: in eval mode.
        statistics: of its channels.
        frame: the images it takes.
        predictor: with its head, or None.
        name: of the run or model.
    """

    backbone: Backbone
    statistics: Statistics
    frame: Frame
    predictor: Predictor | None
    name: str

    @property
    def about(self) -> dict[str, Any]:
        """What a user of the file needs to know, in values that JSON holds."""
        frame, card = self.frame, None if self.predictor is None else self.predictor.card
        known: dict[str, Any] = {
            "backbone": self.backbone.spec.name,
            "mean": list(self.statistics.mean),
            "std": list(self.statistics.std),
            "value_of_1": frame.top,
            "height": frame.height,
            "width": frame.width,
            "channels": frame.channels,
        }
        if card is not None:
            known |= {"target": card.target, "kind": card.kind, "names": list(card.names)}
            if card.thresholds is not None:
                known["thresholds"] = list(card.thresholds)
        return known


class Graph(nn.Module):
    """``(B, C, H, W)`` raw values to representations, and to what the head makes of them.

    Normalisation is inside: bytes go in as they are decoded, 0 to 255, in any dtype.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.backbone = source.backbone
        self.head = None if source.predictor is None else source.predictor.head
        self.unit = 1.0 / source.frame.top
        for name in ("mean", "std"):
            values = torch.tensor(getattr(source.statistics, name), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        unit = images.to(torch.float32) * self.unit
        representations = self.backbone((unit - self.mean) / self.std)
        if self.head is None:
            return (representations,)
        return representations, self.head(representations)


def outputs_of(source: Source) -> list[str]:
    """Names of what the graph gives."""
    if source.predictor is None:
        return ["representations"]
    kind = source.predictor.card.kind
    return ["representations", "numbers" if kind == "number" else "probabilities"]


def write_onnx(path: str | Path, source: Source, *, raw: bool = False) -> float:
    """Writes one ONNX file with a dynamic batch, after onnxruntime gave torch's numbers with it.

    Args:
        path: the file.
        source: what is exported.
        raw: the input has the dtype of the images; else float32 with the same values.

    Returns:
        The largest difference to torch that was seen.

    Raises:
        ValueError: ``onnx``, ``onnxscript`` or ``onnxruntime`` is missing, or the file gives other
            numbers than torch.
    """
    _needed()
    graph = Graph(source).eval()
    frame, names = source.frame, outputs_of(source)
    dtype = getattr(torch, frame.dtype) if raw else torch.float32
    example = torch.zeros(2, frame.channels, frame.height, frame.width, dtype=dtype)
    with _fixed_positions(source.backbone.network, frame), _quiet(), torch.no_grad():
        made = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    for key, value in (("selfsight", json.dumps(source.about)), ("name", source.name)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content = model.SerializeToString()
    difference = _difference(content, graph, frame, dtype)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def _needed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"export to ONNX needs the package {error.name}: pip install 'selfsight[onnx]'."
        ) from None


def _difference(content: bytes, graph: Graph, frame: Frame, dtype: torch.dtype) -> float:
    """The largest difference between onnxruntime and torch on batches of 1, 2 and 5 images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    worst = 0.0
    for count in (1, 2, 5):
        shape = (count, frame.channels, frame.height, frame.width)
        values = random.random(shape, np.float32)
        values[0] *= 0.1  # dark, and noise: what is linear in the pixels would not be enough
        if frame.dtype != "float32":
            values = (values * frame.top).round()
        images = torch.from_numpy(values).to(dtype)
        with torch.no_grad():
            expected = graph(images)
        found = session.run(None, {"images": images.numpy()})
        for mine, theirs in zip(expected, found, strict=True):
            here = float(np.abs(mine.numpy() - theirs).max())
            if not here <= TOLERANCE * max(1.0, float(mine.abs().max())):
                raise ValueError(
                    f"the ONNX file gives other numbers than torch (by {here:.2g}), so it was not "
                    "written; try other versions of onnxscript and onnxruntime."
                )
            worst = max(worst, here)
    return worst


@contextlib.contextmanager
def _fixed_positions(network: nn.Module, frame: Frame) -> Iterator[None]:
    """A ViT's positions as a constant: ONNX has no operator for their resampling."""
    if not isinstance(network, ViT):
        yield
        return
    with torch.no_grad():
        table = network._positions(*network.grid(frame.height, frame.width)).detach().clone()
    network._positions = lambda rows, columns: table  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network._positions


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own lines; its errors are raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
