"""What is measured: the trained backbone and the controls it stands beside, as representations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import progress, say
from selfsight.data.imageset import ImageSet
from selfsight.fitting.representations import (
    Representations,
    cache_key,
    cached_tensor,
    calibrate,
    raw_pixels,
    represent,
    represent_views,
    weights_key,
)
from selfsight.networks.backbones import Backbone, BackboneSpec
from selfsight.runs.run import Run, load_run
from selfsight.training.representation import fit_pooling
from selfsight.training.start import kept_start
from selfsight.vocabulary import run_names

_PAIRS = 1_000  # images whose views are compared
CHEAP = 4_000_000
"""Pixels through a network up to which an initialisation is cheap."""
_OF_SEED = ("seed", "out", "trackers", "device")

Representation = Literal["auto", "run", "output", "mean", "stages"]
Pair = tuple[torch.Tensor, torch.Tensor]
Identity = dict[str, str]
"""Of a subject that is a run: ``run``, its path, and ``weights``, their hash."""


@dataclass(frozen=True)
class Subject:
    """Representations under one name in the results.

    Attributes:
        name: one of `selfsight.vocabulary.SUBJECTS`, or how a run is called; unique in the results.
        of_draw: one for all label draws, or several initialisations: draws take one after another
            of them, and where all labels are used each is measured.
        seeds: the same training with other seeds, one for each; draws cross them.
        views: gives the ``(M, F)`` representations of two views of the same images, made when
            they are asked for; None where there are none, as for pixels.
        identity: of a run; None otherwise.
        represent: gives the ``(M, F)`` representations of other images of the same form, which are
            cached under the name that is given; None where there is no network.
        stages: weighted stages beside the standardised mean that is in ``of_draw``, where a probe
            chooses between the two; empty otherwise.
    """

    name: str
    of_draw: tuple[Representations, ...]
    views: Callable[[], Pair | None] = lambda: None
    identity: Identity | None = None
    represent: Callable[[ImageSet, str], torch.Tensor] | None = None
    seeds: tuple[Representations, ...] = ()
    stages: tuple[Representations, ...] = ()

    def at(self, draw: int, seed: int = 0) -> Representations:
        """What is measured without labels; a label draw and a training seed count from 0."""
        return self.seeds[seed - 1] if seed else self.of_draw[draw % len(self.of_draw)]

    def candidates(self, draw: int, seed: int = 0) -> dict[Representation, Representations]:
        """What a probe chooses from, the usual choice first; one alone where there is no choice."""
        found: dict[Representation, Representations] = {"mean": self.at(draw, seed)}
        if self.stages:
            found = {"stages": self.stages[draw % len(self.stages)], **found}
        return found


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
        """What backbones give: `_with_choice` takes the mean out of the stages."""
        return "stages" if self.representation == "auto" else self.representation


def controls_of(names: Sequence[str]) -> list[str | Run]:
    """``start``, ``untrained`` and ``pixels`` as they are, anything else as the run in that folder.

    Raises:
        ValueError: there is no such run.
    """
    controls: dict[object, str | Run] = {}
    for name in names:
        if name in ("start", "untrained", "pixels"):
            controls[name] = name
        else:
            run = load_run(name)
            controls.setdefault(run.path, run)
    return list(controls.values())


def with_seeds(
    material: Material, subject: Subject, runs: Sequence[Run], kind: Representation
) -> Subject:
    """The trained subject together with the same training of other seeds.

    Args:
        material: what the subject is made of.
        subject: the first seed.
        runs: the other seeds.
        kind: of the subject.

    Raises:
        ValueError: a run differs in more than the seed.
    """
    data, seeds = material.images.fingerprint(material.rows), []
    for run in runs:
        unlike = unlike_in(material.run, run)
        if unlike:
            raise ValueError(
                f"replicates: {run} and {material.run} differ in more than the seed of the "
                f"training ({unlike[0]}); give it as one of the --controls."
            )
        backbone = run.backbone(allow_code=material.allow_code)
        shape(backbone, kind, material, run)
        name, key = f"trained-{run.name}", weights_key(backbone)
        made = partial(_itself, backbone)
        seeds.append(_represented(material, data, name, run, made, backbone.spec, key))
    return replace(subject, seeds=tuple(seeds))


def _itself(backbone: Backbone) -> Backbone:
    return backbone


def unlike_in(first: Run, second: Run) -> list[str]:
    """Settings other than the seed and the folder in which two runs differ."""
    ways = [{n: v for n, v in run.plain.items() if n not in _OF_SEED} for run in (first, second)]
    names = dict.fromkeys([*ways[0], *ways[1]])
    return [name for name in names if ways[0].get(name) != ways[1].get(name)]


def subjects(
    material: Material,
    controls: Sequence[str | Run],
    known: Mapping[str, Identity] | None = None,
) -> tuple[list[Subject], str, Representation, list[str]]:
    """The trained backbone first, then each control; the hash of the trained weights; their
    representation; notes.

    Args:
        material: what they are made of.
        controls: from `controls_of`.
            A run that began with random weights has no ``start``.
        known: names of runs beside which these results are kept; no other run gets one of them.

    Raises:
        ValueError: a control that cannot take these images.
    """
    data = material.images.fingerprint(material.rows)
    trained = material.run.backbone(allow_code=material.allow_code)
    hashed = weights_key(trained)  # of the network alone: the representation may be another one
    own = "output" if trained.pooling is None else trained.pooling.kind
    like = own if material.representation == "run" else material.kind
    shape(trained, like, material, material.run)
    key = weights_key(trained)
    found = [_of_network(material, data, "trained", material.run, trained, key)]
    notes = []
    for control in controls:
        if isinstance(control, Run):
            found.append(_of_run(material, data, control))
        elif control == "start":
            start = kept_start(material.run.folder, allow_code=material.allow_code)
            if start is not None:
                shape(start, like, material, material.run)
                made = _of_network(material, data, control, material.run, start, weights_key(start))
                found.append(replace(made, identity=None))
        elif control == "untrained":
            count = initialisations(material.images, material.rows)
            found.append(_untrained(material, data, count, like, trained.outputs))
        else:
            found.append(Subject("pixels", (_pixels(material, data),)))
    found = _named(found, known or {})
    damaged = max(r.damaged for subject in found for r in subject.of_draw)
    if damaged:
        notes.append(
            f"{damaged} images have representations that are not finite (their pixels are not, "
            "or the network overflows); they are taken as zero."
        )
    return found, hashed, like, notes


def shape(backbone: Backbone, kind: Representation, material: Material, run: Run) -> None:
    """Gives a backbone this representation, unless it has it; fitted on train rows, no label.

    Args:
        backbone: is changed.
        kind: ``run`` leaves it as it is.
        material: its images and train rows.
        run: whose statistics normalise the images.
    """
    if kind == "output":
        backbone.pooling = None
    elif kind in ("mean", "stages") and (backbone.pooling is None or backbone.pooling.kind != kind):
        fit_pooling(
            backbone,
            kind,
            material.images,
            material.train,
            run.statistics,
            device=material.device,
        )


def _of_run(material: Material, data: str, run: Run) -> Subject:
    """Another run, called by its folder for now."""
    backbone = run.backbone(allow_code=material.allow_code)
    if backbone.spec.channels != material.images.channels:
        raise ValueError(
            f"control {run.folder.path}: its backbone takes {backbone.spec.channels} channels and "
            f"{material.images.name} has {material.images.channels}."
        )
    shape(backbone, material.kind, material, run)
    return _of_network(material, data, run.name, run, backbone, weights_key(backbone))


def mean_of_stages(stages: torch.Tensor, outputs: int) -> torch.Tensor:
    """The standardised output ``(M, outputs)`` out of weighted stages ``(M, S)``."""
    first: torch.Tensor = stages[:, :outputs] * outputs**0.5
    return first


def _with_choice(subject: Subject, outputs: int, train: NDArray[np.int64]) -> Subject:
    """A subject of weighted stages, with the standardised mean taken out of them.

    The first pooling of the stages is the network's output; there it is divided by the root of its
    width (`selfsight.networks.pooling.StagePooling`).

    Args:
        subject: of the kind ``stages``.
        outputs: width of the network's output.
        train: rows that statistics may be fitted on.
    """
    if subject.of_draw[0].values.shape[1] == outputs:  # a network that shows no stages
        return subject

    def views() -> Pair | None:
        if (pair := subject.views()) is None:
            return None
        return mean_of_stages(pair[0], outputs), mean_of_stages(pair[1], outputs)

    means = tuple(
        replace(
            Representations.of(mean_of_stages(stages.values, outputs), stages.rows, train),
            damaged=stages.damaged,
        )
        for stages in subject.of_draw
    )
    return replace(subject, of_draw=means, views=views, stages=subject.of_draw)


def _named(found: Sequence[Subject], known: Mapping[str, Identity]) -> list[Subject]:
    """Each other run under a name that is no other subject's."""
    runs = [s.identity for s in found[1:] if s.identity is not None]
    taken = [name for name, identity in known.items() if identity not in runs]
    names = iter(run_names([Path(identity["run"]) for identity in runs], taken))
    return [
        replace(s, name=next(names)) if s.identity is not None and i else s
        for i, s in enumerate(found)
    ]


