"""Errors of disks, memory and libraries as one sentence, and the last resort for all others."""

from __future__ import annotations

import dis
import errno
import os
import re
import tempfile
import traceback
from pathlib import Path

from selfsight.plugins import OWN, described, place_of

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space, or write to another disk",
    errno.EDQUOT: "your quota on this disk is used up; delete something, or write to another disk",
    errno.EFBIG: "the file is larger than the disk or a limit (ulimit -f) allows",
    errno.EROFS: "this disk can only be read; name a folder elsewhere with --out",
    errno.EACCES: "you have no permission; change it (chmod, chown), or name another path",
    errno.EPERM: "the system does not permit it; change the owner, or name another path",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a file stands where a folder is needed; name another path, or move the file",
    errno.EEXIST: "a file stands where a folder is needed; name another path, or move the file",
    errno.EISDIR: "a folder stands where a file is needed; name another path, or move the folder",
    errno.ENOTEMPTY: "the folder is not empty; name another path",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter one",
    errno.ELOOP: "its symbolic links lead back to themselves; name the real path",
    errno.EIO: "the disk reports a fault while reading or writing; check the disk",
    errno.ESTALE: "the network disk has lost this file; start the command again",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.ENOMEM: "there is not enough memory; use smaller batches or fewer images",
    errno.EBUSY: "another program is using it; start the command again when that has ended",
    errno.ETXTBSY: "another program is using it; start the command again when that has ended",
    errno.EINVAL: "the system refuses this name or operation; name another path",
}
"""Error number -> what is wrong and what to do."""

_NUMBER = re.compile(r"(?:os error |\[[Ee]rrno )(\d+)")
_WRITE_FAILED = re.compile(
    r"PytorchStreamWriter failed|file write failed|unexpected pos|requested and \d+ written"
    r"|[Ii]/?[Oo] error",
)
_PROCESS_LOST = re.compile(
    r"gloo/transport|NCCL error|ncclRemoteError|Connection (?:reset|closed) by peer"
    r"|process group watchdog",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|[Uu]nable to allocate")


def disk_error(error: Exception, path: Path, temporary: Path) -> OSError | None:
    """The error that a library raised while it wrote a file, with number and path of the file.

    PyTorch, safetensors and numpy raise errors of their own where a disk is full.

    Args:
        error: what was raised.
        path: of the file.
        temporary: what it is called while it is written.

    Returns:
        None where the error is none of a disk.
    """
    if isinstance(error, OSError) and error.errno is not None:
        named = error.filename
        if named is not None and os.fspath(named) != os.fspath(temporary):
            return None
        return OSError(error.errno, error.strerror or os.strerror(error.errno), str(path))
    text = str(error)
    if number := _NUMBER.search(text):
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    if isinstance(error, OSError | RuntimeError) and _WRITE_FAILED.search(text):
        number_of = errno.ENOSPC if _full(path) else errno.EIO
        return OSError(number_of, os.strerror(number_of), str(path))
    return None


def _full(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < 1 << 20 or disk.f_favail == 0


def sentence_of(error: BaseException) -> str | None:
    """One sentence for an error of a disk, memory, a lost process or bad input; else None.

    A `ValueError` counts as bad input where selfsight itself, or a file of the user's own, raised
    it: those of other libraries ("embedded null byte") do not say what they are about. Any other
    error of such a file is named with its line.
    """
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return (
            "There is not enough memory. Use smaller batches (--batch-size), fewer images "
            f"(--limit) or a smaller image size.{_detail(error)}"
        )
    if isinstance(error, RuntimeError) and _PROCESS_LOST.search(str(error)):
        return (
            "Another process of this training has ended: it was killed, ran out of memory, or its "
            "machine is gone. This one stops too; the same command goes on from the last "
            "checkpoint."
        )
    if type(error).__name__ == "OutOfMemoryError":
        return (
            "The GPU's memory is full. Lower --batch-size (with --accumulate-batches for the same "
            "step), or use --precision bf16."
        )
    if isinstance(error, ValueError) and raised_by_us(error):
        return str(error)
    return _of_own_file(error)


def _of_own_file(error: BaseException) -> str | None:
    """The sentence for an error in a method, backbone or verb of the user's own; None: in none.

    What a verb calls is selfsight; what selfsight calls for a method, the method has asked for.
    """
    place = place_of(error)
    if place is None or (place.what == "verb" and not place.innermost):
        return None
    words = described(error).removesuffix(f" (line {place.line})")
    end = f" The traceback is in {path}." if (path := _saved(error, place.path)) else ""
    return f"{place.what} {place.path}, line {place.line}: {words}.{end}"


def _detail(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f" ({text[0][:200]})" if text else ""


def _of_system(error: OSError) -> str | None:
    names = [os.fsdecode(n) for n in (error.filename, error.filename2) if _is_path(n)]
    remedy = REMEDIES.get(error.errno or 0)
    if not names:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            assert remedy is not None
            return f"{remedy[0].upper()}{remedy[1:]}."
        return None
    name = os.path.join(*names[-1:]) or "the empty path"
    if remedy is None:
        remedy = (error.strerror or str(error) or type(error).__name__).lower()
    return f"{name}: {remedy}."


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes)


def raised_by_us(error: BaseException) -> bool:
    """Whether a ``raise`` in the code of selfsight, or of a file that it ran, made the error."""
    place = error.__traceback__
    if place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    code, own = place.tb_frame.f_code, place.tb_frame.f_globals.get("__name__", "")
    if not (os.path.abspath(code.co_filename).startswith(_PACKAGE) or own.startswith(OWN)):
        return False
    return dis.opname[code.co_code[place.tb_lasti]] == "RAISE_VARARGS"


def _saved(error: BaseException, head: str) -> str | None:
    """The file that the traceback of an error was written to, below a line; None: it cannot be."""
    text = "".join(traceback.format_exception(error))
    try:
        descriptor, path = tempfile.mkstemp(prefix="selfsight-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{head}\n\n{text}")
    except OSError:
        return None
    return path


def last_resort(error: BaseException, command: str) -> str:
    """The sentences for an error that nobody foresaw; its traceback is saved in a file."""
    if path := _saved(error, f"selfsight {command}"):
        saved = f"The traceback is in {path}; please send it with your report."
    else:
        text = "".join(traceback.format_exception(error))
        saved = f"The traceback could not be saved:\n{text}"
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return (
        f"{command.split(' ')[0] or 'the command'} failed with an error that selfsight did not "
        f"foresee ({reason}). {saved} Files written before are whole: the same command goes on "
        "from the last checkpoint where it trains, and starts anew otherwise."
    )
