"""A tuned model as a plain module: its prompts are constants, and only what images pass through is a part of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vpt.attach import Fused
from vpt.errors import OptionError
from vpt.methods import Tuned, TunedClip
from vpt.methods.clip.classifier import ClipClassifier
from vpt.prompts import FramePrompts, Tokens


class Constant(nn.Module):
    """From images `[B, 3, H, W]` to the logits `[B, C]` that `model` gives.

    `model`, in eval, is used up: its prompts answer constants afterwards. Neither they nor what a CLIP's texts were
    made by are among the parameters here. Raises `OptionError` for a CLIP whose class features depend on the image.
    """

    def __init__(self, model: Tuned | TunedClip) -> None:
        super().__init__()
        run = self._from_clip(model) if isinstance(model, TunedClip) else self._from_timm(model)
        self._run = (run,)  # in a tuple: what it holds besides the parts is no part

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, C]` of images `[B, 3, H, W]`."""
        return self._run[0](images)

    def _from_timm(self, model: Tuned) -> Callable[[Tensor], Tensor]:
        self.backbone = model.backbone
        fold(model.backbone, model.prompts)
        return model

    def _from_clip(self, model: TunedClip) -> Callable[[Tensor], Tensor]:
        if model.learned.per_image:
            raise OptionError(
                f"{model.method!r} encodes the texts of all classes anew for each image, which no graph of fixed "
                "steps does; exported are methods whose class features do not depend on the image"
            )
        answer = ClipClassifier(model)
        self.visual, self.answer = model.backbone.get_submodule("visual"), answer
        fold(self.visual, model.learned.visual)
        return lambda images: answer(model.image_features(images))


@torch.no_grad()
def fold(backbone: nn.Module, prompts: nn.Module | None) -> None:
    """Make what `prompts` bring into `backbone` constants: keys and values on the fused path, tokens elsewhere."""
    for module in backbone.modules():
        if isinstance(fused := module.__dict__.get("forward"), Fused):
            fused.fold(next(backbone.parameters()).dtype)
    if prompts is not None:
        setattr(prompts, "forward", Answers(prompts))  # noqa: B010 - a method, to mypy


class Answers:
    """Stands in for the `forward` of prompts: what they answer, by layer, whatever the batch."""

    def __init__(self, prompts: nn.Module) -> None:
        asked = [()] if isinstance(prompts, FramePrompts) else [(layer,) for layer in prompts.layers]  # type: ignore[union-attr]
        batch = (1,) if isinstance(prompts, Tokens) else ()
        self._found: dict[tuple[int, ...], Tensor] = {one: prompts(*one, *batch) for one in asked}

    def __call__(self, *asked: int) -> Tensor:
        return self._found[asked[:1]]
