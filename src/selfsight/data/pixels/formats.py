"""The formats that are read: names of files, first bytes, and the decoders that are installed."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from selfsight.data.pixels.dicom import is_dicom

FORMATS = (
    "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF", "JXL", "QOI",
    "SGI", "PSD", "DDS", "ICO",
)  # fmt: skip
"""What Pillow may open: raster formats that run nothing. MPO is opened as JPEG."""
NAMES = {
    "PNG": ".png .apng", "JPEG": ".jpg .jpeg .jpe .jfif .mpo", "WEBP": ".webp",
    "TIFF": ".tif .tiff .btf", "BMP": ".bmp .dib", "GIF": ".gif", "PPM": ".pgm .ppm .pnm .pbm .pfm",
    "AVIF": ".avif .avifs", "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c", "QOI": ".qoi",
    "HEIF": ".heic .heif .hif .heics .heifs", "JXL": ".jxl", "SGI": ".sgi", "PSD": ".psd",
    "DDS": ".dds", "ICO": ".ico", "DICOM": ".dcm .dicom",
}  # fmt: skip
FORMAT_OF = {suffix: name for name, suffixes in NAMES.items() for suffix in suffixes.split()}
SUFFIXES = frozenset(FORMAT_OF)
PLUGINS = {"HEIF": ("pillow_heif", "selfsight[heif]"), "JXL": ("pillow_jxl", "pillow-jxl-plugin"),
           "DICOM": ("pydicom", "selfsight[dicom]")}  # fmt: skip
"""Format -> the module that reads it, and what to install for it."""
START = 132
"""Bytes of a file that tell its format."""
OTHERS = frozenset(
    [
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".log",
        ".py",
        ".ipynb",
        ".sh",
        ".toml",
        ".ini",
        ".cfg",
        ".pdf",
        ".eps",
        ".ps",
        ".svg",
        ".zip",
        ".gz",
        ".bz2",
        ".xz",
        ".7z",
        ".rar",
        ".tar",
        ".tgz",
        ".parquet",
        ".arrow",
        ".feather",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
        ".mat",
        ".pkl",
        ".pickle",
        ".pt",
        ".pth",
        ".onnx",
        ".safetensors",
        ".bin",
        ".db",
        ".sqlite",
        ".xls",
        ".xlsx",
        ".doc",
        ".docx",
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".wav",
        ".mp3",
        ".c",
        ".cpp",
        ".h",
        ".js",
        ".css",
        ".lock",
        ".exe",
        ".dll",
    ]
)
"""Names that are known to be no images: their first bytes are not looked at."""


def format_of(start: bytes) -> str | None:
    """The format of a file by its first `START` bytes; None where it is none that is known."""
    if is_dicom(start):
        return "DICOM"
    if start[4:8] == b"ftyp":
        brands = start[8:32]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        known = (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")
        return "HEIF" if brands[:4] in known else None
    if start[:4] == b"RIFF":
        return "WEBP" if start[8:12] == b"WEBP" else None
    if start[:1] == b"P" and start[1:2] in b"123456Ff" and start[2:3] in b" \n\r\t#":
        return "PPM"
    starts = {
        b"\x89PNG\r\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF",
        b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"BM": "BMP", b"qoif": "QOI",
        b"\xff\x0a": "JXL", b"\0\0\0\x0cJXL ": "JXL", b"\0\0\0\x0cjP  ": "JPEG2000",
        b"\xff\x4f\xff\x51": "JPEG2000", b"8BPS": "PSD", b"DDS ": "DDS", b"\x01\xda": "SGI",
    }  # fmt: skip
    return next((name for first, name in starts.items() if start.startswith(first)), None)


def start_of(encoded: bytes | Path) -> bytes:
    """The first bytes of an encoded image."""
    if isinstance(encoded, bytes):
        return encoded[:START]
    with encoded.open("rb") as file:
        return file.read(START)


@cache
def readable() -> tuple[str, ...]:
    """The `FORMATS` that the installed Pillow and its plugins open; registers the plugins."""
    from PIL import Image

    Image.init()
    if find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    if find_spec("pillow_jxl") is not None:
        import pillow_jxl  # noqa: F401 - registers itself
    return tuple(name for name in FORMATS if name in Image.OPEN)


def missing(name: str | None) -> str | None:
    """``HEIF, which needs selfsight[heif]`` where a format has no decoder here, else None."""
    if name is None or name in readable() or (name == "DICOM" and find_spec("pydicom")):
        return None
    needs = PLUGINS[name][1] if name in PLUGINS else "a Pillow that has it"
    return f"{name}, which needs {needs}"


def suffix_of(name: str) -> str:
    """The suffix of a file's name in lower case; a number is none (``IM.000001``)."""
    suffix = os.path.splitext(name)[1].lower()
    return "" if suffix[1:].isdigit() else suffix
