"""Which loggers a run gets."""

from __future__ import annotations

from pathlib import Path

from vpt.training.config import FitConfig
from vpt.training.log import Group, JsonLines, Logger
from vpt.training.progress import progress_logger


def build_loggers(out: Path | None, config: FitConfig, quiet: bool) -> Logger:
    """Progress on the terminal unless `quiet`; with a folder `metrics.jsonl`, and TensorBoard where it is asked for."""
    members: list[Logger] = [] if quiet else [progress_logger()]
    if out is not None:
        members.append(JsonLines(out / "metrics.jsonl", config.log_every))
        if config.tensorboard:
            from vpt.training.tensorboard import TensorBoard

            members.append(TensorBoard(out / "tensorboard", config.log_every))
    return Group(members)
