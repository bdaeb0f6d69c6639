"""What one image came to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vpt.errors import OptionError


@dataclass(frozen=True)
class Result:
    """The answer for one image by one task.

    labels, probabilities, logits: of the C classes, in the task's own order; tensors `[C]` on the CPU.
    task: its name, None for the backbone alone. digest: SHA-256 of the task's tensors, which tells versions apart.
    Without classes (a backbone without a head) `logits` are its features, and there are no labels or probabilities.
    """

    task: str | None
    digest: str | None
    labels: tuple[str, ...]
    probabilities: Tensor
    logits: Tensor

    @property
    def label(self) -> str:
        """The likeliest class. Raises `OptionError` where there are none."""
        if not self.labels:
            raise OptionError("this answer is features, and has no classes; see `logits`")
        return self.top(1)[0][0]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities in [0, 1], likeliest first."""
        values, order = self.probabilities.topk(min(count, len(self.labels)))
        return [(self.labels[c], p) for p, c in zip(values.tolist(), order.tolist(), strict=True)]
