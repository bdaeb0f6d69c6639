"""The backbone that ships inside the package: a small plain ViT, so that everything runs with no download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from timm.models.vision_transformer import VisionTransformer

from vpt.backbones.checkpoint import load_checkpoint, load_state
from vpt.errors import ArtifactError, WeightsUnavailable

NAME = "embedded"
ARCHITECTURE: dict[str, Any] = dict(img_size=64, patch_size=8, embed_dim=128, depth=6, num_heads=4)
"""Arguments of timm's `VisionTransformer`; everything else is timm's default."""

MEAN = STD = (0.5, 0.5, 0.5)


def build(num_classes: int = 0, **overrides: Any) -> VisionTransformer:
    """The embedded architecture with random weights, as a stock timm `VisionTransformer`."""
    return VisionTransformer(**{**ARCHITECTURE, "num_classes": num_classes, **overrides})


WEIGHTS = Path(__file__).with_name("embedded_vit.safetensors")
"""The weights inside the package; beside them `.json` with their SHA-256 and `.md`, their model card."""


def embedded(
    num_classes: int = 0, image_size: int | None = None, *, checkpoint: Path | None = None, pretrained: bool = True
) -> VisionTransformer:
    """The embedded backbone with its pretrained weights, in eval mode, its head random (`num_classes`) or absent (0).

    image_size: height and width in pixels where not 64; timm resamples the position embeddings.
    checkpoint: another file of weights instead of the package's. pretrained: False for random weights.
    Raises `WeightsUnavailable` where the package was built without them, `ArtifactError` where they are damaged.
    """
    size = image_size or ARCHITECTURE["img_size"]
    model = build(num_classes, img_size=size)
    configuration: Any = _configuration(size)
    model.pretrained_cfg = model.default_cfg = configuration
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    elif pretrained:
        tensors = safetensors.torch.load(verified(WEIGHTS, "scripts/pretrain_embedded.py"))
        features = {k: v for k, v in tensors.items() if not k.startswith("head.")}  # the head is of other classes
        load_state(model, features, origin=WEIGHTS.name)
    model.eval()
    return model


def _configuration(size: int) -> dict[str, Any]:
    """What timm's `pretrained_cfg` says of a model, for this one."""
    return dict(
        architecture=NAME, source="package", license="apache-2.0", classifier="head", first_conv="patch_embed.proj",
        input_size=(3, size, size), fixed_input_size=True, mean=MEAN, std=STD,
        interpolation="bilinear", crop_pct=1.0, crop_mode="squash", num_classes=0,
    )  # fmt: skip


def verified(path: Path, script: str) -> bytes:
    """The bytes of a weights file of the package, made by `script`, once their SHA-256 is the recorded one."""
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        raise WeightsUnavailable(
            f"this copy of vpt has no embedded weights ({path.name} and {record.name} belong in {path.parent}); "
            f"{script} makes them, or give a file by --checkpoint"
        )
    try:
        expected = str(json.loads(record.read_text())["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{record} does not state the sha256 of {path.name}: {error!r}") from error
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ArtifactError(f"{path} is damaged: its SHA-256 is {found}, {record.name} says {expected}; reinstall vpt")
    return content
