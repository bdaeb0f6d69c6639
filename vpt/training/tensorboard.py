"""TensorBoard: curves, learning rate, sample images, prompt lengths, attention of the class token, features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vpt.sites.modes import evaluating
from vpt.training.attention import class_attention, heat
from vpt.training.batches import Labelled
from vpt.training.devices import place
from vpt.training.features import features, prompt_norms
from vpt.training.log import Logger, Run

SAMPLES, MAPS, PROJECTED = 16, 8, 200
"""How many images are shown, get an attention map, and go into the embedding projector."""


class TensorBoard(Logger):
    """Writes event files into `folder`; every x-axis counts optimiser steps. Pictures come at the start and the end."""

    def __init__(self, folder: Path, every: int = 1) -> None:
        self.folder, self.every = folder, every
        self.writer: Any = None
        self.run: Run | None = None
        self.done = 0

    def start(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run, self.done = run, run.first_epoch * run.steps_per_epoch
        # what an interrupted run wrote after its last checkpoint is told to be void
        self.writer = SummaryWriter(str(self.folder), purge_step=self.done + 1 if run.resumed else 0)
        if not run.resumed:
            settings = "\n".join(f"    {key}: {value}" for key, value in run.config.to_dict().items())
            self.writer.add_text("config", settings, 0)
            self._samples(run)
            self._attention(run)
            self._norms(run)

    def step(self, row: dict[str, Any]) -> None:
        if self.writer is not None and row["step"] % self.every == 0:
            for name in ("loss", "lr", "grad_norm"):
                self.writer.add_scalar(f"step/{name}", row[name], row["step"])

    def epoch(self, row: dict[str, Any]) -> None:
        if self.writer is None or self.run is None:
            return
        self.done = row["step"]
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(f"epoch/{name}", value, self.done)
        self._norms(self.run)
        self.writer.flush()

    def note(self, text: str) -> None:
        if self.writer is not None:
            self.writer.add_text("note", text, self.done)

    def finish(self) -> None:
        if self.writer is not None and self.run is not None:
            self._attention(self.run)
            self._projector(self.run)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _norms(self, run: Run) -> None:
        for name, value in prompt_norms(run.model).items():
            self.writer.add_scalar(f"prompt_norm/{name}", value, self.done)

    def _samples(self, run: Run) -> None:
        images, _ = pick(run.train, SAMPLES)
        self.writer.add_images("samples/train", displayable(images, run.train), self.done)

    def _attention(self, run: Run) -> None:
        """Image and map side by side, for the first few held-out images."""
        source = run.val if run.val is not None else run.train
        images, _ = pick(source, MAPS)
        device, dtype = place(run.model)
        with evaluating(run.model):  # prompts beside the backbone, too
            maps = class_attention(getattr(run.model, "backbone", run.model), images.to(device, dtype))
        if maps is None:
            return
        size = (int(images.shape[-2]), int(images.shape[-1]))
        pair = torch.cat([displayable(images, source), heat(maps.cpu(), size).expand(-1, 3, -1, -1)], dim=3)
        self.writer.add_images("attention/class_token", pair, self.done)

    def _projector(self, run: Run) -> None:
        source = run.val if run.val is not None else run.train
        images, labels = pick(source, PROJECTED)
        device, dtype = place(run.model)
        vectors = torch.cat([features(run.model, part.to(device, dtype)).cpu() for part in images.split(50)])
        thumbnails = torch.nn.functional.interpolate(displayable(images, source), size=(32, 32), mode="area")
        names = [run.classes[label] for label in labels]
        self.writer.add_embedding(vectors, metadata=names, label_img=thumbnails, global_step=self.done, tag="features")


def pick(dataset: Labelled, count: int) -> tuple[Tensor, list[int]]:
    """Up to `count` images `[n, 3, H, W]`, evenly spread over the dataset, and their labels."""
    positions = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    items = [dataset[int(position)] for position in positions]
    return torch.stack([torch.as_tensor(item["image"]).float() for item in items]), [int(i["label"]) for i in items]


def displayable(images: Tensor, dataset: Labelled) -> Tensor:
    """Images `[n, 3, H, W]` in [0, 1]: normalisation undone where the dataset tells it, else each stretched."""
    preprocessing = getattr(dataset, "preprocessing", None)
    if hasattr(preprocessing, "mean") and hasattr(preprocessing, "std"):
        mean, std = (torch.tensor(getattr(preprocessing, part)).view(1, -1, 1, 1) for part in ("mean", "std"))
        return (images * std + mean).clamp(0, 1)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-12)
