"""Everything that is fitted to the labels of one target: each probe, subject and draw of labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress, say
from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation.measured import Measured
from selfsight.evaluation.pooling import Pooling
from selfsight.evaluation.predictions import Predictions
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
from selfsight.evaluation.scratch_comparison import fine_tuned, fine_tuned_subjects, start_of
from selfsight.evaluation.settings import Evaluate
from selfsight.evaluation.subject import Subject
from selfsight.evaluation.summary import Scores, record
from selfsight.fitting.chance import base_rates
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES, probes_of
from selfsight.fitting.representation_choice import best_representation
from selfsight.fitting.scores import score
from selfsight.fitting.search import estimate
from selfsight.runs.labels_read import LabelsRead

FINETUNE = "finetune"
"""The probe that trains the backbone, too."""
CLASSES_SHOWN = 100
"""A matrix of confusions of more classes is not kept."""


@dataclass(frozen=True)
class Fits:
    """Everything that is fitted to the labels of one target.

    Attributes:
        place: what the records have in common.
        tiles: rows that are predicted.
        pooling: of the tiles to images.
        resampling: of the images.
    """

    settings: Evaluate
    results: Results
    measured: Measured
    target: Target
    predictions: Predictions
    place: Row
    tiles: NDArray[np.int64]
    pooling: Pooling
    resampling: Resampling

    @property
    def images(self) -> ImageSet:
        return self.measured.images

    @property
    def draws(self) -> int:
        """Of the labels, at each share below 1."""
        assert self.settings.draws is not None
        return self.settings.draws

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """One of each image that is scored."""
        return self.pooling.heads(self.tiles)

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        return {subject.name: subject for subject in self.measured.found}

    @cached_property
    def labels_before(self) -> dict[str, LabelsRead]:
        """What trainings and choices have read of the target, by subject."""
        return {
            name: LabelsRead.by(lineage, self.images, self.target.name)
            for name, lineage in self.measured.lineages.items()
        }

    @cached_property
    def probes(self) -> list[str]:
        names = [name for name in self.settings.probes if name in probes_of(self.target.kind)]
        fine_tunes = self.settings.finetune and self.measured.material is not None
        return [*names, FINETUNE] if fine_tunes else names

    def names(self, probe: str) -> list[str]:
        """The subjects of a probe, without chance."""
        fine_tunes = probe == FINETUNE
        return list(fine_tuned_subjects(self.subjects) if fine_tunes else self.subjects)

    def draws_at(self, fraction: float) -> int:
        return 1 if fraction == 1.0 else self.draws

    def scores(self) -> list[Scores]:
        """Fits every probe for every subject on every draw of labels."""
        self._announce()
        fractions, train = self.settings.fractions, self.images.rows("train")
        draws = sum(map(self.draws_at, fractions))
        scores: list[Scores] = []
        fits = draws * sum(len(self.names(probe)) + 1 for probe in self.probes)
        with progress(f"fits for {self.target.name}", fits) as step:
            for fraction, probe in itertools.product(fractions, self.probes):
                here = [Scores(probe, name, fraction) for name in (*self.names(probe), "chance")]
                for draw in range(self.draws_at(fraction)):
                    heads, seed = self.pooling.heads(train), self.settings.seed + draw
                    drawn = Subset.drawn(self.images, self.target, heads, fraction, seed)
                    rows = self.pooling.all_of(drawn.rows, train)
                    balanced = self.settings.balanced and probe != FINETUNE
                    subset = replace(drawn, rows=rows, balanced=balanced)
                    for each in here:
                        self._measure(each, subset, draw)
                        step.update()
                scores += here
        return scores

    def _announce(self) -> None:
        probes = ", ".join(probe for probe in self.probes if probe != FINETUNE)
        controls = len(self.measured.found) - 1
        beside = "1 control" if controls == 1 else f"{controls} controls"
        say(f"{self.images.name}, {self.target.name}: {probes} beside {beside}")
        if FINETUNE not in self.probes:
            return
        material, settings, target = self.measured.material, self.settings, self.target
        assert material is not None
        train = self.images.rows("train")
        largest = Subset.drawn(self.images, target, train, max(settings.fractions), settings.seed)
        known = int(target.known[train].sum())
        sizes = [
            max(2, round(fraction * known))
            for fraction in settings.fractions
            for _ in range(self.draws_at(fraction))
        ]
        start = start_of(material, "trained", settings.seed, "run")
        trainings = len(self.names(FINETUNE)) * sizes
        longest = estimate(start, largest, settings.finetuning, trainings)
        say(f"fine-tuning and training from scratch: {longest}.")

    def _measure(self, here: Scores, subset: Subset, draw: int) -> None:
        """One subject on one draw of labels; where all are used, each initialisation of it."""
        probe, name = here.probe, here.subject
        fitted = probe != FINETUNE and name in self.subjects
        count = len(self.subjects[name].of_draw) if fitted and here.label_fraction == 1.0 else 1
        seeds = 1 + len(self.subjects[name].seeds) if fitted else 1
        read = self.labels_before.get(name, LabelsRead(np.zeros(len(self.images), bool)))
        num_labels = read.with_rows(subset.rows, self.images.tile_of)
        here.num_labels = max(here.num_labels, num_labels)
        here.of_seeds, here.seeds = count > 1, seeds
        about = {
            **self.place,
            "probe": probe,
            "subject": name,
            "label_fraction": here.label_fraction,
            "num_labels": num_labels,
            "label_seed": self.settings.seed + draw,
        }
        for number, seed in itertools.product(range(draw, draw + count), range(seeds)):
            output, choice = self._predicted(probe, name, subset, number, seed)
            thresholds = np.array(choice["thresholds"]) if "thresholds" in choice else None
            values = score(self.target, output, self.rows, self.resampling.weights, thresholds)
            which = {"initialisation": number - draw} if count > 1 else {}
            which |= {"initialisation": seed} if seed else {}
            if "representation" in choice:
                which["representation"] = choice["representation"]
            record(self.results, {**about, **which}, values)
            here.of_draw.append(values)
            if number == draw and seed == 0:
                self.results.choices.append({**about, "choice": choice})
                self.predictions.add(about, self.rows, output, keep=draw == 0)
                if draw == 0:
                    self._confusion(about, output)

    def _predicted(
        self, probe: str, name: str, subset: Subset, draw: int, seed: int
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """What a probe makes of the images, and what it chose inside the labels."""
        if name == "chance":
            constant = base_rates(subset)
            output = np.tile(constant, (len(self.rows), 1))
            return output, {"chosen": True, "constant": constant.tolist()}
        if probe == FINETUNE:
            return self._fine_tuned(name, subset, draw)
        candidates = self.subjects[name].candidates(draw, seed)
        kind, fitted = best_representation(PROBES[probe], subset, candidates)
        representations, choice = candidates[kind], dict(fitted.choice)
        if fitted.thresholds is not None:
            choice["thresholds"] = fitted.thresholds.tolist()
        output = fitted.output(representations.at(self.tiles))
        return self.pooling.pooled(self.tiles, output, self.target.kind), choice

    def _fine_tuned(
        self, name: str, subset: Subset, draw: int
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        material = self.measured.material
        assert material is not None
        kind, chosen = material.representation, {}
        if kind == "auto" and name in self.subjects:  # by the linear probe the head starts from
            candidates = self.subjects[name].candidates(draw)
            kind, _ = best_representation(PROBES["linear"], subset, candidates)
            chosen = {"representation": kind} if len(candidates) > 1 else {}
        how = self.settings.finetuning
        output, choice = fine_tuned(material, name, subset, self.tiles, how, kind)
        return self.pooling.pooled(self.tiles, output, self.target.kind), {**choice, **chosen}

    def _confusion(self, about: Row, output: NDArray[np.float32]) -> None:
        """Keeps which classes are taken for which, of the training with the most labels."""
        target, count = self.target, len(self.target.names)
        largest = about["label_fraction"] == max(self.settings.fractions)
        wanted = target.kind == "class" and largest and about["subject"] == "trained"
        if not wanted or count > CLASSES_SHOWN:
            return
        matrix = np.zeros((count, count), np.int64)
        np.add.at(matrix, (target.values[self.rows], output.argmax(1)), 1)
        row = {**about, "names": list(target.names), "matrix": matrix.tolist()}
        self.results.confusion.append(row)
