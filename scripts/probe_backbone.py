#!/usr/bin/env python
"""What the frozen features of a backbone are worth: k-NN and linear probe, beside its own random initialisation.

    python scripts/probe_backbone.py --source embedded --task digits
    python scripts/probe_backbone.py --source vtab --root DATA --task cifar --backbone embedded

Features are read once; the probe's penalty is chosen on the validation images, the test images are scored once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from torch import nn

from vpt.backbones import load_backbone
from vpt.data import ImageDataset, ImageSet, Preprocessing, Task, load_task, loader

PENALTIES = (0.001, 0.01, 0.1, 1.0)


@torch.inference_mode()
def features(backbone: nn.Module, images: ImageSet) -> np.ndarray:
    """What the head would read, `[n, D]`."""
    dataset = ImageDataset(images, Preprocessing.of(backbone))
    return torch.cat([backbone(batch["image"]) for batch in loader(dataset, 100, shuffle=False)]).numpy()


def probe(backbone: nn.Module, task: Task) -> dict[str, float]:
    """Test accuracies in [0, 1] of 20-NN (cosine) and of a logistic regression."""
    train, val, test = (features(backbone, images) for images in (task.train, task.val, task.test))
    neighbours = make_pipeline(Normalizer(), KNeighborsClassifier(20, weights="distance")).fit(train, task.train.labels)
    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(train, task.train.labels)
        for c in PENALTIES
    ]
    best = max(fitted, key=lambda model: model.score(val, task.val.labels))
    return {"knn": neighbours.score(test, task.test.labels), "linear": best.score(test, task.test.labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--source", default="embedded")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--task", default="digits")
    args = parser.parse_args()
    task = load_task(args.source, args.root, args.task)
    torch.manual_seed(0)
    for name, options in {"pretrained": {"checkpoint": args.checkpoint}, "random": {"pretrained": False}}.items():
        backbone = load_backbone(args.backbone, num_classes=0, **options)
        print(json.dumps({"task": args.task, "weights": name, **probe(backbone, task)}), flush=True)


if __name__ == "__main__":
    main()
