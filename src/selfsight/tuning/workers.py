"""Who makes the trials of a study: one process or several, and what becomes of a killed one.

A worker is a process that joins the study. When one dies this is reported at once, whatever killed
it, and the others run its trial again.
"""

from __future__ import annotations

import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import torch

from selfsight.console import counted, progress, say, warn
from selfsight.fitting.stopping import DivergedError, Stopping
from selfsight.kernels.memory_pages import give_leftovers_back
from selfsight.stops import requested
from selfsight.tuning.processes import run_processes
from selfsight.tuning.storage import RETRIES, Workers
from selfsight.tuning.study import Problem, Search, open_study, original_number, sampler, was_killed

if TYPE_CHECKING:
    import optuna

_POLL = 1.0  # seconds between looks at the trials of other workers
_FAILURES = 3  # failed trials, and none other, after which the study is given up
Prepare = Callable[..., Problem]
"""Settings of a verb, and images that are open, to its problem: a function of a module, which
another process can import."""


def make_trials(settings: Search, problem: Problem, prepare: Prepare) -> tuple[optuna.Study, str]:
    """Makes the trials of a study, by this process or by ``settings.workers`` others.

    Returns:
        The study and why it ended.

    Raises:
        ValueError: the study cannot be used, no worker is left, or its first trials all failed.
    """
    began, study = time.monotonic(), open_study(problem)
    if settings.join or settings.workers == 1:
        return study, work(problem, study, None if settings.join else 0)
    with progress(f"trials, by {counted(settings.workers, 'worker')}"):
        run_processes(settings.workers, _joined, prepare, settings.updated({"join": True}))
    reason = ending(problem, study, time.monotonic() - began)
    if not reason:
        raise ValueError(
            f"the workers have left a study that is not over; what is finished is kept in "
            f"{problem.folder}, and the same command goes on."
        )
    return study, reason


def _joined(prepare: Prepare, settings: Search) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.workers))
    problem = prepare(settings)
    work(problem, open_study(problem))


def work(problem: Problem, study: optuna.Study, number: int | None = None) -> str:
    """Makes trials until the study is over; why it ended.

    Args:
        problem: what is searched.
        study: opened by this process.
        number: of this worker; None: another one than all others have.

    Raises:
        ValueError: the first trials have all failed.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    began = time.monotonic()
    number = int.from_bytes(os.urandom(4), "big") if number is None else number
    workers = Workers(problem.folder / "workers") if problem.settings.storage is None else None
    name = workers.name if workers else f"{socket.gethostname()}-{os.getpid()}"
    finished = _states(study)["finished"]
    trials = progress("trials", problem.settings.trials, finished)
    with workers or nullcontext(), _no_experiments(), trials as step:
        while True:
            _fail_the_dead(study, workers)
            reason = ending(problem, study, time.monotonic() - began)
            if reason:
                give_leftovers_back()  # of trials that ended by an exception
                return reason
            states = _states(study)
            if states["finished"] + states["RUNNING"] >= problem.settings.trials:
                time.sleep(_POLL)  # another worker may die and leave its trial to this one
                continue
            # The sampler is made anew, so that a continued study goes on as if never left.
            study.sampler = sampler(problem, states["all"] + 1_000_003 * number)
            try:
                study.optimize(
                    lambda trial: _run(problem, study, trial, name),
                    n_trials=1,
                    catch=(ValueError, RuntimeError),
                )
            except UpdateFinishedTrialError:
                warn("A trial was given up: it showed no sign of life in time.")
            step.update()
            _say(problem, study, name)


def _run(problem: Problem, study: optuna.Study, trial: optuna.Trial, worker: str) -> float:
    """Runs a trial, prunes it where that is due, and notes its curve and its end."""
    import optuna

    curve: list[float] = []
    notes: dict[str, Any] = {"worker": worker, "threads": torch.get_num_threads()}

    def look(number: int, best: float) -> None:
        curve.append(round(best, 6))
        if number % problem.every == 0:
            trial.report(best, number)
            if trial.should_prune():
                raise optuna.TrialPruned

    began, wrong = time.monotonic(), 0
    for key, value in notes.items():
        trial.set_user_attr(key, value)
    notes = {}
    try:
        changes = problem.space.suggest(trial)
        outcome = problem.run(changes, look, original_number(trial))
        curve = [round(each, 6) for each in outcome.curve]
        notes |= {"best_epoch": outcome.best, "reason": "stopped early" * outcome.stopped}
        return outcome.value
    except optuna.TrialPruned:
        notes["reason"] = f"pruned ({problem.settings.pruner})"
        raise
    except DivergedError as error:
        wrong, notes["reason"] = 1, f"{error.reason}: {error}"
        raise optuna.TrialPruned from None
    except KeyboardInterrupt:
        notes["reason"] = "interrupted"
        _run_again(study, study.trials[trial.number])
        raise
    except (ValueError, RuntimeError) as error:
        if requested():  # a library has wrapped the stop
            notes["reason"] = "interrupted"
            _run_again(study, study.trials[trial.number])
            raise KeyboardInterrupt from error
        notes["reason"] = f"error: {error}"[:500]
        raise
    finally:
        notes |= {"epochs": len(curve) + wrong, "curve": curve}
        notes["seconds"] = round(time.monotonic() - began, 3)
        for key, value in notes.items():
            trial.set_user_attr(key, value)


def _fail_the_dead(study: optuna.Study, workers: Workers | None) -> None:
    """Trials of dead workers fail and are queued again; in a database, Optuna itself does it."""
    import optuna

    if workers is None:
        optuna.storages.fail_stale_trials(study)
        return
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        name = trial.user_attrs.get("worker")
        if workers.alive(name) if name else workers.others():
            continue
        with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # others were first
            study.tell(trial.number, state=state.FAIL)
            warn(f"Trial {trial.number}: its worker was killed; it is run again.")
            _run_again(study, trial)


def _run_again(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Queues a trial's parameters; notes where they come from as Optuna's heartbeat does."""
    import optuna

    history = [*trial.system_attrs.get("retry_history", []), trial.number]
    if len(history) > RETRIES:
        return
    kept = {k: v for k, v in trial.system_attrs.items() if k == "fixed_params"}
    first = trial.system_attrs.get("failed_trial", trial.number)
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={**kept, "failed_trial": first, "retry_history": history},
        )
    )


