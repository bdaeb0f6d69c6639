"""What a method learns on a CLIP, in parts: learned tensors, room for a context, fixed sentences, and how these make
class features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vpt.methods.method import Build, method
from vpt.prompts.class_texts import Position
from vpt.prompts.words import Words
from vpt.sites.clip_text import TextSite

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip


@dataclass(frozen=True)
class ClipTask:
    """What a method is built on: the text site of a CLIP, its tokenizer, and the names of C classes."""

    site: TextSite
    words: Words
    classnames: tuple[str, ...]


@dataclass(frozen=True)
class ClipLearned:
    """What one method learns on one CLIP.

    features: from the tuned model and normalised image features `[B, F]` to class features `[C, F]`, or `[B, C, F]`
        where `per_image`; they are normalised afterwards.
    prompts: the module of learned tensors, if any; its `per_class` says that it belongs to these very classes.
    context: context tokens M in the text of each class, and `position` where the name stands; 0: no such text.
    templates: sentences with {} for the name, whose features `TunedClip.template_features` answers.
    penalty: what training adds to the cross-entropy, from the tuned model and its normalised class features.
    """

    features: Callable[[TunedClip, Tensor], Tensor]
    prompts: nn.Module | None = None
    context: int = 0
    position: Position = "end"
    templates: tuple[str, ...] = ()
    per_image: bool = False
    penalty: Callable[[TunedClip, Tensor], Tensor] | None = None

    @property
    def per_class(self) -> bool:
        """Whether what is learned belongs to these very classes."""
        return bool(getattr(self.prompts, "per_class", False))


def clip_method(name: str) -> Callable[[Build], Build]:
    """Register `build(task: ClipTask, generator, **options) -> ClipLearned` as the method `name` for open_clip models.

    Its signature is its options, its docstring its description.
    """
    return method(name, family="open_clip")
