"""What the command line may ask for, and the sizes it does not ask about."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.speed.settings import BACKBONES
from vpt.errors import OptionError, unknown

PREDICTOR = ("mixing", "adding", "memory", "swapping", "equality")
KINDS = {"predictor": PREDICTOR, "server": ("server",), "all": (*PREDICTOR, "server")}
"""What `--what` may be, and the parts that it is made of."""
LONG_ROUNDS = 3
"""Most rounds of what is hundreds of timings itself."""


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often.

    backbone: one of the speed benchmark's, with random weights, or any that `vpt.load_backbone` knows.
    checkpoint: a file with its weights. length: prompt tokens P in every block. classes: C of every head.
    batch: images B of a mixed pass, each of another task. tasks: how many are added, and compared.
    requests: of each server in all, from `clients` at once, sent in `blocks` that the servers take in turns.
    steady: tasks of the server that never change. pause: seconds between two changes of the others.
    start: how the process whose memory is measured comes to be.
    """

    what: str = "all"
    backbone: str = "tiny"
    checkpoint: Path | None = None
    length: int = 10
    classes: int = 100
    batch: int = 64
    tasks: int = 100
    rounds: int = 10
    requests: int = 10_000
    clients: int = 50
    blocks: int = 5
    steady: int = 24
    pause: float = 0.2
    seed: int = 0
    start: str = "spawn"

    def validate(self) -> None:
        """Raise `OptionError` for the first name that does not exist or number that cannot be."""
        if self.what not in KINDS:
            raise unknown("measurement", self.what, KINDS)
        if self.checkpoint is not None and self.backbone in BACKBONES:
            raise OptionError(f"checkpoint given; {self.backbone!r} has random weights. Give the --backbone it is of")
        for field in fields(self):
            number = getattr(self, field.name)
            if field.type == "int" and number < (0 if field.name == "seed" else 1):
                raise OptionError(f"{field.name}: {number} given; accepted: 1 or more")
        if self.requests % self.blocks:
            raise OptionError(
                f"requests: {self.requests} given; accepted: a multiple of {self.blocks}, as many as blocks"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """What is measured, each in a file of its own."""
        return KINDS[self.what]

    def rows(self, part: str) -> int:
        """How many rows of a part are wanted."""
        few = min(self.rounds, LONG_ROUNDS)
        return {"mixing": self.rounds, "adding": few, "swapping": 2 * self.rounds, "server": self.blocks}.get(part, 1)

    def identity(self, part: str) -> dict[str, Any]:
        """What must be equal for rows of a part to belong together, JSON-able."""
        of_server = {"requests", "clients", "blocks", "steady", "pause"}
        of_predictor = {"backbone", "checkpoint", "length", "classes", "batch", "tasks"}
        own = (of_server if part == "server" else of_predictor) | {"seed"}
        return {name: value for name, value in self.to_dict().items() if name in own}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "checkpoint": None if self.checkpoint is None else str(self.checkpoint)}


QUICK = Settings(
    backbone="quick", length=2, classes=3, batch=4, tasks=4, rounds=2, requests=40, clients=4, blocks=2, steady=2,
    pause=0.05, start="forkserver",
)  # fmt: skip
"""Seconds in all: to see that everything runs, not to learn anything."""
