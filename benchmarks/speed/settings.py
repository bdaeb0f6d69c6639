"""What the command line may ask for, and the sizes it does not ask about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vpt.errors import OptionError, unknown

KINDS = ("train", "infer", "memory", "sweep", "cache", "text")
TEXT_KINDS = ("text-train", "text-infer", "text-chunks", "text-memory")
"""What `text` measures."""
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Backbone:
    """A timm model with random weights, the options it is created with, and its batch on a CPU and on CUDA."""

    model: str
    cpu_batch: int
    cuda_batch: int = 128
    options: dict[str, Any] = field(default_factory=dict)


BACKBONES = {
    "tiny": Backbone("vit_tiny_patch16_224", 32),
    "small": Backbone("vit_small_patch16_224", 16),
    "base": Backbone("vit_base_patch16_224", 8),
    "quick": Backbone("vit_tiny_patch16_224", 2, 2, {"img_size": 64, "depth": 2, "embed_dim": 48}),
}


@dataclass(frozen=True)
class Tower:
    """A text tower of open_clip with random weights: its `text_cfg`, and the width of the features it answers."""

    model: str
    features: int
    config: dict[str, int]


TEXTS = {"context_length": 77, "vocab_size": 49408}
TOWERS = {
    "clip-b32": Tower("ViT-B-32", 512, {**TEXTS, "width": 512, "heads": 8, "layers": 12}),
    "quick": Tower("2 blocks of width 32", 32, {**TEXTS, "width": 32, "heads": 2, "layers": 2}),
}

SWEEP = {
    "model": "tiny",
    "images": 1000,
    "classes": 102,
    "epochs": 100,
    "lr": [50.0, 25.0, 10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05],
    "weight_decay": [0.01, 0.001, 0.0001, 0.0],
    "batch": 64,
}
"""The paper's linear probe: 10 learning rates x 4 weight decays, 100 epochs, on as many images as VTAB-1k has."""

CACHE = {"model": "tiny", "images": 256, "epochs": 5, "layers": "last:3", "length": 10, "batch": 32}
"""Prompts in the last blocks only: what enters them is the same in every epoch."""

TEXT = {
    "model": "clip-b32",
    "context": 16,
    "batch": 32,
    "texts": [100, 1000],
    "at_once": 500,
    "memory": [100, 250, 500, 1000],
    "chunks": [512, 1024, 2048, 4096, 8192, 16384],
}
"""CoOp over some of ImageNet's class names, on image features that are there already.

at_once: most class names in one plain training step on a CPU. Its activations are 24 MB for each name, so a step over
more is timed in parts, and its peak is told by the line through those of fewer names.
chunks: most tokens in one chunk of texts, each tried on the fused path over the most names.
"""


@dataclass(frozen=True)
class Settings:
    """What is measured, how often, and how.

    batch: images per step, None for each backbone's own. compile: whether contenders run under `torch.compile`.
    seed: of the order of turns, and of the data. start: how a process whose memory is measured comes to be.
    """

    models: Sequence[str] = ("tiny", "small", "base")
    lengths: Sequence[int] = (10, 50, 100, 200)
    what: Sequence[str] = KINDS
    rounds: int = 10
    batch: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    seed: int = 0
    start: str = "spawn"
    sweep: dict[str, Any] = field(default_factory=lambda: dict(SWEEP))
    cache: dict[str, Any] = field(default_factory=lambda: dict(CACHE))
    text: dict[str, Any] = field(default_factory=lambda: dict(TEXT))

    def validate(self) -> None:
        """Raise `OptionError` for the first name that does not exist or number that cannot be."""
        for kind, names, known in (("model", self.models, BACKBONES), ("measurement", self.what, KINDS)):
            for name in names:
                if name not in known:
                    raise unknown(kind, name, known)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        numbers = [("rounds", self.rounds), *(("length", length) for length in self.lengths)]
        for name, number in numbers + ([] if self.batch is None else [("batch", self.batch)]):
            if number < 1:
                raise OptionError(f"{name}: {number} given; accepted: 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


QUICK = Settings(
    models=("quick",), lengths=(2,), rounds=2, start="forkserver",
    sweep={**SWEEP, "model": "quick", "images": 8, "classes": 3, "epochs": 2, "lr": [1.0, 0.1], "batch": 4},
    cache={**CACHE, "model": "quick", "images": 8, "epochs": 3, "layers": "last:1", "length": 2, "batch": 4},
    text={**TEXT, "model": "quick", "texts": [2, 5], "at_once": 4, "memory": [2, 4, 5], "chunks": [8]},
)  # fmt: skip
"""Seconds in all: to see that everything runs, not to learn anything."""
