"""The golden CLIPs: stock open_clip with the weights, classes and images of a golden file, in float64."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden"


@dataclass
class Golden:
    """One golden file: its tensors by name, its class names, and the CLIP that they belong to."""

    tensors: dict[str, Tensor]
    classnames: list[str]
    clip: open_clip.CLIP


def golden_clip(name: str) -> Golden:
    """The golden file `clip_<name>.safetensors`."""
    with safe_open(FOLDER / f"clip_{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        facts = file.metadata()
    clip = _empty(json.loads(facts["config"])).double().eval()
    own = {key.removeprefix("weights."): t.double() for key, t in tensors.items() if key.startswith("weights.")}
    rows = own.pop("token_embedding.rows")
    table = torch.full_like(clip.token_embedding.weight, float("nan"))  # a row that no caption uses must not matter
    table[tensors["token_embedding.row_ids"]] = rows
    clip.load_state_dict(own | {"token_embedding.weight": table})
    return Golden(tensors, json.loads(facts["classnames"]), clip)


def _empty(config: dict[str, Any]) -> open_clip.CLIP:
    vision = {
        "image_size": config["image_resolution"], "layers": config["vision_layers"], "width": config["vision_width"],
        "patch_size": config["vision_patch_size"], "head_width": 64,
    }  # fmt: skip
    text = {
        "context_length": config["context_length"], "vocab_size": config["vocab_size"],
        "width": config["transformer_width"], "heads": config["transformer_heads"],
        "layers": config["transformer_layers"],
    }  # fmt: skip
    return open_clip.CLIP(config["embed_dim"], vision, text, quick_gelu=True)
