"""What both pretraining scripts do: epochs of augmented images, a moving average, a checkpoint per epoch, a record."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from recipes import FLAG, recipes
from safetensors.torch import save
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from tiny_imagenet import augmented, decoded, normalised, write_atomically
from torch import Tensor, nn


class Pretraining(ABC):
    """Model, its moving average, optimiser and schedule, with one checkpoint per epoch; resumed from `out` by itself.

    recipe: a dataclass: epochs, batch, warmup, crop, colour, patch_drop, full_epochs, ema, and what `loss` needs.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Any, out: Path, device: str, seed: int,
        go_on: bool,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        self.out, self.device, self.seed = out, device, seed
        self.ema = ModelEmaV3(model, decay=recipe.ema, use_warmup=True)
        self.epoch, self.history, self.recipes = 0, [], []
        if (out / "checkpoint.pt").exists():
            self.resume(torch.load(out / "checkpoint.pt", map_location=device, weights_only=True))
        self.recipes = recipes(self.recipes, asdict(recipe), self.epoch, go_on)

    @property
    @abstractmethod
    def patch_dropout(self) -> Any:
        """The module of the model that leaves out a share `prob` of the patches."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, chance: random.Random) -> Tensor:
        """The loss of augmented images; chance: the epoch's own."""

    def stepped(self, step: int, steps: int, loss: float) -> None:  # noqa: B027 - most have nothing to do
        """Called after each step of an epoch."""

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history, self.recipes = state["epoch"], state["history"], state.get("recipes", [])

    def checkpoint(self) -> None:
        """Write all that `resume` needs."""
        state = dict(
            model=self.model.state_dict(), ema=self.ema.module.state_dict(), optimizer=self.optimizer.state_dict()
        )
        passed = dict(epoch=self.epoch, history=self.history, recipes=self.recipes)
        write_atomically(self.out / "checkpoint.pt", {**state, **passed})

    def run_epoch(self, images: Tensor, labels: Tensor) -> float:
        """One pass over the images; all chance in it depends on (seed, epoch) alone. Answers the mean loss."""
        start = self.seed * 100_003 + self.epoch
        torch.manual_seed(start)
        chance, g = random.Random(start), torch.Generator(self.device).manual_seed(start)
        recipe, steps = self.recipe, len(images) // self.recipe.batch
        self.patch_dropout.prob = recipe.patch_drop if self.epoch < recipe.epochs - recipe.full_epochs else 0.0
        schedule = CosineLRScheduler(
            self.optimizer, t_initial=recipe.epochs * steps, lr_min=1e-6, warmup_t=recipe.warmup * steps,
            t_in_epochs=False,
        )  # fmt: skip
        total = 0.0
        self.model.train()
        for step, rows in enumerate(torch.randperm(len(images))[: steps * recipe.batch].view(steps, -1)):
            schedule.step_update(self.epoch * steps + step)
            x = augmented(images[rows].to(self.device), recipe.crop, recipe.colour, g)
            loss = self.loss(x, labels[rows].to(self.device), chance)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.stepped(step, steps, loss.item())
            self.ema.update(self.model, step=self.epoch * steps + step)
            total += loss.item()
        self.epoch += 1
        return total / steps


@torch.inference_mode()
def top1(logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in [0, 1], of uint8 images."""
    pairs = zip(images.split(500), labels.split(500), strict=True)
    return sum(int((logits(normalised(x)).argmax(1) == y).sum()) for x, y in pairs) / len(labels)


def asked(about: str, out: str, presets: Mapping[str, Any]) -> tuple[argparse.Namespace, Any]:
    """The command line, and the recipe it asks for: the preset's (the first by default), with fields given singly."""
    first, *others = presets
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(out))
    if others:
        parser.add_argument("--preset", choices=presets, default=first)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(FLAG, action="store_true", dest="go_on")
    for name, value in asdict(presets[first]).items():
        parser.add_argument(f"--{name}", type=type(value) if not isinstance(value, bool) else lambda s: s == "true")
    args = parser.parse_args()
    preset = presets[args.preset if others else first]
    given = {name: getattr(args, name) for name in asdict(preset)}
    return args, type(preset)(**asdict(preset) | {name: value for name, value in given.items() if value is not None})


def train(run: Pretraining, data: Path, accuracy: Callable[[nn.Module, Tensor, Tensor], float]) -> int:
    """The epochs that are left, each with its line and its checkpoint. Answers the number of training images."""
    started = time.time()
    images, val = (tuple(t.to(run.device) for t in decoded(data, split, run.out)) for split in ("train", "val"))
    while run.epoch < run.recipe.epochs:
        loss = run.run_epoch(*images)
        row = dict(epoch=run.epoch, loss=round(loss, 4), val_top1=round(accuracy(run.ema.module, *val), 4))
        run.history.append({**row, "seconds": round(time.time() - started, 1)})
        print(json.dumps(run.history[-1]), flush=True)
        run.checkpoint()
    return len(images[0])


def write(run: Pretraining, name: str, tensors: Mapping[str, Tensor], architecture: Any, **facts: Any) -> None:
    """Write `tensors` as `name`.safetensors, and beside them the record of their SHA-256 and of the run."""
    content = save(dict(tensors))
    (run.out / f"{name}.safetensors").write_bytes(content)
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "architecture": architecture,
        "recipe": asdict(run.recipe),
        "recipes": run.recipes,
        "val_top1": run.history[-1]["val_top1"],
        "history": run.history,
        **facts,
    }
    (run.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
