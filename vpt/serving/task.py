"""One task in memory: what it brings into the shared backbone, and what reads the features it gets."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vpt.artifacts import Manifest
from vpt.attach.entering import NOTHING, Entering
from vpt.data import Preprocessing


@dataclass(frozen=True)
class Task:
    """A loaded task; nothing in it changes, so that a pass that has begun ends with what it began with.

    classes: the C names in the order of the logits; none where the answer is features.
    answer: from the features `[B, F]` that the backbone's heads read, one tensor for each, to logits `[B, C]`.
    manifest, folder: of the saved task; None for the backbone alone.
    """

    name: str | None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    answer: nn.Module
    entering: Entering = NOTHING
    manifest: Manifest | None = None
    folder: Path | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the saved tensors."""
        return None if self.manifest is None else str(self.manifest.tensors["sha256"])

    @property
    def bytes(self) -> int:
        """Memory of the tensors that it holds: keys and values, or prompts, and head or class features."""
        return self.entering.bytes + sum(t.nbytes for t in (*self.answer.parameters(), *self.answer.buffers()))

    def to(self, device: torch.device) -> Task:
        """The same task on another device."""
        return replace(self, entering=self.entering.to(device), answer=copy.deepcopy(self.answer).to(device))


class Heads(nn.Module):
    """One head for each token that is pooled, most often one; logits are their mean, as a distilled model's."""

    def __init__(self, heads: list[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, *features: Tensor) -> Tensor:
        """Logits `[B, C]` of features `[B, F]`."""
        answers = [head(seen) for head, seen in zip(self.heads, features, strict=True)]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)
