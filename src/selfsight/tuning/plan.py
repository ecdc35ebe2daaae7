"""A study before its trials: what it is called, where it is kept, how it samples and prunes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight.fitting.stopping import Mode
from selfsight.tuning.settings import Search
from selfsight.tuning.storage import database, journal

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Plan:
    """A study that has been resolved and not begun.

    Attributes:
        search: how it searches and when it stops.
        folder: where it is kept.
        about: all that a trial's value depends on; another one is another study.
        mode: whether a better value is higher or lower.
        first: parameters of the first trial (the defaults), where the space holds them.
        epochs: of a trial at most.
        seed: of the sampler.
        metric: how the value is called.
    """

    search: Search
    folder: Path
    about: Mapping[str, Any]
    mode: Mode
    first: Mapping[str, Any] | None
    epochs: int
    seed: int
    metric: str

    @property
    def name(self) -> str:
        """Names the study in its storage: a function of `about` alone."""
        text = json.dumps(self.about, sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return f"{self.about['verb']}-{self.about['name']}-{digest}"

    @property
    def journal(self) -> Path:
        return self.folder / "study.journal"


def open_study(plan: Plan) -> optuna.Study:
    """The study of a plan, made where there is none.

    Raises:
        ValueError: the folder holds another study, there is none to join, or the storage cannot
            be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = plan.search
    if search.storage is None:
        if search.join and not plan.journal.is_file():
            raise ValueError(f"{plan.folder} holds no study to join; start it without --join.")
        storage = journal(plan.journal)
        _refuse_another(plan, storage)
    else:
        storage = database(search.storage, search.heartbeat)
    names = optuna.get_all_study_names(storage)
    if search.join and plan.name not in names:
        raise ValueError(
            "join: no study with these very settings has begun; start it without --join, and join "
            "it with the same settings."
        )
    study = optuna.create_study(
        study_name=plan.name,
        storage=storage,
        direction="maximize" if plan.mode == "highest" else "minimize",
        pruner=pruner(plan),
        sampler=sampler(plan, 0),
        load_if_exists=True,
    )
    if plan.name not in names:
        study.set_user_attr("about", dict(plan.about))
        if plan.first is not None:
            study.enqueue_trial(dict(plan.first))
    return study


def _refuse_another(plan: Plan, storage: optuna.storages.BaseStorage) -> None:
    """A journal holds one study; other settings belong into another folder."""
    import optuna

    for name in optuna.get_all_study_names(storage):
        if name == plan.name:
            continue
        before = optuna.load_study(study_name=name, storage=storage).user_attrs.get("about", {})
        now = json.loads(json.dumps(plan.about, default=str))
        differing = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
        raise ValueError(
            f"{plan.folder} holds a study with other settings ({', '.join(differing)}); choose "
            "another --out, or delete the folder."
        )


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What ends a trial that will not win."""
    from optuna import pruners

    if plan.search.pruner == "none":
        return pruners.NopPruner()
    if plan.search.pruner == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=max(1, plan.epochs // 27), max_resource=plan.epochs, reduction_factor=3
        )
    if plan.search.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(
            min_resource=max(1, plan.epochs // 27), reduction_factor=3
        )
    warmup = max(1, plan.epochs // 10)
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)


def sampler(plan: Plan, salt: int) -> optuna.samplers.BaseSampler:
    """Of a trial: a function of the study's seed and ``salt``."""
    from optuna import samplers

    digest = hashlib.blake2b(f"{plan.seed} {salt}".encode(), digest_size=4).digest()
    seed = int.from_bytes(digest, "big")
    if plan.search.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed)
