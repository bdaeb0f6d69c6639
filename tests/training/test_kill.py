"""A run killed at random moments, again and again, ends as if nothing had happened."""

import random
import time

import pytest
import torch

from vpt.training.log import read_rows

from .tiny import killable_run


def undisturbed(server, out, raw):
    child = server.Process(target=killable_run, args=(str(out), raw))
    started = time.perf_counter()
    child.start()
    child.join()
    assert child.exitcode == 0
    return torch.load(out / "done.pt", weights_only=True), time.perf_counter() - started


@pytest.mark.parametrize("raw", [False, True], ids=["tuned", "raw"])
def test_sigkill_at_random_moments(server, tmp_path, raw):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    undisturbed(server, tmp_path / "whole", raw)  # the first child also waits for the server's imports
    for file in (tmp_path / "whole").iterdir():
        file.unlink()
    whole, seconds = undisturbed(server, tmp_path / "whole", raw)
    moments, kills, out = random.Random(7), 0, tmp_path / "killed"
    for attempt in range(40):
        child = server.Process(target=killable_run, args=(str(out), raw))
        child.start()
        child.join(timeout=moments.uniform(0.1, 0.9) * seconds if attempt < 20 else None)
        if child.is_alive():
            child.kill()
            kills += 1
        child.join()
        assert child.exitcode in (0, -9)
        if (out / "done.pt").exists():
            break
    killed = torch.load(out / "done.pt", weights_only=True)
    starts = [row["epochs_done"] for row in read_rows(out / "metrics.jsonl") if row["event"] == "start"]
    assert kills > 0
    assert any(starts)  # the run did go on, and did not only begin anew
    assert killed["history"] == whole["history"]
    assert killed["state"].keys() == whole["state"].keys()
    assert all(torch.equal(killed["state"][name], tensor) for name, tensor in whole["state"].items())
