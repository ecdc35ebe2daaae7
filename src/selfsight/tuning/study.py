"""A study: its trials, the workers that make them, and when it ends."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsight.console import say
from selfsight.training.stopping import Mode, StoppingRule
from selfsight.tuning.settings import Search
from selfsight.tuning.storage import RETRIES, Workers, database, journal

if TYPE_CHECKING:
    import optuna

Objective = Callable[["optuna.Trial"], float]
_POLL = 1.0  # seconds between looks at the trials of other workers
_FAILURES = 3  # failed trials, and none other, after which the study is given up


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
        pruner=_pruner(plan),
        sampler=_sampler(plan, 0),
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


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    from optuna import pruners

    if plan.search.pruner == "none":
        return pruners.NopPruner()
    if plan.search.pruner == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=max(1, plan.epochs // 27), max_resource=plan.epochs, reduction_factor=3
        )
    warmup = max(1, plan.epochs // 20)
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)


def _sampler(plan: Plan, salt: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    digest = hashlib.blake2b(f"{plan.seed} {salt}".encode(), digest_size=4).digest()
    seed = int.from_bytes(digest, "big")
    if plan.search.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed)


def work(plan: Plan, study: optuna.Study, objective: Objective, number: int | None = None) -> str:
    """Makes trials until the study is over; why it ended.

    Args:
        plan: of the study.
        study: opened by this process.
        objective: a trial's value; raises ``TrialPruned``, or ``ValueError`` for settings that
            cannot be used.
        number: of this worker among those of one command; None: it joined from elsewhere.

    Raises:
        ValueError: the first trials have all failed.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    began = time.monotonic()
    if number is None:  # draws of its own: nobody knows which worker this is
        number = int.from_bytes(os.urandom(4), "big")
    workers = Workers(plan.folder / "workers") if plan.search.storage is None else None
    with workers or nullcontext():
        while True:
            _fail_the_dead(study, workers)
            reason = _over(plan, study, time.monotonic() - began)
            if reason:
                return reason
            states = _states(study)
            if states["finished"] + states["RUNNING"] >= plan.search.trials:
                time.sleep(_POLL)  # another worker may die, and its trial be left to us
                continue
            # The sampler is made anew, so that a study taken up again goes on as if never left.
            study.sampler = _sampler(plan, states["all"] + 1_000_003 * number)
            before = _best(study)
            one = _one(study, objective, workers)
            try:
                with _no_experiments():
                    study.optimize(one, n_trials=1, catch=(ValueError, RuntimeError))
            except UpdateFinishedTrialError:
                say("A trial was given up: it showed no sign of life in time.")
            _say(plan, study, before)


def _one(study: optuna.Study, objective: Objective, workers: Workers | None) -> Objective:
    def one(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", workers.name if workers else f"{_host()}-{os.getpid()}")
        began = time.monotonic()
        try:
            value = objective(trial)
        except KeyboardInterrupt:
            trial.set_user_attr("reason", "interrupted")
            _take_up_again(study, study.trials[trial.number])
            raise
        except (ValueError, RuntimeError) as error:
            trial.set_user_attr("reason", f"error: {error}"[:500])
            raise
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - began, 3))
        return value

    return one


def _fail_the_dead(study: optuna.Study, workers: Workers | None) -> None:
    """Trials of dead workers fail and are queued again; in a database, Optuna itself does it."""
    import optuna

    if workers is None:
        with _no_experiments():
            optuna.storages.fail_stale_trials(study)
        return
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        name = trial.user_attrs.get("worker")
        if workers.alive(name) if name else workers.others():
            continue
        with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # others were first
            study.tell(trial.number, state=state.FAIL)
            say(f"Trial {trial.number}: its worker was killed; it is taken up again.")
            _take_up_again(study, trial)


