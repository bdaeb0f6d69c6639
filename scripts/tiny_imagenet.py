"""Tiny-ImageNet-200 as tensors, for the scripts that train what is embedded in the package."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vpt.backbones.embedded import MEAN, STD

CLASSES, SIZE = 200, 64


def from_npz(path: Path) -> tuple[list[bytes], np.ndarray]:
    """JPEG bytes and labels of one packed file."""
    with np.load(path) as packed:
        jpeg, offsets, labels = packed["jpeg"], packed["offsets"], packed["labels"]
    return [jpeg[a:b].tobytes() for a, b in pairwise(offsets)], labels.astype(np.int64)


def from_folder(root: Path, split: str) -> tuple[list[bytes], np.ndarray]:
    """JPEG bytes and labels of the published folder; classes in the sorted order of their WordNet ids."""
    index = {d.name: i for i, d in enumerate(sorted((root / "train").iterdir()))}
    if split == "train":
        pairs = [(f, index[d]) for d in index for f in sorted((root / "train" / d / "images").glob("*.JPEG"))]
    else:
        rows = (line.split("\t")[:2] for line in (root / "val" / "val_annotations.txt").read_text().splitlines())
        pairs = [(root / "val" / "images" / name, index[wnid]) for name, wnid in rows]
    return [f.read_bytes() for f, _ in pairs], np.array([label for _, label in pairs])


def decoded(root: Path, split: str, cache: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, 64, 64] (decoded once into `cache`) and labels int64 [n]."""
    packed = root / {"train": "train60k.npz", "val": "val4k.npz"}[split]
    files, labels = from_npz(packed) if packed.exists() else from_folder(root, split)
    store = cache / f"{split}-{len(files)}.npy"
    if not store.exists():
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in files])
        np.save(store, pixels.transpose(0, 3, 1, 2))
    return torch.from_numpy(np.load(store)), torch.from_numpy(labels)


def normalised(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to the float range the backbone is fed with."""
    shape = (1, 3, 1, 1)
    return (images.float() / 255 - torch.tensor(MEAN, device=images.device).view(shape)) / torch.tensor(
        STD, device=images.device
    ).view(shape)


def augmented(images: Tensor, crop: float, colour: float, g: torch.Generator) -> Tensor:
    """One random resized crop, flip and change of brightness and contrast per image; uint8 in, normalised out.

    crop: the smallest area that is kept; colour: the largest change of brightness and contrast.
    """
    b, device = len(images), images.device
    uniform = lambda low, high: torch.empty(b, device=device).uniform_(low, high, generator=g)  # noqa: E731
    area, ratio = uniform(crop, 1).sqrt(), uniform(np.log(3 / 4), np.log(4 / 3)).exp().sqrt()
    w, h = (area * ratio).clamp(max=1), (area / ratio).clamp(max=1)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(w)
    rows = [
        torch.stack([w * flip, zero, uniform(-1, 1) * (1 - w)], 1),
        torch.stack([zero, h, uniform(-1, 1) * (1 - h)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [b, 3, SIZE, SIZE], align_corners=False)
    x = F.grid_sample(normalised(images), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    contrast, brightness = (uniform(-colour, colour).view(b, 1, 1, 1) for _ in range(2))
    return x * (1 + contrast) + brightness


def write_atomically(path: Path, state: object) -> None:
    """`torch.save`, so that an interruption leaves the file as it was."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
