"""Small models and data that train in milliseconds, and a run that a test can kill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpt.training import FitConfig, fit
from vpt.training.trained import trained_state


class TinyTuned(nn.Module):
    """What `fit` needs of a tuned model: a frozen backbone, prompts with dropout, and a head."""

    def __init__(self, classes: int = 3, size: int = 4, seed: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.ModuleDict({"embed": nn.Linear(3 * size * size, 8), "head": nn.Linear(8, classes)})
        self.backbone["embed"].requires_grad_(False)
        self.prompts = nn.ParameterDict({"tokens": nn.Parameter(torch.randn(2, 2, 8) * 0.1)})
        self.drop = nn.Dropout(dropout)
        self.method, self.options = "tiny", {"dropout": dropout}

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.backbone["embed"](images.flatten(1))
        prompts = self.drop(self.prompts["tokens"]).mean((0, 1))
        return self.backbone["head"]((tokens + prompts).tanh())

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def trained_state(self) -> dict[str, Tensor]:
        return {name: self.state_dict()[name] for name in self.trainable()}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable().items():
                parameter.copy_(state[name])


def raw_model(classes: int = 3, seed: int = 0) -> nn.Module:
    """A plain module with running statistics, all of it trained."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(64, classes),
    )  # fmt: skip


def small_vit(**options: Any) -> nn.Module:
    """A stock timm ViT for images of 16 x 16 pixels."""
    import timm

    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, depth=2, embed_dim=12, num_heads=2, **options
    )


class Images:
    """The part of an `ImageSet` that training reads."""

    def __init__(self, labels: np.ndarray, classes: tuple[str, ...]) -> None:
        self.labels, self.classes = labels, classes

    def describe(self, index: int) -> str:
        return f"tiny[{index}]"


class TinyData:
    """n noisy images of C classes that can be told apart; every epoch sees other noise, as augmentation would."""

    def __init__(self, n: int = 40, classes: int = 3, size: int = 4, seed: int = 0, named: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n) % classes
        centres = torch.randn(classes, 3, size, size, generator=torch.Generator().manual_seed(9))
        self.pixels = centres[self.labels] + 0.5 * torch.randn(n, 3, size, size, generator=generator)
        self.epoch, self.delay, self.reads = 0, 0.0, []
        if named:
            self.images = Images(self.labels.numpy(), tuple("abcdefgh"[:classes]))

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.reads.append(index)
        time.sleep(self.delay)
        noise = torch.Generator().manual_seed(1000 * self.epoch + index)
        image = self.pixels[index] + 0.1 * torch.randn(self.pixels[index].shape, generator=noise)
        return {"image": image, "label": int(self.labels[index]), "index": index}


class DrawnData(TinyData):
    """Images of one number each, drawn from the global generators without regard to the epoch."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = torch.rand(()) if index % 2 else torch.tensor(np.random.rand())
        return {**super().__getitem__(index), "image": drawn.float().expand(3, 4, 4)}


def quick(**changes: Any) -> FitConfig:
    """A few short epochs without TensorBoard."""
    return FitConfig(**{"epochs": 4, "batch_size": 8, "lr": 0.02, "tensorboard": False, "log_every": 1, **changes})


def metrics(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what a clock put there."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def killable_run(out: str, raw: bool) -> None:
    """A run of some tenths of a second that leaves its last tensors and metrics in `out/done.pt`. Runs in a child."""
    torch.set_num_threads(1)
    model = raw_model() if raw else TinyTuned()
    train = TinyData()
    train.delay = 0.001
    config = quick(epochs=8, optimizer="sgd" if raw else "adamw", checkpoint_every=1 if raw else 2)
    result = fit(model, train, TinyData(12, seed=1), config, out=Path(out), quiet=True)
    done = {"state": trained_state(model), "history": metrics(result.history)}
    torch.save(done, Path(out) / "done.tmp")
    (Path(out) / "done.tmp").rename(Path(out) / "done.pt")
