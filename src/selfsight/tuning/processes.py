"""Several processes of one command: each says how it ended, and none outlives the command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from selfsight.console import say, warn


def run_processes(workers: int, target: Callable[..., None], *arguments: Any) -> None:
    """Runs ``target(*arguments)`` in that many processes until all have ended.

    Raises:
        ValueError: every one of them failed or was killed; a single one is only reported.
    """
    start = multiprocessing.get_context("spawn").Process
    started = [
        start(target=_reported, args=(target, *arguments), name=f"worker {number}")
        for number in range(workers)
    ]
    for process in started:
        process.start()
    running = list(started)
    try:
        while running:
            ended = wait([process.sentinel for process in running])
            for process in [each for each in running if each.sentinel in ended]:
                running.remove(process)
                process.join()
                if process.exitcode:
                    left = f"; {len(running)} still at work" if running else ""
                    warn(f"{process.name.capitalize()} {_end(process.exitcode)}{left}.")
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
    """A worker process; it prints why it failed before it ends."""
    name = multiprocessing.current_process().name.capitalize()
    threading.Thread(target=_leave_with_the_command, args=(name,), daemon=True).start()
    try:
        target(*arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except ValueError as error:
        warn(f"{name}: {error}")
        sys.exit(2)
    except BaseException as error:
        traceback.print_exc()
        warn(f"{name} failed of {type(error).__name__}: {error}")
        sys.exit(1)


def _leave_with_the_command(name: str) -> None:
    """Ends this worker when the command that started it is gone: nobody would read its end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    say(f"{name}: the command that started it is gone, and so it leaves.")
    os._exit(1)
