"""Files of the hub and of torch's servers: the cache first, then the network, never a long wait."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch

_SECONDS = 3.0  # for a first answer of a server


def from_hub(
    name: str, repository: str, revision: str | None, files: list[str]
) -> tuple[Path, str]:
    """The first of the files that a repository has, and ``repository@commit``.

    Args:
        name: of the backbone, for messages.
        repository: ``OWNER/NAME``.
        revision: a branch, tag or commit; None: the main branch.
        files: names in it.

    Raises:
        ValueError: none is in the cache, and the hub cannot be reached or has none.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for file in files:
        found = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return _named(repository, found)
    wanted = f"{repository} ({' or '.join(files)})"
    _reachable_or(name, wanted, ENDPOINT, offline=_hub_is_offline())
    problem: Exception | None = None
    for file in files:
        try:
            return _named(repository, hf_hub_download(repository, file, revision=revision))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            problem = error
    raise ValueError(f"backbone {name!r}: {wanted} cannot be had: {problem}")


def _named(repository: str, path: str) -> tuple[Path, str]:
    parts = Path(path).parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else "?"
    return Path(path), f"{repository}@{commit}"


def _hub_is_offline() -> bool:
    flags = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(flag, "").upper() in ("1", "ON", "YES", "TRUE") for flag in flags)


def cached_by_torch(name: str, url: str) -> Path:
    """The file that torch keeps of an address, downloaded unless it is there.

    Raises:
        ValueError: it is not in the cache, and the server cannot be reached or has it not.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.is_file():
        _reachable_or(name, url, url, offline=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise ValueError(f"backbone {name!r}: {url} cannot be had: {error}") from None
    return path


def cached_weights() -> list[str]:
    """Starts that other libraries have downloaded: names for ``--backbone``, files for `--weights`.

    Models of the Hugging Face hub count where the library that reads them is installed; whether
    they are networks for images is not looked at here.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    files = Path(torch.hub.get_dir()) / "checkpoints"
    found = [str(path) for path in sorted(files.glob("*.pt*")) if path.is_file()]
    hub = os.environ.get("HF_HUB_CACHE")
    folder = Path(hub or Path(os.environ.get("HF_HOME") or home / "huggingface") / "hub")
    for path in sorted(folder.glob("models--*--*")):
        _, owner, name = path.name.split("--", 2)
        if not any(path.glob("snapshots/*/*")):
            continue
        library = "timm" if owner == "timm" else "transformers"
        if find_spec(library) is not None:
            found.append(f"timm:{name}" if owner == "timm" else f"transformers:{owner}/{name}")
    return found


def _reachable_or(name: str, wanted: str, address: str, *, offline: bool) -> None:
    """Raises at once where a server cannot be reached, with what would have been taken from it."""
    server = urlparse(address).hostname or ""
    proxies = any(os.environ.get(p) for p in ("https_proxy", "HTTPS_PROXY", "all_proxy"))
    why = "HF_HUB_OFFLINE is set" if offline else ""
    if not offline and not proxies:
        try:
            socket.create_connection((server, 443), timeout=_SECONDS).close()
        except OSError as error:
            why = f"{server} cannot be reached ({error})"
    if why:
        raise ValueError(
            f"backbone {name!r}: {wanted} is not in the cache, and {why}. Download it where there "
            "is a network and copy the cache, or give the file with --weights FILE."
        )
