"""The contenders as they are built, and what one turn of each does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vpt
from benchmarks.speed.plan import Case, Contender
from benchmarks.speed.settings import BACKBONES
from vpt.methods.tuned_model import TunedModel

CLASSES = 100
LR = 1e-3
"""Small enough that random weights stay finite over any number of steps; plain SGD, so that no state is added."""

Turn = Callable[[], Any]
"""One training step, or one forward pass, of one contender."""


class Start:
    """Pre-hook of the first block: the tokens that enter require a gradient, so activations need one everywhere.

    Adds a zero that requires one. Asking it of the tokens themselves saves one addition, and breaks compiled graphs.
    """

    def __init__(self, device: str) -> None:
        self.zero = torch.zeros((), device=device, requires_grad=True)

    def __call__(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0] + self.zero, *args[1:]) if torch.is_grad_enabled() else args


def backbone(name: str, device: str, classes: int = CLASSES) -> nn.Module:
    """A timm model with random weights, the same for every contender."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        chosen = BACKBONES[name]
        model: nn.Module = timm.create_model(chosen.model, num_classes=classes, **chosen.options)
    return model.to(device)


def build(contender: Contender, name: str, device: str) -> vpt.Tuned:
    """The contender on the backbone of that name in `settings.BACKBONES`."""
    model = backbone(name, device)
    if contender.kind == "full":
        return vpt.tune(model, "full")
    if contender.kind == "floor":
        tuned = vpt.tune(model, "linear")
        tuned.site.blocks[0].register_forward_pre_hook(Start(device))
        return tuned
    return vpt.tune(model, "deep", length=contender.length, path=contender.kind)


def pixels(name: str) -> int:
    """Height and width of the images a backbone reads."""
    return int(BACKBONES[name].options.get("img_size", 224))


def batch(name: str, size: int, device: str, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Random images `[B, 3, H, W]` and labels `[B]`, the same for every contender."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 3, pixels(name), pixels(name), generator=generator)
    return images.to(device), torch.randint(classes, (size,), generator=generator).to(device)


class TrainingStep:
    """Forward, cross-entropy, backward, step of SGD, gradients set to None; always on the same batch.

    A case of memory takes AdamW, as `vpt.fit` does by default, since the state of an optimiser is part of the peak.
    """

    def __init__(self, model: TunedModel, images: Tensor, labels: Tensor, case: Case) -> None:
        self.model, self.images, self.labels, self.case = model, images, labels, case
        chosen = torch.optim.AdamW if case.remembers else torch.optim.SGD
        self.optimizer = chosen(model.trainable().values(), lr=LR)
        model.train()
        self.net = compiled(model, case)

    def loss(self) -> Tensor:
        """The loss with its graph."""
        with autocast(self.case):
            return F.cross_entropy(self.net(self.images), self.labels)

    def __call__(self) -> None:
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Inference:
    """One forward pass in evaluation and inference mode, with prompts folded into constants where that is offered."""

    def __init__(self, model: vpt.Tuned, images: Tensor, case: Case) -> None:
        self.images, self.case = images, case
        model.eval()
        if hasattr(model, "fold"):
            model.fold()
        self.net = compiled(model, case)

    def __call__(self) -> Tensor:
        with torch.inference_mode(), autocast(self.case):
            return self.net(self.images)  # type: ignore[no-any-return]


def turns(case: Case) -> dict[str, Turn]:
    """What each contender of a `train` or `infer` case does in its turn, by name."""
    images, labels = batch(case.backbone, case.batch, case.device)
    models = {contender.name: build(contender, case.backbone, case.device) for contender in case.contenders}
    if case.what == "infer":
        return {name: Inference(model, images, case) for name, model in models.items()}
    return {name: TrainingStep(model, images, labels, case) for name, model in models.items()}


def autocast(case: Case) -> torch.autocast:
    """The precision of a case, as a context."""
    return torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16")


def compiled(model: nn.Module, case: Case) -> Callable[[Tensor], Any]:
    """The model, compiled where the case asks for it."""
    if not case.compile:
        return model
    import torch._dynamo as dynamo

    dynamo.config.recompile_limit = 256  # all contenders count towards the same one
    dynamo.config.fail_on_recompile_limit_hit = True  # falling back to eager in silence would be timed as compiled
    return torch.compile(model, dynamic=False)  # else the second length met would be compiled for any length
