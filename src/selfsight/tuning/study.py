"""A study: how it searches, what it searches (a `Problem`), and where it is kept."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator
from tyro.conf import Suppress

from selfsight.files import digest_of, read_json, write_json
from selfsight.fitting.stopping import Look, Mode
from selfsight.networks.specs import code_file
from selfsight.runs.folder import RunFolder
from selfsight.settings import Settings
from selfsight.tuning.space import Space
from selfsight.tuning.storage import database, journal

if TYPE_CHECKING:
    import optuna


class Search(Settings):
    """How a study searches, where it is kept and when it stops."""

    search: tuple[str, ...] = ()
    """SETTING=RANGE words, as in "optimizer.lr=log(1e-4,1)" epochs=5..20 backbone=resnet18,auto,
    or a YAML file of them; `default` is the default space."""
    trials: Annotated[int, Field(ge=1)] = 100
    """Trials of the study, over all workers and all times it was started."""
    minutes: Annotated[float, Field(gt=0.0)] | None = None
    """No trial begins later than this after the command was started."""
    patience_trials: Annotated[int, Field(ge=1)] | None = None
    """The study stops after this many trials in a row without a better value."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How the next trial is chosen: Optuna's TPE, or at random."""
    pruner: Literal["median", "hyperband", "halving", "none"] = "median"
    """How a trial that will not win is ended early; halving is Hyperband's strictest bracket."""
    storage: str | None = None
    """postgresql://USER@HOST/DATABASE for many machines; by default OUT/study.journal."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that this command starts; a study of one worker is a function of its seed."""
    join: bool = False
    """Only work on the trials of a study that another command began, and leave."""
    heartbeat: Suppress[Annotated[int, Field(ge=1)]] = 30
    """Seconds between signs of life in a database; a worker silent for four of them is dead."""

    @model_validator(mode="after")
    def _storage_is_known(self) -> Search:
        if self.storage is not None and not self.storage.startswith("postgresql"):
            raise ValueError(
                f"storage: give postgresql://USER@HOST/DATABASE, or leave it out for a journal "
                f"file in the study's folder (got {self.storage!r})"
            )
        return self


@dataclass
class Outcome:
    """A trial that was trained to its end.

    Attributes:
        value: what trials are compared by.
        curve: the value at each look.
        best: the look that counts, from 1.
        stopped: whether the training was ended early by its own rule.
        trained: the training itself, for the reading of test.
    """

    value: float
    curve: list[float]
    best: int
    stopped: bool = False
    trained: Any = None


@dataclass(kw_only=True)
class Problem(ABC):
    """What a study searches: a subclass for each verb that tunes.

    Attributes:
        settings: of the verb: how it is searched and when it stops.
        folder: where the study is kept.
        about: everything that a trial's value depends on; another one is another study.
        space: of the settings.
        first: parameters of the first trial (the defaults), where the space holds them.
        metric: the name of the value.
        mode: whether a better value is higher or lower.
        looks: looks of a trial at most.
        every: looks between two reports; each is a write to the disk.
        seed: of the sampler.
        notes: sentences for the user.
        cost: what a trial and the reading of test take, in sentences.
        judged_by: what the value is taken of, in words.
        fraction: share of the labels that trials read.
        unit: what a curve has one value for.
        by_probe: the reading of test has several probes of the best trial.
    """

    settings: Search
    folder: Path
    about: Mapping[str, Any]
    space: Space
    first: Mapping[str, Any] | None
    metric: str
    mode: Mode
    looks: int
    every: int = 1
    seed: int = 0
    notes: tuple[str, ...] = ()
    cost: str = ""
    judged_by: str = "on the held-out images"
    fraction: float = 1.0
    unit: str = "validation check"
    by_probe: bool = False

    @abstractmethod
    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        """A trial: a function of its settings and the study's seed.

        Args:
            changes: dotted settings and their values.
            look: called at each look with its number and the best value so far; it may raise.
            number: of the trial, or of the one that this one runs again.

        Raises:
            DivergedError: its numbers are not finite; the trial is pruned.
            ValueError: the settings cannot be used; the trial fails.
        """

    @abstractmethod
    def best_yaml(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the best trial as the YAML file of another verb."""

    def run_again(self, changes: Mapping[str, Any], number: int) -> Outcome:
        """The best trial again, for the reading of test; it must give the same value."""
        return self.run(changes, lambda number, best: None, number)

    @abstractmethod
    def read_test(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any] | None:
        """The best trial beside its controls on test; None where nothing can be read."""

    @abstractmethod
    def facts(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any]:
        """What ``tuning.json`` says of this kind of study; its ``best`` joins that of all."""

    @abstractmethod
    def called(self, probe: str, subject: str) -> str:
        """What sentences call a probe of a subject that stands beside the best trial on test."""

    @property
    def name(self) -> str:
        """Names the study in its storage: a function of `about` alone."""
        text = json.dumps(self.about, sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return f"{self.about['verb']}-{self.about['name']}-{digest}"


def contents(names: Iterable[str]) -> dict[str, Any]:
    """``{"files": {path: checksum}}`` of all names that are files, for `Problem.about`.

    Args:
        names: of methods, backbones and weights; of a folder its weights count. Without any file
            the result is empty, for a study of settings alone has no such key.
    """
    files = {}
    for name in names:
        path = code_file(name) or Path(name)
        path = RunFolder(path).backbone if path.is_dir() else path
        if path.is_file():
            files[str(path)] = digest_of(path)
    return {"files": files} if files else {}


def open_study(problem: Problem) -> optuna.Study:
    """The study of a problem, made where there is none.

    Raises:
        ValueError: the folder holds another study, there is none to join, or the storage cannot
            be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search, path = problem.settings, problem.folder / "study.journal"
    if search.storage is None:
        if search.join and not path.is_file():
            raise ValueError(f"{problem.folder} holds no study to join; start it without --join.")
        storage = journal(path)
        _refuse_another(problem, storage)
    else:
        storage = database(search.storage, search.heartbeat)
    kept = problem.folder / "study.json"  # the trainings lie here, wherever the study is
    before = dict(read_json(kept)) if kept.is_file() else None
    if before is not None and before["about"] != _plain(problem.about):
        raise _another(problem, before["about"])
    names = optuna.get_all_study_names(storage)
    if search.join and problem.name not in names:
        raise ValueError(
            "join: no study with these very settings has begun; start it without --join, and join "
            "it with the same settings."
        )
    study = optuna.create_study(
        study_name=problem.name,
        storage=storage,
        direction="maximize" if problem.mode == "highest" else "minimize",
        pruner=pruner(search.pruner, problem.looks),
        sampler=sampler(problem, 0),
        load_if_exists=True,
    )
    if problem.name not in names:
        study.set_user_attr("about", dict(problem.about))
        if problem.first is not None:
            study.enqueue_trial(dict(problem.first))
    if before is None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"about": _plain(problem.about)})
    return study


