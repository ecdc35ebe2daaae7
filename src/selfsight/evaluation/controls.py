"""The trained backbone and the controls it stands beside, as representations of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.console import counted, progress
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.material import CachedNetwork, Material
from selfsight.evaluation.subject import Identity, Representation, Subject
from selfsight.fitting.representation_cache import cache_key, weights_key
from selfsight.fitting.representations import Representations, calibrate, raw_pixels
from selfsight.networks.backbones import Backbone
from selfsight.runs.run import Run, load_run
from selfsight.training.settings import FREE
from selfsight.training.start import kept_start
from selfsight.vocabulary import run_names

CHEAP = 4_000_000
"""Pixels through a network up to which an initialisation is cheap."""
_OF_SEED = ("seed", *FREE)
"""Settings in which two seeds of one training may differ."""


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
        ValueError: a run differs in more than the seed, or does not differ in it.
    """
    assert subject.identity is not None
    seeds, drawn = [], {material.run.plain.get("seed"): material.run}
    hashes = {subject.identity["weights"]: material.run}
    for run in runs:
        unlike = unlike_in(material.run, run)
        if unlike:
            raise ValueError(
                f"replicates: {run} and {material.run} differ in more than the seed of the "
                f"training ({unlike[0]}); give it as one of the --controls."
            )
        backbone = run.backbone(allow_code=material.allow_code)
        material.shape(backbone, kind, run)
        network = CachedNetwork.of(material, f"trained-{run.name}", run, backbone)
        seed, hashed = run.plain.get("seed"), network.hashed
        if (same := drawn.get(seed) or hashes.get(hashed)) is not None:
            what = f"seed {seed}" if seed in drawn else "weights"
            raise ValueError(
                f"replicates: {run} and {same} have the same {what}, so they are one training "
                "seed; name runs of other seeds (pretrain --seed)."
            )
        drawn[seed] = hashes[hashed] = run
        seeds.append(network.represented())
    return replace(subject, seeds=tuple(seeds))


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
    trained = material.run.backbone(allow_code=material.allow_code)
    hashed = weights_key(trained)  # of the network alone: the representation may be another one
    own = "output" if trained.pooling is None else trained.pooling.kind
    like = own if material.representation == "run" else material.kind
    material.shape(trained, like, material.run)
    found = [_of_network(material, "trained", material.run, trained)]
    notes = []
    for control in controls:
        if isinstance(control, Run):
            found.append(_of_run(material, control))
        elif control == "start":
            start = kept_start(material.run.folder, allow_code=material.allow_code)
            if start is not None:
                material.shape(start, like, material.run)
                made = _of_network(material, control, material.run, start)
                found.append(replace(made, identity=None))
        elif control == "untrained":
            found.append(_untrained(material, like, trained.outputs))
        else:
            found.append(Subject("pixels", (_pixels(material),)))
    found = _named(found, known or {})
    damaged = max(r.damaged for subject in found for r in subject.of_draw)
    if damaged:
        notes.append(
            f"{counted(damaged, 'image has', 'images have')} representations that are not "
            "finite (their pixels are not, "
            "or the network overflows); they are taken as zero."
        )
    return found, hashed, like, notes


def _of_run(material: Material, run: Run) -> Subject:
    """Another run, called by its folder for now."""
    backbone = run.backbone(allow_code=material.allow_code)
    if backbone.spec.channels != material.images.channels:
        raise ValueError(
            f"control {run.folder.path}: its backbone takes "
            f"{counted(backbone.spec.channels, 'channel')} and "
            f"{material.images.name} has {material.images.channels}."
        )
    material.shape(backbone, material.kind, run)
    return _of_network(material, run.name, run, backbone)


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


def _of_network(material: Material, name: str, run: Run, backbone: Backbone) -> Subject:
    """A network of a run as it is."""
    network = CachedNetwork.of(material, name, run, backbone)
    identity = {"run": str(run.path), "weights": network.hashed}
    return network.subject(name, (network.represented(),), backbone.outputs, identity)


def _untrained(material: Material, like: Representation, outputs: int) -> Subject:
    """One for each of several initialisations; the views are those of the first.

    Their batch normalisation is calibrated on train images (see `calibrate`), where their
    representations are not in the cache.
    """
    run, train = material.run, material.images.row_ids[material.train].tolist()

    def prepared(seed: int) -> Backbone:
        backbone = run.untrained(seed)
        calibrate(backbone, material.images, material.train, run.statistics, device=material.device)
        material.shape(backbone, like, run)
        return backbone

    def network(seed: int) -> CachedNetwork:
        # Calibrating is a function of the first weights, the pixels, the rows and the statistics.
        before = weights_key(run.untrained(seed))
        hashed = cache_key("calibrated", before, material.fingerprint, train, like)
        backbone = cache(partial(prepared, seed))
        return CachedNetwork(material, f"untrained-{seed}", run, run.spec, hashed, backbone)

    first, seeds = network(0), range(1, initialisations(material.images, material.rows))
    of_draw = (first.represented(), *(network(seed).represented() for seed in seeds))
    return first.subject("untrained", of_draw, outputs)


def _pixels(material: Material) -> Representations:
    train = material.images.row_ids[material.train].tolist()

    def make() -> torch.Tensor:
        with progress("principal components of the pixels"):
            return raw_pixels(material.images, material.rows, material.train)

    return material.kept("pixels", cache_key("pixels", material.fingerprint, train), make)