def initialisations(images: ImageSet, rows: NDArray[np.int64]) -> int:
    """How many untrained networks stand beside a trained one: more where they are cheap."""
    return 5 if len(rows) * images.height * images.width <= CHEAP else 3


def _of_network(
    material: Material, data: str, name: str, run: Run, backbone: Backbone, hashed: str
) -> Subject:
    """A network's representations of the whole frames, and of two views of some of them."""
    made = _represented(material, data, name, run, lambda: backbone, backbone.spec, hashed)
    views = partial(_two_views, material, data, name, lambda: backbone, hashed)
    again = partial(_represented_again, material, name, run, lambda: backbone, hashed)
    identity = {"run": str(run.path), "weights": hashed}
    subject = Subject(name, (made,), views, identity, again)
    return _offered(material, subject, backbone.outputs)


def _offered(material: Material, subject: Subject, outputs: int) -> Subject:
    """The subject with both representations, where each probe chooses between them."""
    if material.representation != "auto":
        return subject
    return _with_choice(subject, outputs, material.train)


def _represented(
    material: Material,
    data: str,
    name: str,
    run: Run,
    backbone: Callable[[], Backbone],
    spec: BackboneSpec,
    hashed: str,
) -> Representations:
    """Read from the cache, or made with a backbone that is only then asked for."""
    key = cache_key(hashed, data, run.statistics, spec.plain())

    def make() -> torch.Tensor:
        say(f"representations of {len(material.rows):,} images: {name}")
        with progress(f"preparing {name}"):
            network = backbone()
        return represent(
            network, material.images, material.rows, run.statistics, device=material.device
        )

    return _kept(material, name, key, make)


