"""Files that appear whole or not at all: atomic writes, checksums, and reading them back."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight.faults import disk_error, sentence_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKSUM = "checksum"
"""Key of the checksum in a JSON object and in the header of a weights file."""


def _namespace() -> str:
    """The machine and its process numbers: two containers of one name have different ones."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=3).hexdigest()


_HOST = _namespace()
_LEFTOVER = re.compile(rf"\.{_HOST}-(\d+)\.tmp$")
_cleaned: set[Path] = set()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error.

    File and folder are synchronised, so that a power cut leaves the old file or the new one.

    Raises:
        OSError: the disk is full, read-only or broken; names ``path``, whichever library wrote.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)  # some writers make files that only their owner can read
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except Exception as error:
        if (of_disk := disk_error(error, path, temporary)) is not None:
            raise of_disk from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Some file systems refuse to synchronise a folder; the rename itself has worked there."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: str | Path, *, below: bool = False) -> None:
    """Deletes the temporary files that killed processes of this machine left in a folder.

    Args:
        folder: looked at once a process.
        below: also look into its folders.
    """
    folder = Path(os.path.abspath(folder))
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if below and entry.is_dir(follow_symlinks=False):
                remove_leftovers(entry.path, below=True)
            elif (match := _LEFTOVER.search(entry.name)) and not _alive(int(match[1])):
                os.unlink(entry.path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def digest_of(path: str | Path, *, until: int | None = None) -> str:
    """32 hexadecimal digits over the bytes of a file.

    Args:
        path: of the file.
        until: how many of its bytes count; None: all.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size if until is None else until
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def not_a_folder(path: str | Path) -> str:
    """Why a path is no folder, for a sentence."""
    return "it is a file; name the folder" if Path(path).exists() else "there is no such folder"


def check_output_folder(path: str | Path | None) -> None:
    """Raises ``ValueError`` where a file stands in the place of a folder to write into.

    Verbs call it before they work for minutes; None is a folder that they choose themselves.
    """
    if path is None:
        return
    for place in (Path(path), *Path(path).parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"out {path}: {place} is a file; name another folder.")
            return


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes a value; an object gets a checksum, which `read_json` compares and takes out."""
    if isinstance(value, dict):
        value = {**value, CHECKSUM: _digest_of_value(value)}
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """A value back from its file.

    Raises:
        ValueError: the file is missing, damaged, or was changed after it was written.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is not valid JSON ({error}).") from None
    if isinstance(value, dict) and CHECKSUM in value:
        checksum = value.pop(CHECKSUM)
        if checksum != _digest_of_value(value):
            raise ValueError(
                f"{path} is damaged: its content does not match its checksum. Restore the file, "
                "or delete it and start the command that writes it again."
            )
    return value


def _digest_of_value(value: dict[str, Any]) -> str:
    # In the order of the file: sorted, whole numbers stand elsewhere than the text they become.
    text = json.dumps(value, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def csv_cell(text: str) -> str:
    """Text for a cell of a CSV file, after an apostrophe where a spreadsheet would run it.

    ``=cmd`` is written ``'=cmd``, and `text_of_cell` takes the apostrophe out again.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def text_of_cell(cell: str) -> str:
    """The text that `csv_cell` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_cache(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file that can be made again; where the disk refuses it, says so and goes on."""
    from selfsight.console import say

    try:
        with replacing(path) as temporary:
            write(temporary)
    except OSError as error:
        say(f"Not cached: {sentence_of(error) or error}")


def cached_arrays(
    path: Path, make: Callable[[], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` cache; made and written where it is missing or damaged.

    The checksum counts the file's name, so that one file in the place of another is damage, too.
    """
    import numpy as np

    arrays = _whole_arrays(path) if path.is_file() else None
    if arrays is None:
        arrays = made = make()
        checksum = np.array(_digest_of_arrays(path.name, made))

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as file:
                np.savez_compressed(file, allow_pickle=False, **made, **{CHECKSUM: checksum})

        write_cache(path, write)
    return arrays


def _whole_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception:  # a damaged archive may raise anything; it is made again
        return None
    checksum = arrays.pop(CHECKSUM, None)
    same = checksum is not None and str(checksum) == _digest_of_arrays(path.name, arrays)
    return arrays if same else None


def _digest_of_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.blake2b(name.encode(), digest_size=16)
    for key, array in sorted(arrays.items()):
        digest.update(repr((key, array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()
