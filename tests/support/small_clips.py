"""Small open_clip models under names of their own, for tests of what goes by name."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from vpt.backbones import embedded_clip
from vpt.backbones.embedded_clip import ROWS, TABLE, build

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
"""open_clip's configuration of a model with CLIP's own tokenizer that is made in a moment."""

TAG: dict[str, Any] = {"hf_hub": "somebody/tiny/", "quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}


def register(monkeypatch: pytest.MonkeyPatch, name: str = "tiny", **text: Any) -> None:
    """Make open_clip know `CONFIG` as `name`, with published weights under the tag `learned`."""
    config = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], **text}}
    monkeypatch.setitem(sys.modules["open_clip.factory"]._MODEL_CONFIGS, name, config)
    monkeypatch.setitem(sys.modules["open_clip.pretrained"]._PRETRAINED, name, {"learned": TAG})


def weights(path: Path, seed: int = 0, **more: Any) -> dict[str, torch.Tensor]:
    """Write the weights of a random model of `CONFIG` and answer with them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**{**CONFIG, **more})
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(state, path)
    return state


def package_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Temporary embedded weights, and their record, in place of the package's; answers with their tensors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = {name: tensor.clone() for name, tensor in build().state_dict().items()}
    ids = torch.arange(0, len(state[TABLE]), 2)
    state |= {TABLE: state[TABLE][ids].half(), ROWS: ids}
    save_file(state, path)
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    monkeypatch.setattr(sys.modules[embedded_clip.__module__], "WEIGHTS", path)  # its name in the package is a function
    return state