def _take_up_again(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Queues a trial's parameters; notes where they come from as Optuna's heartbeat does."""
    import optuna

    history = [*trial.system_attrs.get("retry_history", []), trial.number]
    if len(history) > RETRIES:
        return
    kept = {k: v for k, v in trial.system_attrs.items() if k == "fixed_params"}
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={
                **kept,
                "failed_trial": trial.system_attrs.get("failed_trial", trial.number),
                "retry_history": history,
            },
        )
    )


def original_number(trial: optuna.Trial | optuna.trial.FrozenTrial) -> int:
    """The number of the trial that this one takes up again, or its own."""
    import optuna

    if isinstance(trial, optuna.Trial):
        trial = trial.study.get_trials(deepcopy=False)[trial.number]
    return int(trial.system_attrs.get("failed_trial", trial.number))


def was_killed(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a failed trial was cut off (and queued again) rather than wrong."""
    reason = str(trial.user_attrs.get("reason", ""))
    return trial.state.name == "FAIL" and not reason.startswith("error")


def _states(study: optuna.Study) -> dict[str, int]:
    counts = {"RUNNING": 0, "finished": 0, "all": 0}
    for trial in study.get_trials(deepcopy=False):
        counts["all"] += trial.state.name != "WAITING"
        if trial.state.name == "RUNNING":
            counts["RUNNING"] += 1
        elif trial.state.is_finished() and not was_killed(trial):
            counts["finished"] += 1
    return counts


def _over(plan: Plan, study: optuna.Study, seconds: float) -> str:
    """Why no trial may begin any more; empty while one may. A function of the storage and time."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    done = [t for t in trials if not was_killed(t)]
    failed = [t for t in done if t.state.name == "FAIL"]
    if len(failed) == len(done) >= min(_FAILURES, plan.search.trials):
        raise ValueError(
            f"the first {len(failed)} trials have all failed; the last one with "
            f"{failed[-1].user_attrs.get('reason', 'no reason given')}"
        )
    if len(done) >= plan.search.trials:
        return f"{plan.search.trials} trials were made"
    if plan.search.no_better is not None:
        done.sort(key=lambda t: t.datetime_complete.timestamp() if t.datetime_complete else 0.0)
        rule = StoppingRule(patience=plan.search.no_better, mode=plan.mode)
        values = (t.value if t.state.name == "COMPLETE" else None for t in done)
        if rule.steps(float("nan") if value is None else value for value in values):
            return f"nothing was better for {plan.search.no_better} trials"
    if plan.search.minutes is not None and seconds >= 60 * plan.search.minutes:
        return f"{plan.search.minutes:g} minutes have passed"
    return ""


def _best(study: optuna.Study) -> float | None:
    try:
        return study.best_value
    except ValueError:
        return None


def _say(plan: Plan, study: optuna.Study, before: float | None) -> None:
    """A line where a trial was the best, and at every tenth."""
    best, count = _best(study), _states(study)["finished"]
    if best == before and count % 10:
        return
    shown = "nothing finished yet" if best is None else f"best {plan.metric} {best:.4g}"
    if best is not None and best != before:
        shown += f", new: {_words(study.best_params)}"
    say(f"trial {count}/{plan.search.trials}   {shown}")


def _words(params: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in params.items()
    )


def share(workers: int, target: Callable[..., None], *arguments: Any) -> None:
    """Runs ``target(*arguments, number)`` in that many processes until all have ended.

    Raises:
        ValueError: every one of them failed; a worker that was killed is only said.
    """
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(target=target, args=(*arguments, number), name=f"worker-{number}")
        for number in range(workers)
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join()
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
    for process in started:
        if process.exitcode and process.exitcode < 0:
            say(f"{process.name} was killed (signal {-process.exitcode}).")
    if all(process.exitcode for process in started):
        raise ValueError("every worker of the study failed; what they said is above.")


def _host() -> str:
    import socket

    return socket.gethostname()


@contextmanager
def _no_experiments() -> Iterator[None]:
    """Heartbeats are experimental to Optuna; our users need not read it at every trial."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
