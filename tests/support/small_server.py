"""Small tasks on a small backbone, pictures, and requests to the server over them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vpt.artifacts import save
from vpt.backbones.embedded import build
from vpt.data import Preprocessing
from vpt.methods import tune

CLASSES = {"flowers": ("rose", "tulip", "lily"), "pets": ("cat", "dog"), "team-cars": ("car", "van", "bus", "tram")}
MEANS = {"flowers": 0.5, "pets": 0.5, "team-cars": 0.4}
"""Of the pixels: two tasks take an image alike, one does not."""


def backbone(seed: int = 0) -> Any:
    """The embedded architecture, smaller, with random weights."""
    torch.manual_seed(seed)
    return build(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2).eval()


def saved(folder: Path, name: str, seed: int = 1, on: int = 0) -> Path:
    """A task of random prompts and head, in a folder of its name. seed: of these; on: of the backbone."""
    model = tune(backbone(on), "deep", num_classes=len(CLASSES[name]), length=2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.trainable().values():
            tensor.add_(torch.randn(tensor.shape, generator=generator))
    taken = Preprocessing((16, 16), (MEANS[name],) * 3, (0.5,) * 3)
    return save(
        model, folder / name, classes=CLASSES[name], preprocessing=taken, metrics={"accuracy": 0.5}, licence="MIT"
    )


def picture(seed: int = 0, size: int = 20, format: str = "PNG") -> bytes:
    """The file of a picture of noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(buffer, format)
    return buffer.getvalue()


def ask(client: Any, *images: bytes, task: Any = "flowers", headers: Any = None, **fields: Any) -> Any:
    """`POST /v1/predict`."""
    files = [("image", (f"{i}.png", content)) for i, content in enumerate(images or (picture(),))]
    return client.post("/v1/predict", files=files, data={"task": task, **fields}, headers=headers)


def refusal(response: Any) -> tuple[int, str]:
    """Status and code of a refusal in the one shape."""
    content = response.json()
    assert content.keys() == {"error"}
    assert content["error"].keys() == {"code", "message"}
    return response.status_code, content["error"]["code"]


def message(response: Any) -> str:
    """What a refusal says to people."""
    found: str = response.json()["error"]["message"]
    return found


def until(true: Callable[[], bool], patience: float = 10.0) -> None:
    """Wait for what other threads do."""
    for _ in range(int(patience / 0.01)):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


class Held:
    """A predictor whose passes wait until `gate` is open. began: released once by every pass that begins."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.gate, self.began, self.rows = threading.Event(), threading.Semaphore(0), 0

    def __call__(self, images: Any, tasks: Any) -> Any:
        self.began.release()
        assert self.gate.wait(30)
        self.rows += len(images)
        return self._predictor(images, tasks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)
