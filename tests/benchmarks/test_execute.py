"""The driver, with executors made for the purpose: what it does with the dead, and what it never does twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite.execute import ATTEMPTS, execute, tidy
from benchmarks.suite.executors import Died, open_executor
from benchmarks.suite.executors.executor import NAMES
from benchmarks.suite.folder import DONE, Folder
from benchmarks.suite.measured import record
from benchmarks.suite.schedule import Job
from benchmarks.suite.trial import Trial
from benchmarks.suite.watch import Watch
from vpt.errors import OptionError

GRID = [Trial("t", "v", "search", "deep", "default", 0, {}, lr, 0.0) for lr in (1.0, 2.0)]
FINAL = [Trial("t", "v", "final", "deep", "default", seed) for seed in (0, 1)]


class Scripted:
    """An executor of two slots whose workers die as often as `deaths` says, by trial."""

    def __init__(self, deaths: dict[str, int] | None = None) -> None:
        self.deaths = dict(deaths or {})
        self.running: list[Job] = []
        self.done: list[str] = []
        self.closed = False

    def free(self) -> int:
        return 2 - len(self.running)

    def submit(self, job: Job) -> str:
        self.running.append(job)
        return "a script"

    def wait(self) -> tuple[Job, Any]:
        job = self.running.pop(0)
        name = job.wanted[0]
        if self.deaths.get(name, 0):
            self.deaths[name] -= 1
            return job, Died("as scripted")
        self.done.append(name)
        (trial,), (point,) = job.trials, job.points
        outcome = {"status": DONE, "metrics": {"accuracy": point.lr / 10}, "measured_on": "val"}
        return job, [record(trial, outcome, {"cost": {"seconds": 0.0}})]

    def close(self) -> None:
        self.closed = True


def test_a_job_that_lost_its_worker_is_done_again(tmp_path: Path) -> None:
    executor = Scripted({GRID[0].id: ATTEMPTS - 1})
    summary = execute(Folder(tmp_path), [*GRID, *FINAL], executor, Watch())
    assert summary.complete
    assert sorted(executor.done) == sorted(trial.id for trial in (*GRID, *FINAL))
    assert executor.closed


def test_a_job_that_loses_every_worker_is_a_failure_and_blocks_only_its_own(tmp_path: Path) -> None:
    other = [Trial("u", "v", "final", "deep", "default", 0, {}, 1.0, 0.0)]
    executor = Scripted({GRID[0].id: ATTEMPTS})
    summary = execute(Folder(tmp_path), [*GRID, *FINAL, *other], executor, Watch())
    assert not summary.complete
    assert [trial.stage for trial in summary.waiting] == ["final", "final"]
    failed = Folder(tmp_path).read(GRID[0].id)
    assert failed is not None
    assert failed["status"] == "failed"
    assert "died" in failed["reason"]
    assert other[0].id in executor.done
    again = Scripted()
    assert execute(Folder(tmp_path), [*GRID, *FINAL, *other], again, Watch()).complete
    assert sorted(again.done) == sorted([GRID[0].id, *(trial.id for trial in FINAL)])


def test_a_failed_trial_keeps_its_checkpoint_and_a_finished_one_does_not(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "elsewhere")
    for trial in GRID:
        folder.scratch(trial.id).mkdir(parents=True)
    execute(folder, GRID, Scripted({GRID[0].id: ATTEMPTS}), Watch())
    assert [(tmp_path / "elsewhere" / "work" / trial.id).exists() for trial in GRID] == [True, False]


def test_an_executor_is_closed_whatever_happens(tmp_path: Path) -> None:
    class Broken(Scripted):
        def wait(self) -> tuple[Job, Any]:
            raise KeyboardInterrupt

    executor = Broken()
    with pytest.raises(KeyboardInterrupt):
        execute(Folder(tmp_path), GRID, executor, Watch())
    assert executor.closed


def test_scratch_of_finished_trials_goes_and_of_others_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    execute(folder, GRID[:1], Scripted(), Watch())
    for trial in GRID:
        folder.scratch(trial.id).mkdir(parents=True)
    tidy(folder, GRID)
    assert [folder.scratch(trial.id).exists() for trial in GRID] == [False, True]


def test_executors_by_name() -> None:
    with pytest.raises(OptionError, match="did you mean 'inline'"):
        open_executor("inlin", lambda: None)  # type: ignore[arg-type, return-value]
    for name in NAMES[1:]:
        with pytest.raises(OptionError, match="workers: 0 given"):
            open_executor(name, lambda: None, workers=0)  # type: ignore[arg-type, return-value]
