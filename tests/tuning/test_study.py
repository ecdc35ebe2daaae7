"""A study: its storage, its workers, and when it ends."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from selfsight.files import read_json
from selfsight.fitting.stopping import DivergedError
from selfsight.stops import raising
from selfsight.tuning.record import counts, trial_rows
from selfsight.tuning.storage import Workers
from selfsight.tuning.study import Search, open_study
from selfsight.tuning.verdict import tune
from selfsight.tuning.workers import work

TOY = Path(__file__).with_name("toy.py")
_TOY = runpy.run_path(str(TOY))
SPACE, height, problem = _TOY["SPACE"], _TOY["height"], _TOY["problem"]


def toy(folder: Path, trials: int, number: int, *, hang: int = -1) -> subprocess.Popen[bytes]:
    words = [folder, trials, number, "journal", 0.2, hang]
    return subprocess.Popen([sys.executable, str(TOY), *map(str, words)])


def made(folder: Path, trials: int, before: Any = None, **options: Any) -> optuna.Study:
    here = problem(folder, before, trials=trials, **options)
    study = open_study(here)
    work(here, study, 0)
    return study


def parameters(study: optuna.Study) -> list[Any]:
    return [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False)]


def test_the_defaults_are_tried_first_and_the_best_is_found(tmp_path: Path) -> None:
    study = made(tmp_path, 40)
    assert study.trials[0].params == {"x": 0.5, "y": "a"}
    assert len(study.trials) == 40
    assert study.best_value > -0.01
    assert study.best_params["y"] == "a"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_is_a_function_of_its_seed_even_when_it_was_left(
    tmp_path: Path, sampler: str
) -> None:
    whole = made(tmp_path / "whole", 20, sampler=sampler)
    for trials in (3, 12, 20):
        parts = made(tmp_path / "parts", trials, sampler=sampler)
    assert parameters(parts) == parameters(whole)
    assert len({x["x"] for x, _ in parameters(whole)}) == 20


def test_it_stops_when_nothing_was_better(tmp_path: Path) -> None:
    values = iter([1.0, 2.0, *[1.5] * 50])
    here = problem(tmp_path, lambda number: next(values), trials=100, patience_trials=7)
    study = open_study(here)
    reason = work(here, study, 0)
    assert len(study.trials) == 9
    assert reason == "nothing was better for 7 trials"


def test_it_stops_by_time(tmp_path: Path) -> None:
    here = problem(tmp_path, lambda number: time.sleep(0.05), trials=1000, minutes=0.002)
    study = open_study(here)
    assert "minutes have passed" in work(here, study, 0)
    assert len(study.trials) < 20


def test_a_failing_trial_is_said_and_the_study_goes_on(tmp_path: Path) -> None:
    def before(number: int) -> float:
        if number == 1:
            raise ValueError("batch size 512 is larger than the 300 images.")
        return float(number)

    study = made(tmp_path, 4, before)
    rows = trial_rows(study, SPACE)
    assert [row["state"] for row in rows] == ["complete", "failed", "complete", "complete"]
    assert "batch size 512" in rows[1]["reason"]
    assert counts(rows)["made"] == 4


def test_a_study_in_which_everything_fails_is_given_up(tmp_path: Path) -> None:
    def before(number: int) -> None:
        raise ValueError("no such thing.")

    with pytest.raises(ValueError, match=r"the first 3 trials have all failed.*no such thing"):
        made(tmp_path, 100, before)


def test_other_settings_are_another_study(tmp_path: Path) -> None:
    made(tmp_path, 2)
    here = problem(tmp_path)
    other = replace(here, about={**here.about, "space": {"x": "0..2"}})
    with pytest.raises(ValueError, match="a study with other settings \\(space\\)"):
        open_study(other)


def test_joining_needs_a_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no study to join"):
        open_study(problem(tmp_path, join=True))


def test_storage_is_a_database_or_left_out() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        problem(Path(), storage="mysql://somewhere")


def test_locks_of_dead_workers_are_removed_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    with Workers(tmp_path) as one, Workers(tmp_path) as other:
        (tmp_path / "dead").touch()
        other.__exit__()
        assert [path.name for path in tmp_path.iterdir()] == [one.name]
        assert Workers(tmp_path).alive(one.name)


def test_a_lock_that_another_worker_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that leaves may take a lock that is not held yet for that of a dead one."""
    worker = Workers(tmp_path)
    acquire, taken = worker._held.acquire, []

    def slowly(*words: Any, **options: Any) -> Any:
        lock = acquire(*words, **options)
        taken.append(lock)
        if len(taken) == 1:
            (tmp_path / worker.name).unlink()
        return lock

    monkeypatch.setattr(worker._held, "acquire", slowly)
    with worker:
        assert len(taken) == 2
        assert Workers(tmp_path).alive(worker.name)


