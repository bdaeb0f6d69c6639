"""Progress for the person at the terminal: a live bar there, one plain line per epoch elsewhere (on standard error)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from vpt.training.log import Logger, Run

if TYPE_CHECKING:
    from rich.console import Console


def progress_logger() -> Logger:
    """A `RichBar` on a terminal, `PlainLines` elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    return RichBar(console) if console.is_terminal else PlainLines()


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """An epoch's row in words: `epoch 3/100  loss 1.234  accuracy 56.7%  val loss ...`."""
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['train_loss']:.4f}", f"accuracy {row['train_accuracy']:.1%}"]
    if "val_loss" in row:
        parts += [f"val loss {row['val_loss']:.4f}", f"val accuracy {row['val_accuracy']:.1%}"]
    parts.append(f"lr {row['lr']:.2e}")
    if "seconds" in row:
        parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)


class PlainLines(Logger):
    """One line per epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def start(self, run: Run) -> None:
        self.epochs = run.config.epochs
        if run.resumed:
            self.note(f"going on after epoch {run.first_epoch} of {self.epochs}")

    def epoch(self, row: dict[str, Any]) -> None:
        print(epoch_line(row, self.epochs), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class RichBar(Logger):
    """A bar over all steps with the newest figures beside it."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console, self.epochs, self.figures = console, 0, ""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console)
        self.task: Any = None

    def start(self, run: Run) -> None:
        self.epochs = run.config.epochs
        if run.resumed:
            self.note(f"going on after epoch {run.first_epoch} of {self.epochs}")
        done = run.first_epoch * run.steps_per_epoch
        self.bar.start()
        self.task = self.bar.add_task("training", total=self.epochs * run.steps_per_epoch, completed=done)

    def step(self, row: dict[str, Any]) -> None:
        if self.task is not None:
            words = f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.4f}{self.figures}"
            self.bar.update(self.task, completed=row["step"], description=words)

    def epoch(self, row: dict[str, Any]) -> None:
        if "val_accuracy" in row:
            self.figures = f"  val {row['val_accuracy']:.1%}"

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self.bar.stop()
