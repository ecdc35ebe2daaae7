"""The trials of a study: who makes them, what becomes of a killed one, and when it ends."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from selfsight.console import say
from selfsight.fitting.stopping import StoppingRule
from selfsight.kernels.memory_pages import give_leftovers_back
from selfsight.tuning.plan import Plan, sampler
from selfsight.tuning.storage import RETRIES, Workers

if TYPE_CHECKING:
    import optuna

Objective = Callable[["optuna.Trial"], float]
_POLL = 1.0  # seconds between looks at the trials of other workers
_FAILURES = 3  # failed trials, and none other, after which the study is given up


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
            reason = ending(plan, study, time.monotonic() - began)
            if reason:
                give_leftovers_back()  # of trials that ended by an exception
                return reason
            states = _states(study)
            if states["finished"] + states["RUNNING"] >= plan.search.trials:
                time.sleep(_POLL)  # another worker may die, and its trial be left to us
                continue
            # The sampler is made anew, so that a study taken up again goes on as if never left.
            study.sampler = sampler(plan, states["all"] + 1_000_003 * number)
            one = _one(study, objective, workers)
            try:
                with _no_experiments():
                    study.optimize(one, n_trials=1, catch=(ValueError, RuntimeError))
            except UpdateFinishedTrialError:
                say("A trial was given up: it showed no sign of life in time.")
            _say(plan, study, workers.name if workers else _name())


def _one(study: optuna.Study, objective: Objective, workers: Workers | None) -> Objective:
    def one(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", workers.name if workers else _name())
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


def ending(plan: Plan, study: optuna.Study, seconds: float) -> str:
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
    if plan.search.patience_trials is not None:
        done.sort(key=lambda t: t.datetime_complete.timestamp() if t.datetime_complete else 0.0)
        rule = StoppingRule(patience=plan.search.patience_trials, mode=plan.mode)
        values = (t.value if t.state.name == "COMPLETE" else None for t in done)
        if rule.steps(float("nan") if value is None else value for value in values):
            return f"nothing was better for {plan.search.patience_trials} trials"
    if plan.search.minutes is not None and seconds >= 60 * plan.search.minutes:
        return f"{plan.search.minutes:g} minutes have passed"
    return ""


def _say(plan: Plan, study: optuna.Study, worker: str) -> None:
    """A line where this worker's last trial is the best, and at every tenth."""
    count = _states(study)["finished"]
    try:
        best = study.best_trial
    except ValueError:
        if count % 10 == 0:
            say(f"trial {count}/{plan.search.trials}   nothing finished yet")
        return
    trials = study.get_trials(deepcopy=False)
    own = [t.number for t in trials if t.user_attrs.get("worker") == worker]
    new = best.number == max(own, default=-1)
    if not new and count % 10:
        return
    shown = f"best {plan.metric} {best.value:.4g}" + f", new: {_words(best.params)}" * new
    say(f"trial {count}/{plan.search.trials}   {shown}")


def _words(params: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in params.items()
    )


def _name() -> str:
    """Of this worker among those of all machines."""
    import socket

    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def _no_experiments() -> Iterator[None]:
    """Heartbeats are experimental to Optuna; our users need not read it at every trial."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
