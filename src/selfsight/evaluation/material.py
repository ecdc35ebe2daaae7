"""What representations are made of, and the networks that make them or read them from the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import progress, say
from selfsight.data.imageset import ImageSet
from selfsight.data.splits import at_most
from selfsight.evaluation.subject import Identity, Pair, Representation, Subject
from selfsight.fitting.representation_cache import cache_key, cached_tensor, weights_key
from selfsight.fitting.representations import Representations, represent, represent_views
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import BackboneSpec
from selfsight.runs.run import Run
from selfsight.training.representation import fit_pooling

_PAIRS = 1_000  # images whose views are compared


@dataclass(frozen=True)
class Material:
    """What representations are made of.

    Attributes:
        run: the run that is measured.
        images: the images it is measured on.
        rows: ``(M,)`` rows that are needed, ascending.
        train: rows that statistics and principal components may be fitted on.
        device: where backbones run.
        allow_code: whether a backbone may be a file of one's own.
        representation: ``output``, ``mean`` or ``stages``, of every subject; ``run``: the run's,
            and of another run its own; ``auto``: ``mean`` or ``stages``, as each probe chooses
            inside its labels, and ``mean`` where there are none.
        folder: of the cache; None: the run's.
    """

    run: Run
    images: ImageSet
    rows: NDArray[np.int64]
    train: NDArray[np.int64]
    device: torch.device
    allow_code: bool = False
    representation: Representation = "run"
    folder: Path | None = None

    @property
    def cache(self) -> Path:
        return self.folder or self.run.folder.representations

    @property
    def kind(self) -> Representation:
        """What backbones give: `Subject.with_choice` takes the mean out of the stages."""
        return "stages" if self.representation == "auto" else self.representation

    @cached_property
    def fingerprint(self) -> str:
        """Of the rows that are needed."""
        return self.images.fingerprint(self.rows)

    def shape(self, backbone: Backbone, kind: Representation, run: Run) -> None:
        """Gives a backbone this representation, unless it has it; fitted on train rows, no label.

        Args:
            backbone: is changed.
            kind: ``run`` leaves it as it is.
            run: whose statistics normalise the images.
        """
        if kind == "output":
            backbone.pooling = None
        elif kind in ("mean", "stages") and getattr(backbone.pooling, "kind", None) != kind:
            fit_pooling(backbone, kind, self.images, self.train, run.statistics, device=self.device)

    def kept(self, name: str, key: str, make: Callable[[], torch.Tensor]) -> Representations:
        """Representations of the rows, read from the cache or made."""
        values = cached_tensor(self.cache, name, key, make)
        return Representations.of(values.to(self.device), self.rows, self.train)


@dataclass(frozen=True)
class CachedNetwork:
    """A network whose representations are read from the cache, or made.

    Attributes:
        material: the images.
        name: of the files in the cache.
        run: whose statistics and views it gets.
        spec: of the network.
        hashed: stands for its weights in the names of the files.
        backbone: gives the network; called where a file is missing.
    """

    material: Material
    name: str
    run: Run
    spec: BackboneSpec
    hashed: str
    backbone: Callable[[], Backbone]

    @classmethod
    def of(cls, material: Material, name: str, run: Run, backbone: Backbone) -> CachedNetwork:
        """A network that is there."""
        return cls(material, name, run, backbone.spec, weights_key(backbone), lambda: backbone)

    def subject(
        self,
        name: str,
        of_draw: tuple[Representations, ...],
        outputs: int,
        identity: Identity | None = None,
    ) -> Subject:
        """With both representations, where each probe chooses between them.

        Args:
            name: in the results.
            of_draw: see `Subject`.
            outputs: width of the network's output.
            identity: of a run.
        """
        subject = Subject(name, of_draw, self.two_views, identity, self.represented_again)
        if self.material.representation != "auto":
            return subject
        return subject.with_choice(outputs, self.material.train)

    def represented(self) -> Representations:
        """Of the whole frames of all rows."""
        material, statistics = self.material, self.run.statistics
        key = cache_key(self.hashed, material.fingerprint, statistics, self.spec.plain())

        def make() -> torch.Tensor:
            say(f"representations of {len(material.rows):,} images: {self.name}")
            with progress(f"preparing {self.name}"):
                network = self.backbone()
            return represent(
                network, material.images, material.rows, statistics, device=material.device
            )

        return material.kept(self.name, key, make)

    def represented_again(self, images: ImageSet, what: str) -> torch.Tensor:
        """Of other images of the same form."""
        backbone, device, statistics = self.backbone(), self.material.device, self.run.statistics
        key = cache_key(self.hashed, images.fingerprint(), statistics, backbone.spec.plain())

        def make() -> torch.Tensor:
            return represent(backbone, images, np.arange(len(images)), statistics, device=device)

        return cached_tensor(self.material.cache, f"{what}-{self.name}", key, make)

    def two_views(self) -> Pair | None:
        """Of at most 1,000 train images, by the first two views of the run's method."""
        material, statistics = self.material, self.material.run.statistics
        views, rows = material.run.views[:2], at_most(material.train, _PAIRS, 9)
        if len(views) < 2 or len(rows) < 2:
            return None
        chosen = material.images.row_ids[rows].tolist()
        plain = [view.plain() for view in views]
        key = cache_key(self.hashed, material.fingerprint, chosen, statistics, plain)

        def make() -> torch.Tensor:
            both = represent_views(
                self.backbone(), material.images, rows, views, statistics, device=material.device
            )
            return torch.stack(both)

        first, second = cached_tensor(material.cache, f"views-{self.name}", key, make).unbind()
        return first, second
