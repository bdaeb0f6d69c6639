#!/usr/bin/env python
"""Pretrain the embedded backbone from scratch on Tiny-ImageNet-200, labels only, no teacher.

    python scripts/pretrain_embedded.py --data PATH/tiny-imagenet-200 --out runs/embedded --preset cpu

`PATH` is either the published folder (`train/<wnid>/images`, `val/val_annotations.txt`) or a folder with `train60k.npz`
and `val4k.npz` (arrays `jpeg`, `offsets`, `labels`). The run resumes from `--out` by itself, with the recipe it had. At
the end `--out` holds `embedded_vit.safetensors` and `embedded_vit.json` (SHA-256, recipe, history), which belong in
`vpt/backbones/`. The model card there says which command made the weights that are shipped, and what they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from recipes import FLAG, recipes
from safetensors.torch import save
from timm.data.mixup import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from tiny_imagenet import CLASSES, augmented, decoded, normalised, write_atomically
from torch import Tensor, nn

from vpt.backbones.embedded import ARCHITECTURE, build


@dataclass
class Recipe:
    """What a preset fixes; every field can be given on the command line as `--field value`."""

    epochs: int
    batch: int = 128
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 2
    smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    crop: float = 0.4  # smallest area of a random crop
    colour: float = 0.2  # largest change of brightness and contrast
    drop_path: float = 0.0
    patch_drop: float = 0.5  # share of patches left out of a training step: a regulariser and a speed-up
    full_epochs: int = 3  # last epochs, with all patches
    ema: float = 0.999
    bf16: bool = False


PRESETS = {
    "cpu": Recipe(epochs=30),
    "gpu": Recipe(
        epochs=300, batch=512, lr=2e-3, warmup=10, mixup=0.4, cutmix=1.0, crop=0.2, colour=0.4,
        drop_path=0.05, patch_drop=0.0, full_epochs=0, ema=0.9995, bf16=True,
    ),
}  # fmt: skip


# --- training -------------------------------------------------------------------------------------


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in [0, 1]."""
    model.eval()
    right = [
        (model(normalised(x)).argmax(1) == y).sum() for x, y in zip(images.split(500), labels.split(500), strict=True)
    ]
    return float(sum(right) / len(labels))


class Pretraining:
    """Model, its moving average, optimiser and schedule, with one checkpoint per epoch."""

    def __init__(self, recipe: Recipe, out: Path, device: str, seed: int = 0, go_on: bool = False) -> None:
        torch.manual_seed(seed)
        self.recipe, self.out, self.device, self.seed = recipe, out, device, seed
        self.model = build(CLASSES, drop_path_rate=recipe.drop_path, patch_drop_rate=recipe.patch_drop).to(device)
        self.ema = ModelEmaV3(self.model, decay=recipe.ema, use_warmup=True)
        self.optimizer = create_optimizer_v2(self.model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.epoch, self.history, self.recipes = 0, [], []
        mixes = recipe.mixup > 0 or recipe.cutmix > 0
        self.mixup = (
            Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.smoothing, num_classes=CLASSES) if mixes else None
        )
        if (out / "checkpoint.pt").exists():
            self.resume(torch.load(out / "checkpoint.pt", map_location=device, weights_only=True))
        self.recipes = recipes(self.recipes, asdict(recipe), self.epoch, go_on)

    def resume(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history, self.recipes = state["epoch"], state["history"], state.get("recipes", [])

    def checkpoint(self) -> None:
        state = dict(
            model=self.model.state_dict(), ema=self.ema.module.state_dict(), optimizer=self.optimizer.state_dict()
        )
        passed = dict(epoch=self.epoch, history=self.history, recipes=self.recipes)
        write_atomically(self.out / "checkpoint.pt", {**state, **passed})

    def run_epoch(self, images: Tensor, labels: Tensor) -> float:
        """One pass over the images; its order and augmentation depend on (seed, epoch) alone. Answers the mean loss."""
        torch.manual_seed(self.seed * 100_003 + self.epoch)
        g = torch.Generator(self.device).manual_seed(self.seed * 100_003 + self.epoch)
        recipe, steps = self.recipe, len(images) // self.recipe.batch
        self.model.patch_drop.prob = recipe.patch_drop if self.epoch < recipe.epochs - recipe.full_epochs else 0.0
        schedule = CosineLRScheduler(
            self.optimizer, t_initial=recipe.epochs * steps, lr_min=1e-6, warmup_t=recipe.warmup * steps,
            t_in_epochs=False,
        )  # fmt: skip
        total, device = 0.0, self.device
        self.model.train()
        for step, rows in enumerate(torch.randperm(len(images))[: steps * recipe.batch].view(steps, -1)):
            schedule.step_update(self.epoch * steps + step)
            x, y = augmented(images[rows].to(device), recipe.crop, recipe.colour, g), labels[rows].to(device)
            x, y = self.mixup(x, y) if self.mixup else (x, y)
            with torch.autocast(device, torch.bfloat16, enabled=recipe.bf16):
                loss = F.cross_entropy(self.model(x), y, label_smoothing=0.0 if self.mixup else recipe.smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.ema.update(self.model, step=self.epoch * steps + step)
            total += loss.item()
        self.epoch += 1
        return total / steps


def export(run: Pretraining, images: int) -> None:
    """Write the averaged weights, without the head, and the record that names their SHA-256."""
    tensors = {name: t.cpu().contiguous() for name, t in run.ema.module.state_dict().items() if name[:5] != "head."}
    content = save(tensors)
    (run.out / "embedded_vit.safetensors").write_bytes(content)
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "architecture": ARCHITECTURE,
        "recipe": asdict(run.recipe),
        "recipes": run.recipes,
        "images": images,
        "val_top1": run.history[-1]["val_top1"],
        "history": run.history,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
    }
    (run.out / "embedded_vit.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(FLAG, action="store_true", dest="go_on")
    for name, value in asdict(PRESETS["cpu"]).items():
        parser.add_argument(f"--{name}", type=type(value) if not isinstance(value, bool) else lambda s: s == "true")
    args = vars(parser.parse_args())
    recipe = Recipe(**{k: v if args[k] is None else args[k] for k, v in asdict(PRESETS[args["preset"]]).items()})
    out, started = args["out"], time.time()
    out.mkdir(parents=True, exist_ok=True)
    train, val = (decoded(args["data"], split, out) for split in ("train", "val"))
    run = Pretraining(recipe, out, args["device"], go_on=args["go_on"])
    if args["device"] != "cpu":
        train, val = tuple(t.to(args["device"]) for t in train), tuple(t.to(args["device"]) for t in val)
    while run.epoch < recipe.epochs:
        loss = run.run_epoch(*train)
        row = dict(epoch=run.epoch, loss=round(loss, 4), val_top1=round(accuracy(run.ema.module, *val), 4))
        run.history.append({**row, "seconds": round(time.time() - started, 1)})
        print(json.dumps(run.history[-1]), flush=True)
        run.checkpoint()
    export(run, len(train[0]))


if __name__ == "__main__":
    main()
