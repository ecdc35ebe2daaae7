"""Tar shards in a store: ``s3://``, ``gs://``, ``hf://``, ``https://`` and what else fsspec reads.

Only the index of the shards is kept on this machine; an image is one request for a range of bytes.
Where the decoded images fit on the disk of the cache folder, they are fetched once for it; else
they are fetched whenever they are read, each once an epoch.
"""

from __future__ import annotations

from pathlib import Path

from selfsight.data.reading import Asked
from selfsight.data.sources.shards import listed
from selfsight.data.sources.steps.listing import Listing
from selfsight.data.sources.steps.shard_files import is_url, remote_shards

ORDER = 10
"""Before ``hf:``, which is a set of the hub through its own library."""


def opens(path: str | Path) -> bool:
    """Names with ``://``."""
    return is_url(path)


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of shards in a store, undecoded; see `selfsight.data.sources.shards`.

    Args:
        path: of a shard, a folder of shards, or a pattern, with its protocol.
        asked: columns that the user named.

    Raises:
        ValueError: the store or the shards cannot be read, or there are no images.
    """
    return listed(str(path), *remote_shards(str(path)), asked)
