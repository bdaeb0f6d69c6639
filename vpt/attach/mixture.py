"""A batch in which each image has a task of its own: what these bring, gathered image by image.

Tasks bring different numbers of prompts, or none: shorter ones are padded, and `open` says what may be read.
Letters: B images, U distinct tasks among them, S places for prompts among the tokens, P prompts that are only read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.attach.entering import Entering
from vpt.attach.fused import KeysValues


class Mixture:
    """What the tasks of a batch bring, block by block.

    tasks: the U distinct ones. index: `[B]`, the number of each image's task among these.
    """

    def __init__(self, tasks: Sequence[Entering], index: Tensor) -> None:
        self.tasks, self.index = tasks, index
        self._masks: dict[tuple[int, ...], Tensor] = {}  # blocks are mostly alike
        self._in_order = torch.equal(index, torch.arange(len(tasks), device=index.device))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def frames(self) -> Tensor | None:
        """What is added to images, `[B, 3, H, W]`, or None for nothing."""
        return self._filled([task.frame for task in self.tasks])

    def added(self, layer: int) -> Tensor | None:
        """What is added to the patch tokens of block `layer`, `[B, patches or 1, D]`, or None for nothing."""
        found = [task.added.get(layer) for task in self.tasks]
        most = max((tensor.shape[0] for tensor in found if tensor is not None), default=1)
        wide = [t if t is None or t.shape[0] == most else t.expand(most, -1) for t in found]
        return self._filled(wide)

    def places(self, layer: int) -> int:
        """Places S for prompts among the tokens of block `layer`, or after the last block."""
        return max(self._held(layer))

    def carries(self, layer: int) -> bool:
        """Whether what block `layer` answers at these places is read afterwards."""
        return any(t.held and t.held[layer] and t.held[layer + 1] and layer + 1 not in t.tokens for t in self.tasks)

    def taking_places(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Prompts `[B, S, D]` that take places at block `layer`, and for which images, `[B, 1, 1]`; None for none."""
        found = [task.tokens.get(layer) for task in self.tasks]
        if all(tokens is None for tokens in found):
            return None
        places = self.places(layer)
        padded = [None if tokens is None else longer(tokens, places) for tokens in found]
        new, brings = self._filled(padded), torch.tensor([tokens is not None for tokens in found])
        return new, brings.to(self.index.device)[self.index].view(-1, 1, 1)  # type: ignore[return-value]

    def read(self, layer: int) -> list[KeysValues] | None:
        """Keys and values `[B, heads, P, d]` that block `layer` reads, for each of its attentions; None for none."""
        found = [task.read.get(layer) for task in self.tasks]
        known = next((pairs for pairs in found if pairs is not None), None)
        if known is None:
            return None
        longest = max(self._brought(layer))
        return [
            tuple(
                self._gathered([self._or_nothing(pairs, which, part, like, longest) for pairs in found])
                for part, like in enumerate(pair)
            )
            for which, pair in enumerate(known)
        ]

    def open(self, layer: int, prefix: int, tokens: int) -> Tensor | None:
        """Which of its own `tokens` (places and all) and of the prompts read may be read, `[B, 1, 1, tokens + P]`.

        None where everything may.
        """
        held, brought = self._held(layer), self._brought(layer)
        places, longest = max(held), max(brought)
        if min(held) == places and min(brought) == longest:
            return None
        key = (prefix, tokens, *held, *brought)
        if key not in self._masks:
            rows = torch.ones(len(self.tasks), tokens + longest, dtype=torch.bool)
            for row, own, read in zip(rows, held, brought, strict=True):
                row[prefix + own : prefix + places] = False
                row[tokens + read :] = False
            self._masks[key] = rows.to(self.index.device)[self.index].view(len(self), 1, 1, -1)
        return self._masks[key]

    def _held(self, layer: int) -> list[int]:
        return [task.held[layer] if task.held else 0 for task in self.tasks]

    def _brought(self, layer: int) -> list[int]:
        return [task.read[layer][0][0].shape[1] if layer in task.read else 0 for task in self.tasks]

    @staticmethod
    def _or_nothing(pairs: list[KeysValues] | None, which: int, part: int, like: Tensor, length: int) -> Tensor:
        """One task's keys or values, padded to `length` prompts; `like` those of another where it has none."""
        return longer(like[:, :0] if pairs is None else pairs[which][part], length)

    def _filled(self, found: Sequence[Tensor | None]) -> Tensor | None:
        """One tensor per image, zeros where its task has none; None where no task has one."""
        known = next((tensor for tensor in found if tensor is not None), None)
        if known is None:
            return None
        return self._gathered([torch.zeros_like(known) if tensor is None else tensor for tensor in found])

    def _gathered(self, found: Sequence[Tensor]) -> Tensor:
        """The U tensors of one shape as `[B, ...]`; one alone is not copied."""
        if len(found) == 1:
            return found[0].expand(len(self), *found[0].shape)
        stacked = torch.stack(list(found))
        return stacked if self._in_order else stacked[self.index]


def longer(tensor: Tensor, length: int) -> Tensor:
    """`[..., P, d]` to `[..., length, d]`, zeros behind."""
    missing = length - tensor.shape[-2]
    return F.pad(tensor, (0, 0, 0, missing)) if missing else tensor