def _states(study: optuna.Study) -> dict[str, int]:
    counts = {"RUNNING": 0, "finished": 0, "all": 0}
    for trial in study.get_trials(deepcopy=False):
        counts["all"] += trial.state.name != "WAITING"
        counts["RUNNING"] += trial.state.name == "RUNNING"
        counts["finished"] += trial.state.is_finished() and not was_killed(trial)
    return counts


def ending(problem: Problem, study: optuna.Study, seconds: float) -> str:
    """Why no further trial may begin; empty while one may. A function of the storage and time.

    Raises:
        ValueError: the first trials have all failed.
    """
    search = problem.settings
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    done = [t for t in trials if not was_killed(t)]
    failed = [t for t in done if t.state.name == "FAIL"]
    if len(failed) == len(done) >= min(_FAILURES, search.trials):
        raise ValueError(
            f"the first {counted(len(failed), 'trial has', 'trials have')} all failed; the "
            "last one with "
            f"{failed[-1].user_attrs.get('reason', 'no reason given')}"
        )
    if len(done) >= search.trials:
        return f"{counted(search.trials, 'trial was', 'trials were')} made"
    if search.patience_trials is not None:
        done.sort(key=lambda t: t.datetime_complete.timestamp() if t.datetime_complete else 0.0)
        rule = Stopping(patience=search.patience_trials).rule(problem.mode)
        values = (t.value if t.state.name == "COMPLETE" else None for t in done)
        if rule.steps(math.nan if value is None else value for value in values):
            return f"nothing was better for {counted(search.patience_trials, 'trial')}"
    if search.minutes is not None and seconds >= 60 * search.minutes:
        return f"{search.minutes:g} minutes have passed"
    return ""


def _say(problem: Problem, study: optuna.Study, worker: str) -> None:
    """A line where this worker's last trial is the best, and at every tenth."""
    count, shown = _states(study)["finished"], "nothing finished yet"
    new = False
    with suppress(ValueError):
        best = study.best_trial
        own = [t.number for t in study.get_trials(False) if t.user_attrs.get("worker") == worker]
        new = best.number == max(own, default=-1)
        shown = f"best {problem.metric} {best.value:.4g}"
        if new:
            words = (
                f"{name.rpartition('.')[2]}={f'{v:.3g}' if isinstance(v, float) else v}"
                for name, v in best.params.items()
            )
            shown += f", new: {' '.join(words)}"
    if new or count % 10 == 0:
        say(f"trial {count}/{problem.settings.trials}   {shown}")


@contextmanager
def _no_experiments() -> Iterator[None]:
    """Without Optuna's warnings that its heartbeats are experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
