"""What is measured: which contenders meet, on which backbone, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.speed.settings import BACKBONES, TEXT_KINDS, Settings


@dataclass(frozen=True)
class Contender:
    """`hooks` and `fused`: deep prompts of a length on that path. `floor`: no prompts. `full`: full fine-tuning.

    Of learned texts `plain` and `fused` are the paths; the length is the most tokens in a chunk, None for vpt's own.
    """

    kind: str
    length: int | None = None

    @property
    def name(self) -> str:
        """`hooks-10`, `floor`, ..."""
        return self.kind if self.length is None else f"{self.kind}-{self.length}"


@dataclass(frozen=True)
class Case:
    """One measurement, kept in one file: `rows` rows of it are wanted, each of which is kept as soon as it is there.

    what: one of `settings.KINDS`, or of `settings.TEXT_KINDS` in place of `text`. options: what only that kind needs to
    know.
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
        alone = f"-{self.contenders[0].name}" if self.remembers else ""
        texts = f"-{self.options['texts']}" if self.what in TEXT_KINDS else ""
        return f"{self.what}-{self.backbone}{texts}{alone}"

    @property
    def remembers(self) -> bool:
        """Whether it measures the bytes of its one contender."""
        return self.what in ("memory", "text-memory")

    def identity(self) -> dict[str, Any]:
        """What must be equal for rows to belong together, JSON-able."""
        fields = asdict(self) | {"contenders": [asdict(contender) for contender in self.contenders]}
        return {name: value for name, value in fields.items() if name != "rows"}


PLAIN, FUSED = Contender("plain"), Contender("fused")
LONG_ROUNDS = 3
"""Most rounds of what takes minutes."""


def plan(settings: Settings) -> list[Case]:
    """All measurements, in the order they are made. Raises `OptionError` for settings that cannot be."""
    settings.validate()
    make = {"train": together, "infer": together, "memory": alone, "sweep": single, "cache": single}
    make["text"] = texts
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
    rows = min(settings.rounds, LONG_ROUNDS) if what == "sweep" else 1
    yield Case(what, options["model"], (), options["batch"], rows, *_how(settings), options)


def texts(settings: Settings, what: str) -> Iterator[Case]:
    """Both paths in turns for each number of class names, then sizes of chunks, then each contender's bytes alone."""
    sizes = settings.text
    most, rounds = max(sizes["texts"]), min(settings.rounds, LONG_ROUNDS)
    at_once = sizes["at_once"] if settings.device == "cpu" else max(most, *sizes["memory"])
    chunked = tuple(Contender("fused", tokens) for tokens in sizes["chunks"])

    def case(what: str, texts: int, contenders: tuple[Contender, ...], rows: int) -> Case:
        options = {"texts": texts, "context": sizes["context"], "at_once": at_once, "start": settings.start}
        return Case(what, sizes["model"], contenders, sizes["batch"], rows, *_how(settings), options)

    for texts in sizes["texts"]:
        yield case("text-train", texts, (PLAIN, FUSED), settings.rounds if texts <= at_once else rounds)
    for texts in sizes["texts"]:
        yield case("text-infer", texts, (PLAIN, FUSED), settings.rounds if texts <= at_once else rounds)
    yield case("text-chunks", most, (FUSED, *chunked), rounds)
    for texts in sizes["memory"]:
        yield from (case("text-memory", texts, (one,), 1) for one in (PLAIN, FUSED) if one is FUSED or texts <= at_once)
    yield from (case("text-memory", most, (one,), 1) for one in chunked)


def _batch(settings: Settings, model: str) -> int:
    backbone = BACKBONES[model]
    return settings.batch or (backbone.cuda_batch if settings.device == "cuda" else backbone.cpu_batch)


def _how(settings: Settings) -> tuple[str, str, bool, int]:
    return settings.device, settings.precision, settings.compile, settings.seed
