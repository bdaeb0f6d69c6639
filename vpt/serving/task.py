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
        own = (*self.answer.parameters(), *self.answer.buffers()) if self._owns_answer else ()
        return self.entering.bytes + sum(tensor.nbytes for tensor in own)

    def to(self, device: torch.device) -> Task:
        """The same task on another device."""
        answer = copy.deepcopy(self.answer).to(device) if self._owns_answer else self.answer
        return replace(self, entering=self.entering.to(device), answer=answer)

    @property
    def _owns_answer(self) -> bool:
        return not isinstance(self.answer, Heads) or self.answer.own


class Heads(nn.Module):
    """One head for each token that is pooled, most often one; logits are their mean, as a distilled model's.

    own: False for heads that are the backbone's, which no task has to itself.
    """

    def __init__(self, heads: list[nn.Module], *, own: bool = True) -> None:
        super().__init__()
        self.heads, self.own = nn.ModuleList(heads), own

    def forward(self, *features: Tensor) -> Tensor:
        """Logits `[B, C]` of features `[B, F]`."""
        answers = [head(seen) for head, seen in zip(self.heads, features, strict=True)]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)
