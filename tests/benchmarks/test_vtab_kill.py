"""Killed at random moments, again and again, by every executor: the same files as undisturbed, and nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from small import begin, events, results

WHAT = ("--tasks", "digits", "--methods", "shallow", "linear")
LONGER = ["epochs=24", "search_epochs=12"]
"""So many epochs that a kill meets trials in the middle."""

KILLS = int(os.environ.get("VPT_KILLS", "3"))
"""Per executor. Each costs a start of the interpreter and of torch."""


def start(out: Path, executor: str) -> subprocess.Popen[str]:
    return begin(out, *WHAT, "--workers", "2", "--executor", executor, settings=LONGER)


def available(executor: str) -> str:
    if executor == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    return executor


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run, whose results every executor must come to."""
    out = tmp_path_factory.mktemp("whole")
    process = start(out, "processes")
    told, _ = process.communicate()
    assert process.returncode == 0, told
    return out


def ended_once(out: Path) -> None:
    """No trial was begun after it was done, and none was done twice."""
    done: Counter[str] = Counter()
    for event in events(out):
        for name in event.get("trials", ()):
            assert not (event["event"] == "begun" and done[name]), f"{name} was begun again"
            done[name] += event["event"] == "done"
    assert set(done.values()) <= {0, 1}
    assert set(done) == set(results(out))


def begun(out: Path) -> int:
    """How many jobs were begun so far, over all runs."""
    return sum(e["event"] == "begun" for e in events(out)) if (out / "events.jsonl").exists() else 0


def unfinished(out: Path) -> set[str]:
    """Trials that were begun and have no record."""
    names = {name for e in events(out) if e["event"] == "begun" for name in e["trials"]}
    return {name for name in names if not (out / "trials" / f"{name}.json").exists()}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_killed_at_random_moments_the_results_are_those_of_an_undisturbed_run(
    executor: str, whole: Path, tmp_path: Path
) -> None:
    moments, kills, in_the_middle = random.Random(available(executor)), 0, 0
    while kills < KILLS:
        before, process = begun(tmp_path), start(tmp_path, executor)
        while begun(tmp_path) == before and process.poll() is None:
            time.sleep(0.01)
        try:  # most while training, some between trials
            process.wait(moments.uniform(0.0, 1.5))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            in_the_middle += bool(unfinished(tmp_path))
    last = start(tmp_path, executor)
    told, _ = last.communicate()
    assert last.returncode == 0, told
    assert in_the_middle
    assert results(tmp_path) == results(whole)
    ended_once(tmp_path)


def workers_of(driver: subprocess.Popen[str], executor: str) -> list[psutil.Process]:
    """Processes that are in the middle of a job."""
    found = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        try:
            words = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if words.startswith("ray::work") if executor == "ray" else "forkserver" in words:
            found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_a_killed_worker_costs_its_own_trial_alone(executor: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver, killed = start(out, available(executor)), 0
    while driver.poll() is None and killed < 2:  # one more, and the trial would count as failed
        begun = (out / "events.jsonl").exists() and any(e["event"] in ("begun", "done") for e in events(out))
        victims = workers_of(driver, executor) if begun else []
        if executor == "processes" and victims:
            server = min(victims, key=lambda p: p.create_time())  # what workers fork from
            victims = [p for p in victims if p.ppid() == server.pid]
        if victims:
            victims[-1].kill()
            killed += 1
            time.sleep(1.0)
        time.sleep(0.05)
    told, _ = driver.communicate()
    assert driver.returncode == 0, told
    assert killed
    assert any(event["event"] == "died" for event in events(out))
    assert results(out) == results(whole)
    ended_once(out)


def test_an_interruption_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "processes")
    while not (tmp_path / "out" / "trials").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on where it was" in told
    assert "Traceback" not in told
    again = start(tmp_path / "out", "processes")
    told, _ = again.communicate()
    assert again.returncode == 0, told
    ended_once(tmp_path / "out")
