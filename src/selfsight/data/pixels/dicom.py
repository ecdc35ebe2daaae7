"""DICOM images, through pydicom (``selfsight[dicom]``)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.header import Header
from selfsight.data.pixels.values import value_type

PLACE = slice(128, 132)
"""Of the letters that mark a DICOM file."""
INVERTED = "MONOCHROME1"


def is_dicom(start: bytes) -> bool:
    return start[PLACE] == b"DICM"


def dicom_header(encoded: bytes | Path) -> Header:
    """Sides, channels, and the type of the values after the file's own rescaling.

    Raises:
        ValueError: pydicom is not installed, or the file holds no image.
    """
    data = _dataset(encoded, stop_before_pixels=True)
    if "Rows" not in data:
        raise ValueError("a DICOM file without an image")
    frames = int(data.get("NumberOfFrames") or 1)
    kind, bits = _type(data)
    return Header(
        int(data.Rows), int(data.Columns), 3 if data.get("SamplesPerPixel", 1) == 3 else 1,
        kind, bits, "DICOM", frames,
    )  # fmt: skip


def read_dicom(encoded: bytes | Path) -> NDArray[Any]:
    """The pixels ``(H, W, C)`` of the first frame, rescaled as the file says (Hounsfield units)."""
    from pydicom.pixels import pixel_array

    data = _dataset(encoded, stop_before_pixels=False)
    _check_decoder(data)
    values = np.asarray(pixel_array(data, index=0))
    values = values[..., None] if values.ndim == 2 else values
    kind, bits = _type(data)
    if kind == "float32":
        slope, intercept = _rescaling(data)
        values = values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if data.get("PhotometricInterpretation") == INVERTED and bits is not None:
        values = values.dtype.type(2**bits - 1) - values
    assert value_type(values.dtype) == kind
    return np.ascontiguousarray(values)


def _check_decoder(data: Any) -> None:
    """Raises ``ValueError`` where nothing that is installed reads the file's compression."""
    from pydicom import pixels

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    try:
        known = pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise ValueError(
            f"DICOM compressed as {syntax.name}, which needs pylibjpeg[all] or python-gdcm"
        )


def _type(data: Any) -> tuple[str, int | None]:
    """Of the rescaled values, and the bits that the file declares."""
    if _rescaling(data) != (1.0, 0.0):
        return "float32", None
    width = 8 if int(data.BitsAllocated) <= 8 else 16 if int(data.BitsAllocated) == 16 else 32
    if int(data.get("PixelRepresentation", 0)):
        return f"int{width}", None
    bits = int(data.get("BitsStored", width))
    return f"uint{width}", 8 if width == 8 else bits


def _rescaling(data: Any) -> tuple[float, float]:
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    return float(1 if slope is None else slope), float(intercept or 0)


def _dataset(encoded: bytes | Path, *, stop_before_pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError:
        raise ValueError("DICOM, which needs selfsight[dicom]") from None
    file = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    return pydicom.dcmread(file, stop_before_pixels=stop_before_pixels)
