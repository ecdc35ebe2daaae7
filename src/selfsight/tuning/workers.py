"""A study from its settings to its end, by this process or by several.

A worker that dies is said, whatever killed it; the others take its trial up again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from selfsight.console import say
from selfsight.tuning.plan import Plan, open_study
from selfsight.tuning.study import Objective, ending, work

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    import optuna

    from selfsight.data.request import Images
    from selfsight.tuning.settings import Search


class Bench(Protocol):
    """A study that has been resolved: its plan, and sentences for the one who began it."""

    @property
    def plan(self) -> Plan: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


B = TypeVar("B", bound=Bench)
T = TypeVar("T")


def search(
    settings: Search,
    images: Images | None,
    prepare: Callable[..., B],
    objective: Callable[[B], Objective],
    conclude: Callable[[B, optuna.Study, str, float], T],
) -> T | None:
    """Makes the trials of a study and concludes it.

    Args:
        settings: of the verb.
        images: already opened; None: `prepare` opens them.
        prepare: settings and images to a `Bench`; a function of a module, for other processes.
        objective: of a bench, a trial's value.
        conclude: of bench, study, why it ended and the seconds it took: what was found.

    Returns:
        What `conclude` does; None for a worker that joined.

    Raises:
        ValueError: the settings cannot be used, or no worker could work.
    """
    if images is not None and settings.workers > 1:
        raise ValueError("workers: several processes open the images themselves; leave them out.")
    began = time.monotonic()
    bench = prepare(settings, images)
    study = open_study(bench.plan)
    with _terminated_as_interrupted():
        if settings.join:
            say(f"Left the study: {work(bench.plan, study, objective(bench))}.")
            return None
        for note in bench.notes:
            say(note)
        if settings.workers > 1:
            share(settings.workers, _worker, settings, prepare, objective)
            reason = ending(bench.plan, study, time.monotonic() - began)
            if not reason:
                raise ValueError(
                    f"the workers have left a study that is not over; what is finished is kept in "
                    f"{bench.plan.folder}, and the same command goes on."
                )
        else:
            reason = work(bench.plan, study, objective(bench), 0)
        return conclude(bench, study, reason, time.monotonic() - began)


def _worker(
    settings: Search,
    prepare: Callable[..., B],
    objective: Callable[[B], Objective],
    number: int,
) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.workers))
    bench = prepare(settings)
    work(bench.plan, open_study(bench.plan), objective(bench), number)


def share(workers: int, target: Callable[..., None], *arguments: Any) -> None:
    """Runs ``target(*arguments, number)`` in that many processes until all have ended.

    Raises:
        ValueError: every one of them failed or was killed; one alone is only said.
    """
    start = multiprocessing.get_context("spawn").Process
    started = [
        start(target=_reported, args=(target, *arguments, number), name=f"worker {number}")
        for number in range(workers)
    ]
    for process in started:
        process.start()
    try:
        _until_all_have_ended(started)
    except KeyboardInterrupt:
        say("Stopping the workers; what is finished is kept, and the same command goes on.")
        raise
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
        for process in started:
            process.join()
    if all(process.exitcode for process in started):
        how = "; ".join(f"{process.name} {_end(process.exitcode)}" for process in started)
        raise ValueError(
            f"no worker of the study is left ({how}); what is finished is kept, and the same "
            "command goes on."
        )


def _until_all_have_ended(started: list[SpawnProcess]) -> None:
    """Says at once when a worker dies."""
    running = list(started)
    while running:
        ended = wait([process.sentinel for process in running])
        for process in [each for each in running if each.sentinel in ended]:
            running.remove(process)
            process.join()
            if process.exitcode:
                left = f"; {len(running)} still at work" if running else ""
                say(f"{process.name.capitalize()} {_end(process.exitcode)}{left}.")


def _end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"failed (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was killed ({name}{why})"


def _reported(target: Callable[..., None], *arguments: Any) -> None:
    """A worker: what it fails of is said on standard error before it ends."""
    name = multiprocessing.current_process().name
    threading.Thread(target=_leave_with_the_command, args=(name,), daemon=True).start()
    try:
        target(*arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except ValueError as error:
        say(f"{name.capitalize()}: {error}")
        sys.exit(2)
    except BaseException as error:
        traceback.print_exc()
        say(f"{name.capitalize()} failed of {type(error).__name__}: {error}")
        sys.exit(1)


def _leave_with_the_command(name: str) -> None:
    """Ends this worker when the command that started it is gone: nobody would read its end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    say(f"{name.capitalize()}: the command that started it is gone, and so it leaves.")
    os._exit(1)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM (of `timeout`, of a scheduler) ends a study as Ctrl-C does.

    There is a sentence, its trial is queued again, and its workers end too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
