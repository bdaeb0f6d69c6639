#!/usr/bin/env python
"""Pretrain the embedded backbone from scratch on Tiny-ImageNet-200, labels only, no teacher.

    python scripts/pretrain_embedded.py --data PATH/tiny-imagenet-200 --out runs/embedded --preset cpu

`PATH` is either the published folder (`train/<wnid>/images`, `val/val_annotations.txt`) or a folder with `train60k.npz`
and `val4k.npz` (arrays `jpeg`, `offsets`, `labels`). The run resumes from `--out` by itself, with the recipe it had. At
the end `--out` holds `embedded_vit.safetensors` and `embedded_vit.json` (SHA-256, recipe, history), which belong in
`vpt/backbones/`. The model card there says which command made the weights that are shipped, and what they reach.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pretraining
import timm
import torch
import torch.nn.functional as F
from pretraining import asked, top1, train, write
from timm.data.mixup import Mixup
from timm.optim import create_optimizer_v2
from tiny_imagenet import CLASSES
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


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in [0, 1]."""
    return top1(model.eval(), images, labels)


class Pretraining(pretraining.Pretraining):
    """Classifies images by their labels."""

    def __init__(self, recipe: Recipe, out: Path, device: str, seed: int = 0, go_on: bool = False) -> None:
        torch.manual_seed(seed)
        model = build(CLASSES, drop_path_rate=recipe.drop_path, patch_drop_rate=recipe.patch_drop).to(device)
        optimizer = create_optimizer_v2(model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay)
        mixes = recipe.mixup > 0 or recipe.cutmix > 0
        self.mixup = (
            Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.smoothing, num_classes=CLASSES) if mixes else None
        )
        super().__init__(model, optimizer, recipe, out, device, seed, go_on)

    @property
    def patch_dropout(self) -> nn.Module:
        """timm's."""
        return self.model.patch_drop

    def loss(self, images: Tensor, labels: Tensor, chance: random.Random) -> Tensor:
        """Cross-entropy, of mixed images where the recipe mixes them."""
        recipe = self.recipe
        x, y = self.mixup(images, labels) if self.mixup else (images, labels)
        with torch.autocast(self.device, torch.bfloat16, enabled=recipe.bf16):
            return F.cross_entropy(self.model(x), y, label_smoothing=0.0 if self.mixup else recipe.smoothing)


def main() -> None:
    args, recipe = asked(__doc__, "runs/embedded", PRESETS)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Pretraining(recipe, args.out, args.device, go_on=args.go_on)
    images = train(run, args.data, accuracy)
    tensors = {name: t.cpu().contiguous() for name, t in run.ema.module.state_dict().items() if name[:5] != "head."}
    versions = {"torch": torch.__version__, "timm": timm.__version__}
    write(run, "embedded_vit", tensors, ARCHITECTURE, images=images, versions=versions)


if __name__ == "__main__":
    main()
