"""Where a study is kept, and which of its workers are alive.

A journal file serves the processes of one machine. Optuna gives it no heartbeat, so each worker
holds a lock on a file of its own: the system drops it when the worker dies, however it dies. A
database serves many machines; there Optuna's heartbeat tells.
"""

from __future__ import annotations

import os
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import optuna

FILES = ("study.journal", "study.json", "workers", "tuning.json", "trials.csv", "best.yaml")
"""What the folder of a study holds."""
_SILENT = 4  # heartbeats that may be missed before a worker counts as dead
RETRIES = 3
"""How often a trial is run again after its worker was killed."""


def journal(path: Path) -> optuna.storages.BaseStorage:
    """A study in a file, for several processes of one machine."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    # Unlike Optuna's own lock the system drops this one when its holder is killed.
    lock = FileLock(f"{path}.lock", poll_interval=0.005)
    backend = JournalFileBackend(str(path), lock_obj=lock)  # type: ignore[arg-type]
    with lock:  # a write that was cut off would spoil the line after it
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    return JournalStorage(backend)


def database(url: str, heartbeat: int) -> optuna.storages.BaseStorage:
    """A study in PostgreSQL; the trial of a silent worker fails and is queued again.

    Raises:
        ValueError: the server cannot be reached or its driver is missing.
    """
    import optuna
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    scheme, _, rest = url.partition("://")
    if scheme == "postgresql":
        url = f"postgresql+psycopg://{rest}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs={"poolclass": NullPool},  # trials are long: no idle connections
                heartbeat_interval=heartbeat,
                grace_period=_SILENT * heartbeat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(RETRIES),
            )
    except ImportError:
        raise ValueError(
            "storage: PostgreSQL needs the driver psycopg: pip install 'selfsight[postgresql]'."
        ) from None
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(f"storage: the database cannot be used ({reason}).") from None


class Workers:
    """The workers of a journal: each holds a lock on ``FOLDER/NAME`` while it lives.

    Args:
        folder: of the lock files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, uuid.uuid4().hex[:12]
        self._held = FileLock(folder / self.name)

    def __enter__(self) -> Workers:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.acquire()
        while not (self.folder / self.name).exists():  # another one took it for that of a dead one
            self._held.release()
            self._held.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        for path in self.folder.iterdir():
            if path.name == self.name or not self.alive(path.name):
                path.unlink(missing_ok=True)  # killed workers leave theirs
        self._held.release()

    def alive(self, name: str) -> bool:
        """Whether the worker of this name lives; one that left or died does not."""
        if name == self.name:
            return True
        try:
            if (self.folder / name).exists():
                FileLock(self.folder / name).acquire(timeout=0).lock.release()
        except Timeout:
            return True
        return False

    def others(self) -> bool:
        """Whether any other worker lives."""
        return any(
            path.name != self.name and self.alive(path.name) for path in self.folder.iterdir()
        )