def _refuse_another(problem: Problem, storage: optuna.storages.BaseStorage) -> None:
    """A journal holds one study; other settings belong into another folder."""
    import optuna

    for name in optuna.get_all_study_names(storage):
        if name == problem.name:
            continue
        before = optuna.load_study(study_name=name, storage=storage).user_attrs.get("about", {})
        raise _another(problem, before)


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(about, default=str))
    return plain


def _another(problem: Problem, before: Mapping[str, Any]) -> ValueError:
    """The error for a folder that holds another study, by what that one was about."""
    now = _plain(problem.about)
    differing = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
    # The hash of a network of code is that of its file, too.
    if "files" not in differing or not {*differing} <= {"files", "weights"}:
        return ValueError(
            f"{problem.folder} holds a study with other settings "
            f"({', '.join(k for k in differing if k != 'files')}); choose another --out, or "
            "delete the folder."
        )
    old, new = before.get("files", {}), now.get("files", {})
    names = ", ".join(sorted(k for k in {*old, *new} if old.get(k) != new.get(k)))
    return ValueError(
        f"{problem.folder} holds a study that was begun with another content of {names}, so new "
        "trials could not be compared with its own; restore the file, or choose another --out."
    )


def pruner(name: str, looks: int) -> optuna.pruners.BasePruner:
    """Ends a trial that will not win, by its name in `Search` and the looks of a trial."""
    from optuna import pruners

    least = max(1, looks // 27)
    if name == "none":
        return pruners.NopPruner()
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=least, max_resource=looks, reduction_factor=3)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=3)
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, looks // 10))


def sampler(problem: Problem, salt: int) -> optuna.samplers.BaseSampler:
    """Of a trial: a function of the study's seed and ``salt``."""
    from optuna import samplers

    digest = hashlib.blake2b(f"{problem.seed} {salt}".encode(), digest_size=4).digest()
    kind = samplers.RandomSampler if problem.settings.sampler == "random" else samplers.TPESampler
    return kind(seed=int.from_bytes(digest, "big"))


def original_number(trial: optuna.Trial | optuna.trial.FrozenTrial) -> int:
    """The number of the trial that this one runs again, or its own."""
    import optuna

    if isinstance(trial, optuna.Trial):
        trial = trial.study.get_trials(deepcopy=False)[trial.number]
    return int(trial.system_attrs.get("failed_trial", trial.number))


def was_killed(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a failed trial was cut off (and queued again) rather than wrong."""
    reason = str(trial.user_attrs.get("reason", ""))
    return trial.state.name == "FAIL" and not reason.startswith("error")