def _represented_again(
    material: Material,
    name: str,
    run: Run,
    backbone: Callable[[], Backbone],
    hashed: str,
    images: ImageSet,
    what: str,
) -> torch.Tensor:
    """Of other images of the same form, by the same network."""
    rows = np.arange(len(images))
    key = cache_key(hashed, images.fingerprint(), run.statistics, backbone().spec.plain())

    def make() -> torch.Tensor:
        return represent(backbone(), images, rows, run.statistics, device=material.device)

    return cached_tensor(material.cache, f"{what}-{name}", key, make)


def _two_views(
    material: Material, data: str, name: str, backbone: Callable[[], Backbone], hashed: str
) -> Pair | None:
    """Of at most 1,000 train images, by the first two views of the run's method."""
    views = material.run.views[:2]
    rows = material.train
    if len(views) < 2 or len(rows) < 2:
        return None
    if len(rows) > _PAIRS:
        rows = np.sort(np.random.default_rng(9).choice(rows, _PAIRS, replace=False))
    statistics = material.run.statistics
    chosen = material.images.row_ids[rows].tolist()
    key = cache_key(hashed, data, chosen, statistics, [v.plain() for v in views])

    def make() -> torch.Tensor:
        both = represent_views(
            backbone(), material.images, rows, views, statistics, device=material.device
        )
        return torch.stack(both)

    first, second = cached_tensor(material.cache, f"views-{name}", key, make).unbind()
    return first, second


def _untrained(
    material: Material, data: str, count: int, like: Representation, outputs: int
) -> Subject:
    """One for each of so many initialisations; the views are those of the first.

    Their batch normalisation is calibrated on train images (see `calibrate`), where their
    representations are not in the cache.
    """
    run, train = material.run, material.images.row_ids[material.train].tolist()

    def prepared(seed: int) -> Backbone:
        backbone = run.untrained(seed)
        calibrate(backbone, material.images, material.train, run.statistics, device=material.device)
        shape(backbone, like, material, run)
        return backbone

    made = []
    for seed in range(count):
        # Calibrating is a function of the first weights, the pixels, the rows and the statistics.
        hashed = cache_key("calibrated", weights_key(run.untrained(seed)), data, train, like)
        name, backbone = f"untrained-{seed}", cache(partial(prepared, seed))
        made.append(_represented(material, data, name, run, backbone, run.spec, hashed))
        if seed == 0:
            views = partial(_two_views, material, data, name, backbone, hashed)
            again = partial(_represented_again, material, name, run, backbone, hashed)
    subject = Subject("untrained", tuple(made), views, represent=again)
    return _offered(material, subject, outputs)


def _pixels(material: Material, data: str) -> Representations:
    train = material.images.row_ids[material.train].tolist()
    key = cache_key("pixels", data, train)

    def make() -> torch.Tensor:
        with progress("principal components of the pixels"):
            return raw_pixels(material.images, material.rows, material.train)

    return _kept(material, "pixels", key, make)


def _kept(
    material: Material, name: str, key: str, make: Callable[[], torch.Tensor]
) -> Representations:
    values = cached_tensor(material.cache, name, key, make)
    return Representations.of(values.to(material.device), material.rows, material.train)
