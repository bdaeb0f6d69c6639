"""What a method learns on a CLIP, in parts: learned tensors, room for a context, fixed sentences, and how these make
class features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from vpt.methods.clip.epoch_average import EpochAverage
from vpt.methods.method import Build, method
from vpt.prompts.class_texts import Position
from vpt.prompts.tokens import Tokens
from vpt.prompts.words import Words
from vpt.sites.clip_text_site import TextSite
from vpt.sites.clip_visual import visual_site
from vpt.sites.site import Site

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip


@dataclass(frozen=True)
class ClipTask:
    """What a method is built on: the text site of a CLIP, its tokenizer, and the names of C classes."""

    site: TextSite
    words: Words
    classnames: tuple[str, ...]

    @property
    def visual(self) -> Site:
        """The site of the image tower. Raises `UnsupportedBackbone` for one that takes no prompts."""
        return visual_site(self.site.model)


@dataclass(frozen=True)
class Pass:
    """What the last forward pass of training made: what penalties and guides are made of.

    seen: normalised image features `[B, F]`. frozen: those of the tower before anything entered it, where they are
    asked for. classes: normalised class features `[C, F]` or `[B, C, F]`. logits: `[B, C]`.
    """

    seen: Tensor
    frozen: Tensor | None
    classes: Tensor
    logits: Tensor


Loss = Callable[["TunedClip", Pass], Tensor]


class Comparing(Protocol):
    """What comparisons of images and classes may ask of a model."""

    def learned_tensors(self, *args: Tensor) -> Tensor:
        """What the module of learned tensors answers."""

    def cosines(self, seen: Tensor, classes: Tensor) -> Tensor:
        """CLIP's own logits of normalised features."""


@dataclass(frozen=True)
class ClipLearned:
    """What one method learns on one CLIP.

    features: from the tuned model and normalised image features `[B, F]` to class features `[C, F]`, or `[B, C, F]`
        where `per_image`; they are normalised afterwards. None where `compare` asks for none, and is given `[0, F]`.
    prompts: the module of learned tensors, if any; its `per_class` says that it belongs to these very classes.
    context: context tokens M in the text of each class, and `position` where the name stands; 0: no such text.
    after: ids of fixed tokens between context and name.
    templates: sentences with {} for the name, whose features `TunedClip.template_features` answers.
    visual: what enters the image tower, a part of `prompts`.
    compare: from the tuned model, normalised image features `[B, F]` and class features to logits `[B, C]`; None for
        CLIP's own way (`TunedClip.cosines`).
    penalty: what training adds to the cross-entropy, from the tuned model and the last pass.
    guide: a loss that no step may oppose (see `vpt.training.guide`), from the same.
    wants_frozen: whether `Pass.frozen` is needed.
    average: over epochs, which training ends with, if any.
    adapters: by the names of modules of the CLIP, what stands in for each (see `vpt.attach.adapters`).
    """

    features: Callable[[TunedClip, Tensor], Tensor] | None
    prompts: nn.Module | None = None
    context: int = 0
    position: Position = "end"
    after: tuple[int, ...] = ()
    templates: tuple[str, ...] = ()
    per_image: bool = False
    visual: Tokens | None = None
    compare: Callable[[Comparing, Tensor, Tensor], Tensor] | None = None
    penalty: Loss | None = None
    guide: Loss | None = None
    wants_frozen: bool = False
    average: EpochAverage | None = None
    adapters: Mapping[str, nn.Module] = field(default_factory=dict)

    @property
    def per_class(self) -> bool:
        """Whether what is learned belongs to these very classes."""
        return bool(getattr(self.prompts, "per_class", False))


def clip_method(name: str) -> Callable[[Build], Build]:
    """Register `build(task: ClipTask, generator, **options) -> ClipLearned` as the method `name` for open_clip models.

    Its signature is its options, its docstring its description.
    """
    return method(name, family="open_clip")
