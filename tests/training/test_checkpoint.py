import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vpt.errors import TrainingError
from vpt.training.checkpoint import Checkpoints, decode, encode, require_same_run

PAYLOAD = {"model": {"tokens": torch.arange(6.0)}, "history": [{"epoch": 1, "train_loss": 0.1}], "scaler": None}


def payload(number):
    return {"number": number, "tensor": torch.full((4,), float(number))}


def test_round_trip_is_exact():
    back = decode(encode(PAYLOAD), "x")
    assert torch.equal(back["model"]["tokens"], PAYLOAD["model"]["tokens"])
    assert back["history"] == PAYLOAD["history"]


@given(st.data())
def test_any_flipped_bit_or_cut_is_noticed(data):
    content = bytearray(encode(PAYLOAD))
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(TrainingError, match="some file"):
        decode(bytes(content), "some file")
    with pytest.raises(TrainingError, match="some file"):
        decode(encode(PAYLOAD)[:where], "some file")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("never",))


def test_code_in_a_checkpoint_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        decode(encode({"evil": Evil()}), "x")
    assert not (tmp_path / "never").exists()


def test_the_one_before_is_kept_and_used_when_the_newest_is_damaged(tmp_path):
    notes = []
    checkpoints = Checkpoints(tmp_path, notes.append)
    assert checkpoints.load() is None
    for number in (1, 2, 3):
        checkpoints.save(payload(number))
    assert checkpoints.load()["number"] == 3
    checkpoints.newest.write_bytes(checkpoints.newest.read_bytes()[:-1] + b"x")
    assert checkpoints.load(repair=True)["number"] == 2
    assert "SHA-256" in notes[0]
    checkpoints.save(payload(4))
    assert [decode(path.read_bytes(), "")["number"] for path in (checkpoints.newest, checkpoints.previous)] == [4, 2]


def test_all_damaged_is_an_error_that_names_both(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(payload(1)), checkpoints.save(payload(2))
    for path in (checkpoints.newest, checkpoints.previous):
        path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"(?s)checkpoint\.pt.*checkpoint\.previous\.pt"):
        checkpoints.load()


class Power(BaseException):
    """The machine stops here."""


def test_a_stop_before_any_system_call_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    calls = {"left": 10**9, "seen": 0}

    def stopping(function):
        def call(*args, **kwargs):
            calls["seen"] += 1
            calls["left"] -= 1
            if calls["left"] < 0:
                raise Power
            return function(*args, **kwargs)

        return call

    for name in ("replace", "fsync", "open"):
        monkeypatch.setattr(os, name, stopping(getattr(os, name)))
    checkpoints = Checkpoints(tmp_path, lambda text: None)
    checkpoints.save(payload(0)), checkpoints.save(payload(1))
    calls["seen"] = 0
    checkpoints.save(payload(2))
    per_save = calls["seen"]
    for stop in range(per_save):
        calls["left"] = stop
        with pytest.raises(Power):
            checkpoints.save(payload(100 + stop))
        calls["left"] = 10**9
        found = Checkpoints(tmp_path, lambda text: None).load(repair=True)
        assert found["number"] in (2, *range(100, 101 + stop))
        assert not list(tmp_path.glob("*.tmp"))


def test_file_mode_follows_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        Checkpoints(tmp_path).save(payload(1))
    finally:
        os.umask(before)
    assert (tmp_path / "checkpoint.pt").stat().st_mode & 0o777 == 0o644


def test_another_run_is_refused_by_name(tmp_path):
    with pytest.raises(TrainingError) as caught:
        require_same_run({"config": {"lr": 0.1}, "data": 1}, {"config": {"lr": 0.2}, "data": 1}, tmp_path)
    assert "config.lr: 0.1 in the checkpoint, 0.2 now" in str(caught.value)
    assert "data" not in str(caught.value)
