from __future__ import annotations

from pathlib import Path

import pytest

from selfsight.neighbours.build import IndexImages, index
from selfsight.neighbours.index import Index


@pytest.fixture(scope="session")
def digits_index(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """All digits, by a network with the weights of a seed."""
    out = tmp_path_factory.mktemp("indexes") / "digits"
    return index(IndexImages(run=str(digits_run), out=str(out), device="cpu"))
