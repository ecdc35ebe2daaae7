"""Probes: small models on frozen representations. The folder is the registry: one file a probe.

A file holds ``TITLE``, ``PHRASE`` and ``ORDER`` (literals; see `selfsight.vocabulary.Probe`),
``KINDS`` of target that it can predict, and ``fit(subset, representations) -> Fitted``. Whatever a
probe chooses, it chooses inside the subset.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from selfsight import vocabulary
from selfsight.fitting.head import Fitted
from selfsight.fitting.labelled import Subset
from selfsight.fitting.representations import Representations
from selfsight.settings import unknown

Fit = Callable[[Subset, Representations], Fitted]


def _module(name: str) -> Any:
    """The file of a probe; its words join those of the others."""
    module = importlib.import_module(f"{__name__}.{name}")
    words = vocabulary.Probe(module.TITLE, module.PHRASE, module.ORDER)
    vocabulary.PROBES.setdefault(name, words)
    return module


class _Probes(Mapping[str, Fit]):
    """Name -> ``fit`` of its file, imported when it is asked for."""

    def __getitem__(self, name: str) -> Fit:
        if name not in self:
            raise unknown("probe", name, self)
        fit: Fit = _module(name).fit
        return fit

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(module.name for module in pkgutil.iter_modules(__path__)))

    def __len__(self) -> int:
        return len(list(iter(self)))


PROBES: Mapping[str, Fit] = _Probes()


def probes_of(kind: str) -> list[str]:
    """Names of the probes that can predict a kind of target."""
    return [name for name in PROBES if kind in _module(name).KINDS]
