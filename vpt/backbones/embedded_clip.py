"""The CLIP that ships inside the package: a small stock open_clip `CLIP`, so that everything runs with no download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor

from vpt.backbones.embedded import MEAN, STD, verified
from vpt.errors import ArtifactError

if TYPE_CHECKING:
    from open_clip import CLIP

NAME = "embedded-clip"
CONFIG: dict[str, Any] = dict(
    embed_dim=128,
    vision_cfg=dict(image_size=64, patch_size=8, width=128, layers=6, head_width=32, no_ln_pre=True),
    text_cfg=dict(context_length=77, vocab_size=49408, width=128, heads=4, layers=4),
)
"""open_clip's model config. The tokenizer is open_clip's own."""

WEIGHTS = Path(__file__).with_name("embedded_clip.safetensors")
"""The weights inside the package; beside them `.json` with their SHA-256 and `.md`, their model card."""

TABLE = "token_embedding.weight"
ROWS = "token_embedding.rows"
"""In the weights file: the ids of the vocabulary rows that are stored, those that some caption of the training used."""


def build(**vision: Any) -> CLIP:
    """The architecture with random weights, as a stock open_clip `CLIP`; `vision` replaces entries of `vision_cfg`."""
    from open_clip import CLIP

    return CLIP(CONFIG["embed_dim"], {**CONFIG["vision_cfg"], **vision}, dict(CONFIG["text_cfg"]))


def embedded_clip(image_size: int | None = None, *, checkpoint: Path | None = None, pretrained: bool = True) -> CLIP:
    """The embedded CLIP with its pretrained weights, in eval mode.

    Words that its training never saw have rows drawn anew from a fixed seed, as wide as the trained ones: texts of such
    words differ from each other, but mean nothing.
    image_size: height and width in pixels where not 64; open_clip resamples the position embeddings.
    checkpoint: another file of weights instead of the package's. pretrained: False for random weights.
    Raises `WeightsUnavailable` where the package was built without them, `ArtifactError` where they are damaged.
    """
    from open_clip import load_checkpoint
    from open_clip.model import resize_pos_embed

    size = image_size or CONFIG["vision_cfg"]["image_size"]
    with torch.random.fork_rng(devices=[], enabled=pretrained or checkpoint is not None):
        model = build(image_size=size)
    if checkpoint is not None:
        load_checkpoint(model, str(checkpoint))
    elif pretrained:
        tensors = _tensors()
        resize_pos_embed(tensors, model)
        model.load_state_dict(tensors)
    model.visual.image_mean, model.visual.image_std = MEAN, STD
    model.visual.preprocess_cfg = dict(
        size=size, mode="RGB", mean=MEAN, std=STD, interpolation="bilinear", resize_mode="squash", fill_color=0
    )
    return model.eval()


def _tensors() -> dict[str, Tensor]:
    """The package's weights in float32, by their names in the model."""
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in _read().items()}
    tensors[TABLE] = whole_table(tensors[TABLE], tensors.pop(ROWS), CONFIG["text_cfg"]["vocab_size"])
    return tensors


def known_tokens() -> Tensor:
    """Ids of the tokens that some caption of the training used, ascending."""
    return _read()[ROWS]


def whole_table(rows: Tensor, ids: Tensor, vocabulary: int) -> Tensor:
    """All token embeddings `[vocabulary, D]`: `rows` at `ids`, and random ones of their spread at all others."""
    generator = torch.Generator().manual_seed(0)
    table = torch.empty(vocabulary, rows.shape[1]).normal_(0, float(rows.std()), generator=generator)
    table[ids] = rows
    return table


def _read() -> dict[str, Tensor]:
    content = verified(WEIGHTS, "scripts/pretrain_embedded_clip.py")
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # its checksum is right, so the package was built with something else
        raise ArtifactError(f"{WEIGHTS} is not a safetensors file: {error}") from error
