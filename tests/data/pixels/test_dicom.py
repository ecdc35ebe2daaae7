"""DICOM: exact values, rescaled as the file says, compressed or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.notes import doubts
from selfsight.data.request import open_images

from ..brought import (
    PLAIN,
    ramp,
    save,
)


def dicom(path: Path, values: np.ndarray, bits: int, **attributes: Any) -> None:
    pydicom = pytest.importorskip("pydicom", reason="selfsight[dicom] is not installed")
    from pydicom.uid import ExplicitVRLittleEndian

    kind = "1.2.840.10008.5.1.4.1.1.7"
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, "1.2.3"
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = kind, "1.2.3"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = 0
    for name, value in attributes.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    ("attributes", "right"),
    [
        ({}, lambda values: values),
        (
            {"RescaleSlope": 1, "RescaleIntercept": -1024},
            lambda values: values.astype(float) - 1024,
        ),
        ({"PhotometricInterpretation": "MONOCHROME1"}, lambda values: 4095 - values),
    ],
    ids=["12 bits", "Hounsfield units", "inverted"],
)
def test_dicom_values(
    tmp_path: Path, attributes: dict[str, Any], right: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = ramp(0, 4095, "uint16")[0]
    dicom(tmp_path / "noname", values, 12, **attributes)
    images = open_images(tmp_path, **PLAIN)
    np.testing.assert_array_equal(images.pixels[0, ..., 0], right(values))


def test_dicom_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight.data.pixels import formats

    save(tmp_path / "a.png")
    (tmp_path / "b.dcm").write_bytes(bytes(128) + b"DICM" + bytes(20))
    plain = formats.find_spec
    monkeypatch.setattr(
        formats, "find_spec", lambda name: None if name == "pydicom" else plain(name)
    )
    images = open_images(tmp_path, **PLAIN)
    assert len(images) == 1
    assert any("b.dcm" in n and "selfsight[dicom]" in n for n in doubts(images.notes))


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless", "JPEGLSLossless"])
def test_compressed_dicom_is_exact_or_says_what_it_needs(tmp_path: Path, syntax: str) -> None:
    pydicom = pytest.importorskip("pydicom", reason="selfsight[dicom] is not installed")
    from pydicom import uid

    kind = getattr(uid, syntax)
    values = np.tile(ramp(0, 4095, "uint16")[0], (6, 6))  # a codec wants some pixels
    dicom(tmp_path / "a.dcm", values, 12)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    try:
        data.compress(kind)
    except RuntimeError as error:
        pytest.skip(f"no encoder of {syntax} is installed ({error})")
    data.save_as(tmp_path / "a.dcm")
    assert pydicom.dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID == kind
    images = open_images(tmp_path, **PLAIN)
    assert (images.value_scale.type, images.value_scale.bits) == ("uint16", 12)
    np.testing.assert_array_equal(images.pixels[0, ..., 0], values)


def test_a_compression_without_its_decoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pydicom = pytest.importorskip("pydicom", reason="selfsight[dicom] is not installed")
    from pydicom.uid import RLELossless

    dicom(tmp_path / "a.dcm", ramp(0, 4095, "uint16")[0], 12)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.compress(RLELossless)
    data.save_as(tmp_path / "a.dcm")

    class Absent:
        is_available = False

    monkeypatch.setattr("pydicom.pixels.get_decoder", lambda syntax: Absent())
    with pytest.raises(ValueError, match=r"a\.dcm \(DICOM compressed as RLE.*pylibjpeg"):
        open_images(tmp_path)
