"""What is measured: which contenders meet, on which backbone, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.speed.settings import BACKBONES, Settings


@dataclass(frozen=True)
class Contender:
    """`hooks` and `fused`: deep prompts of a length on that path. `floor`: no prompts. `full`: full fine-tuning."""

    kind: str
    length: int | None = None

    @property
    def name(self) -> str:
        """`hooks-10`, `floor`, ..."""
        return self.kind if self.length is None else f"{self.kind}-{self.length}"


@dataclass(frozen=True)
class Case:
    """One measurement, kept in one file: `rows` rows of it are wanted, each of which is kept as soon as it is there.

    what: one of `settings.KINDS`; options: what only that kind needs to know.
    """

    what: str
    backbone: str
    contenders: tuple[Contender, ...]
    batch: int
    rows: int
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its file, and what progress calls it."""
        alone = f"-{self.contenders[0].name}" if self.what == "memory" else ""
        return f"{self.what}-{self.backbone}{alone}"

    def identity(self) -> dict[str, Any]:
        """What must be equal for rows to belong together, JSON-able."""
        fields = asdict(self) | {"contenders": [asdict(contender) for contender in self.contenders]}
        return {name: value for name, value in fields.items() if name != "rows"}


def plan(settings: Settings) -> list[Case]:
    """All measurements, in the order they are made. Raises `OptionError` for settings that cannot be."""
    settings.validate()
    make = {"train": together, "infer": together, "memory": alone, "sweep": single, "cache": single}
    return [case for what in settings.what for case in make[what](settings, what)]


def meeting(settings: Settings, what: str) -> tuple[Contender, ...]:
    """Who takes part. In inference full fine-tuning is the unprompted backbone, and left out."""
    prompted = [Contender(path, length) for length in settings.lengths for path in ("hooks", "fused")]
    full = [] if what == "infer" else [Contender("full")]
    return (Contender("floor"), *prompted, *full)


def together(settings: Settings, what: str) -> Iterator[Case]:
    """One case per backbone, in which all contenders take turns."""
    for model in settings.models:
        yield Case(what, model, meeting(settings, what), _batch(settings, model), settings.rounds, *_how(settings))


def alone(settings: Settings, what: str) -> Iterator[Case]:
    """One case per backbone and contender."""
    options = {"start": settings.start}
    for model in settings.models:
        for contender in meeting(settings, what):
            yield Case(what, model, (contender,), _batch(settings, model), 1, *_how(settings), options)


def single(settings: Settings, what: str) -> Iterator[Case]:
    """The one case of a kind that brings its own sizes."""
    options = getattr(settings, what)
    rows = min(settings.rounds, 3) if what == "sweep" else 1
    yield Case(what, options["model"], (), options["batch"], rows, *_how(settings), options)


def _batch(settings: Settings, model: str) -> int:
    backbone = BACKBONES[model]
    return settings.batch or (backbone.cuda_batch if settings.device == "cuda" else backbone.cpu_batch)


def _how(settings: Settings) -> tuple[str, str, bool, int]:
    return settings.device, settings.precision, settings.compile, settings.seed
