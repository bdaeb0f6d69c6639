"""Checkpoints that survive a kill at any moment: the newest and the one before it, each whole or not there at all.

A file is a line of text that names the format, the SHA-256 of the rest, and a `torch.save` of the learned tensors,
the optimiser, the loss scaler, the epoch, the history and the run's identity; the frozen backbone is not in it.
Random generators need no place: `fit` seeds them anew for each epoch from (seed, epoch, process).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vpt.errors import TrainingError
from vpt.training.files import sync_folder, write_temporary
from vpt.training.trained import differences

MAGIC = b"vpt training checkpoint 1\n"
NEWEST, PREVIOUS, DAMAGED = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.damaged.pt"


def encode(payload: Mapping[str, Any]) -> bytes:
    """`payload` as the bytes of a checkpoint file."""
    body = io.BytesIO()
    torch.save(dict(payload), body)
    content = body.getvalue()
    return MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def decode(content: bytes, name: str) -> dict[str, Any]:
    """The payload of a checkpoint file; raises `TrainingError` naming it where a single bit is not as written."""
    head = len(MAGIC) + 65
    if not content.startswith(MAGIC):
        raise TrainingError(f"{name} is not a checkpoint of this version of vpt")
    if hashlib.sha256(content[head:]).hexdigest().encode() + b"\n" != content[len(MAGIC) : head]:
        raise TrainingError(f"{name} is damaged: its SHA-256 is not the one written into it")
    payload: dict[str, Any] = torch.load(io.BytesIO(content[head:]), map_location="cpu", weights_only=True)
    return payload


class Checkpoints:
    """The checkpoints of one run in `folder`. `note` is told, in words, what a person should know."""

    def __init__(self, folder: Path, note: Callable[[str], None] = print) -> None:
        self.newest, self.previous, self.damaged = (folder / name for name in (NEWEST, PREVIOUS, DAMAGED))
        self.note = note

    def save(self, payload: Mapping[str, Any]) -> None:
        """Write `payload` as the newest checkpoint and keep the one before it."""
        temporary = write_temporary(self.newest, encode(payload))
        if self.newest.exists():
            os.replace(self.newest, self.previous)
        os.replace(temporary, self.newest)
        sync_folder(self.newest.parent)

    def load(self, repair: bool = False) -> dict[str, Any] | None:
        """The newest whole checkpoint, or None where there is none. Raises `TrainingError` if all are damaged.

        With `repair`, what a kill left behind is cleared, and a damaged newest file is put aside, so that the next
        `save` cannot put it in the place of the whole one.
        """
        faults = []
        if repair:
            self._clear_temporaries()
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                payload = decode(path.read_bytes(), str(path))
            except TrainingError as error:
                faults.append(str(error))
                continue
            if faults and repair:
                os.replace(self.newest, self.damaged)
                self.note(f"{faults[0]}; put aside as {DAMAGED}, going on from {path.name}")
            return payload
        if faults:
            raise TrainingError("no checkpoint can be read: " + "; ".join(faults) + ". Remove them to start anew")
        return None

    def _clear_temporaries(self) -> None:
        for leftover in self.newest.parent.glob(f"{NEWEST}.*.tmp"):
            leftover.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget earlier runs in this folder."""
        self._clear_temporaries()
        for path in (self.newest, self.previous, self.damaged):
            path.unlink(missing_ok=True)


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Raise `TrainingError` listing each difference between a checkpoint's identity and this run's."""
    if lines := differences(saved, now):
        raise TrainingError(
            f"{where} holds a checkpoint of another run; give all as it was when that run began, resume=False to start "
            "anew, or another folder:\n" + "\n".join(f"  {line}" for line in lines)
        )
