"""How far a run is, in memory and on disk, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vpt.training.batches import Labelled
from vpt.training.checkpoint import Checkpoints, require_same_run
from vpt.training.learner import Learner
from vpt.training.log import Logger, Run


class Progress:
    """How far a run is, in memory and on disk."""

    def __init__(self, learner: Learner, out: Path | None, log: Logger, same: dict[str, Any]) -> None:
        self.learner, self.config, self.out, self.log, self.same = learner, learner.config, out, log, same
        self.history: list[dict[str, Any]] = []
        self.resumed = False
        self.checkpoints = Checkpoints(out, log.note) if out is not None else None
        self._unsaved: dict[str, Any] | None = None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def run(self, train: Labelled, val: Labelled | None, classes: tuple[str, ...]) -> Run:
        """What loggers are told at the start."""
        steps = -(-len(train) // self.config.batch_size)
        return Run(self.learner.model, train, val, self.config, classes, self.epoch, steps, self.resumed)

    def restore(self, resume: bool) -> None:
        """Go on from the newest whole checkpoint, or write the first one so that the very start can be resumed too."""
        if self.checkpoints is None:
            return
        main, everyone = self.learner.accelerator.is_main_process, self.learner.accelerator.wait_for_everyone
        if main and not resume:
            self.checkpoints.clear()
        saved = self.checkpoints.load(repair=True) if main else None
        everyone()
        saved = saved if main else self.checkpoints.load()
        everyone()
        if saved is not None:
            require_same_run(saved["identity"], self.same, self.checkpoints.newest.parent)
            self.learner.load(saved)
            self.history, self.resumed = saved["history"], True
        elif main:
            self.checkpoints.save(self._payload())

    def advance(self, row: dict[str, Any]) -> None:
        """Take in the row of a finished epoch: log it, and write a checkpoint when one is due."""
        self.history.append(row)
        self.log.epoch(row)
        if self.checkpoints is None or not self.learner.accelerator.is_main_process:
            return
        self._unsaved = self._payload()
        if self.epoch % self.config.checkpoint_every == 0 or self.epoch == self.config.epochs:
            self._save()

    @contextmanager
    def kept_on_exit(self) -> Iterator[None]:
        """However the run ends, write the last finished epoch and close the logs."""
        try:
            yield
        except KeyboardInterrupt:
            self.log.note(f"interrupted; {self.epoch} of {self.config.epochs} epochs are done")
            raise
        finally:
            try:
                self._save()
            finally:
                self.log.close()

    def _save(self) -> None:
        if self.checkpoints is not None and self._unsaved is not None:
            self.checkpoints.save(self._unsaved)
            self._unsaved = None

    def _payload(self) -> dict[str, Any]:
        return {**self.learner.state(), "identity": self.same, "history": list(self.history)}