def test_half_a_line_in_the_journal_is_dropped(tmp_path: Path) -> None:
    before = parameters(made(tmp_path, 5))
    with open(tmp_path / "study.journal", "ab") as file:
        file.write(b'{"op_code":4,"worker_id":"cut o')
    study = made(tmp_path, 8)
    assert parameters(study)[:5] == before
    assert len(study.trials) == 8


def test_two_processes_share_a_journal_and_a_killed_trial_is_taken_up_again(
    tmp_path: Path,
) -> None:
    open_study(problem(tmp_path))
    workers = [toy(tmp_path, 25, number, hang=2 if number else -1) for number in (0, 1)]
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "hangs").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        killed = int((tmp_path / "hangs").read_text())
        os.kill(workers[1].pid, signal.SIGKILL)
        assert workers[0].wait(timeout=120) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    study = open_study(problem(tmp_path))
    rows = trial_rows(study, SPACE)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert [row["number"] for row in rows if row["state"] == "killed"] == [killed]
    complete = [row for row in rows if row["state"] == "complete"]
    assert len(complete) == counts(rows)["made"] >= 25
    assert all(row["value"] == pytest.approx(height(row)) for row in complete)
    again = next(row for row in rows if row["retry_of"] == killed)
    assert again["state"] == "complete"
    assert {name: again[name] for name in SPACE} == {name: rows[killed][name] for name in SPACE}
    assert len({row["worker"] for row in rows}) == 2
    assert not list((tmp_path / "workers").iterdir())  # the killed one left its lock


def interrupt() -> None:
    raise KeyboardInterrupt


def wrap_a_stop() -> None:
    """A library makes an error of its own of the stop."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except KeyboardInterrupt:
        raise RuntimeError("the product failed") from None


@pytest.mark.parametrize("end", [interrupt, wrap_a_stop])
def test_an_interrupted_trial_is_taken_up_again(tmp_path: Path, end: Callable[[], None]) -> None:
    def before(number: int) -> None:
        if number == 2:
            end()

    with pytest.raises(KeyboardInterrupt), raising():
        made(tmp_path, 5, before)
    study = made(tmp_path, 5)
    rows = trial_rows(study, SPACE)
    assert [row["state"] for row in rows].count("complete") == 5
    again = next(row for row in rows if row["retry_of"] == 2)
    assert again["x"] == rows[2]["x"]


def test_a_trial_that_will_not_win_is_pruned_and_one_that_diverges_too(tmp_path: Path) -> None:
    def before(number: int) -> float:
        if number == 7:
            raise DivergedError("its loss is not finite")
        return float(-number)

    here = replace(problem(tmp_path, before, trials=9), looks=1, reports=True)
    study = open_study(here)
    work(here, study, 0)
    rows = trial_rows(study, SPACE)
    assert rows[7]["state"] == "pruned"
    assert rows[7]["reason"] == "diverged: its loss is not finite"
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert any(row["reason"] == "pruned (median)" for row in rows)
    assert all(row["epochs"] == 1 for row in rows)


def test_a_study_ends_with_its_files_and_the_best_trial_again(tmp_path: Path) -> None:
    runs: list[int] = []

    def prepare(settings: Search, images: Any = None) -> Any:
        def before(number: int) -> None:
            runs.append(number)

        return replace(problem(tmp_path, before), settings=settings)

    found = tune(Search(trials=6), None, prepare)
    assert found is not None
    assert found.found["again"]["equal"]
    assert runs == [*range(6), found.best["number"]]
    assert yaml.safe_load((tmp_path / "best.yaml").read_text()) == found.best["settings"]
    assert read_json(tmp_path / "tuning.json")["trials"] == found.found["trials"]
    assert "6 trials" in str(found)
    assert "no reading of test" in str(found)
    assert tune(Search(trials=6, join=True), None, prepare) is None


def test_a_study_without_a_finished_trial_has_no_end(tmp_path: Path) -> None:
    def before(number: int) -> None:
        raise DivergedError("its loss is not finite")

    here = problem(tmp_path, before, trials=2)
    with pytest.raises(ValueError, match=r"no trial of the study in .* was completed; 2 trials"):
        tune(here.settings, None, lambda settings, images: here)
