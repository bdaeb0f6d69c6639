"""One optimiser step, the same whether one process takes it or several share it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.errors import NonFiniteLoss, some
from vpt.training.batches import Labelled, describe
from vpt.training.config import FitConfig
from vpt.training.devices import place
from vpt.training.guide import follow, guide_gradients
from vpt.training.optim import build_optimizer
from vpt.training.preflight import Facts
from vpt.training.trained import load_trained_state, trainable, trained_state

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class StepSums:
    """Sums over the images of one global batch, and the norm of the gradient before clipping."""

    loss: float
    weight: float
    correct: float
    images: float
    grad_norm: float


class _Forward(nn.Module):
    """What accelerate may wrap and patch, so that the user's model stays as it is."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        return self.net(images)


class Learner:
    """A model with its optimiser and its loss. `net` is what a batch goes through: the model, or a part of it."""

    def __init__(
        self, model: nn.Module, config: FitConfig, facts: Facts, accelerator: Accelerator, net: nn.Module
    ) -> None:
        self.model: Any = model
        self.config, self.accelerator = config, accelerator
        self.trained = trainable(model)
        self.optimizer = build_optimizer(model, self.trained, config)
        accelerator.ddp_handler = self._data_parallel(facts)
        self.net, self._stepper = accelerator.prepare(_Forward(net), self.optimizer)
        self.device, self.dtype = place(net)
        weights = class_weights(config.class_weights, facts)
        # to the device in the precision of the loss: not every device knows float64
        wanted = torch.promote_types(self.dtype, torch.float32)
        self.weights = None if weights is None else weights.to(wanted).to(self.device)

    @staticmethod
    def _data_parallel(facts: Facts) -> Any:
        """A full backbone may hold tensors that no image reaches (a mask token): their gradient is not waited for."""
        from accelerate.utils import DistributedDataParallelKwargs

        return DistributedDataParallelKwargs(find_unused_parameters=bool(facts.unused))

    def step(self, batch: dict[str, Any], count: int, lr: float, step: int, dataset: Labelled) -> StepSums:
        """Learn from the first `count` images of `batch`, this process's part of the global batch.

        The gradient is that of the mean over the global batch, however unevenly it is split. Raises `NonFiniteLoss`
        on every process as soon as one meets a NaN or infinite loss or gradient; the model is then as before the step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._stepper.zero_grad()
        losses, sums = self._forward(batch, count)
        loss, weight, correct, images = sums
        if not math.isfinite(loss):
            self._stop("loss", batch, losses, step, lr, dataset)
        # data parallel averages gradients over processes: times their number, the average is the sum
        processes = self.accelerator.num_processes
        objective = losses.sum() * (processes / (weight or 1.0))
        share = count * processes / images  # 0 where the only image is a stand-in
        extra, guides = self._of_model("regulariser"), self._guides(share)
        self.accelerator.backward(objective if extra is None else objective + share * extra)
        if guides is not None:
            follow(self.trained.values(), guides)
        norm = self.accelerator.clip_grad_norm_(list(self.trained.values()), self.config.clip_norm or math.inf)
        if self.accelerator.scaler is None and not math.isfinite(norm):  # a scaler skips such steps by itself
            self._stop("gradient", batch, losses, step, lr, dataset)
        self._stepper.step()
        return StepSums(loss, weight, correct, images, float(norm))

    def _forward(self, batch: dict[str, Any], count: int) -> tuple[Tensor, list[float]]:
        """The losses `[count]`, and (loss, weight, correct, images) summed over the global batch."""
        images = batch["image"].to(self.device, self.dtype, non_blocking=True)
        labels = batch["label"].to(self.device, non_blocking=True)[:count]
        logits = self.net(images)[:count]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = None if self.weights is None else self.weights.to(logits.dtype)
        smoothing = self.config.label_smoothing
        losses = F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=smoothing)
        share = torch.ones_like(losses) if weights is None else weights[labels]
        correct = (logits.argmax(1) == labels).sum()
        local = torch.stack([losses.detach().sum(), share.sum(), correct.to(losses.dtype), losses.new_tensor(count)])
        sums: list[float] = self.accelerator.reduce(local, "sum").tolist()
        return losses, sums

    def _of_model(self, name: str) -> Tensor | None:
        """A loss that the model itself knows of its last pass: `regulariser()` is added to the mean loss (reported
        losses are without it), `guide()` is one that no step may oppose. None where it has none.

        Both are means over images, or hold for any: that of the global batch is the mean of the processes', each with
        its share of the images.
        """
        if not hasattr(self.model, name):
            return None
        with self.accelerator.autocast():
            extra: Tensor | None = getattr(self.model, name)()
        return extra

    def _guides(self, share: float) -> list[Tensor | None] | None:
        """The gradients of the model's guide, the same on all processes; None where it has no guide."""
        if (guide := self._of_model("guide")) is None:
            return None
        found = guide_gradients(share * guide, self.trained.values())
        return [None if g is None else self.accelerator.reduce(g, "mean") for g in found]

    def _stop(self, what: str, batch: dict[str, Any], losses: Tensor, step: int, lr: float, dataset: Labelled) -> None:
        """Raise `NonFiniteLoss` naming step, rate and images; all processes must call it together."""
        from accelerate.utils import gather_object

        indices = batch["index"][: len(losses)].tolist()
        bad = [i for i, finite in zip(indices, torch.isfinite(losses).tolist(), strict=True) if not finite]
        broken = [i for i, image in zip(indices, batch["image"], strict=False) if not torch.isfinite(image).all()]
        found = gather_object([(bad or ([] if what == "loss" else indices), broken)])
        self._stepper.zero_grad()
        raise NonFiniteLoss(_story(what, step, lr, found, dataset))

    def state(self) -> dict[str, Any]:
        """Copies, on the CPU, of all that a later `load` needs to go on."""
        scaler = self.accelerator.scaler
        state = {
            "model": trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "kept": dict(self.model.kept_state()) if hasattr(self.model, "kept_state") else {},
        }
        copied: dict[str, Any] = _copy(state)
        return copied

    def load(self, state: dict[str, Any]) -> None:
        """Take over a `state()`."""
        load_trained_state(self.model, state["model"])
        if state.get("kept"):
            self.model.load_kept_state(state["kept"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def class_weights(wanted: Any, facts: Facts) -> Tensor | None:
    """Loss weights `[C]`: None, the given ones, or "balanced", n / (C × count), so that each class weighs the same."""
    if isinstance(wanted, str) and wanted == "none":
        return None
    if isinstance(wanted, str):
        counts = np.bincount(facts.labels, minlength=facts.num_classes)
        return torch.tensor(len(facts.labels) / (facts.num_classes * np.maximum(counts, 1)))
    return torch.tensor([float(weight) for weight in wanted], dtype=torch.float64)


def _story(
    what: str, step: int, lr: float, found: list[tuple[list[int], list[int]]], dataset: Labelled, shown: int = 8
) -> str:
    bad, broken = ([i for part in parts for i in part] for parts in zip(*found, strict=True))
    names = some([describe(dataset, i) for i in broken or bad], shown)
    cause = "these images themselves hold NaN or infinite values" if broken else "try a lower learning rate"
    return f"{what} is not finite at step {step + 1}, learning rate {lr:g}, images: {names} ({cause})"


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value)
    return value
