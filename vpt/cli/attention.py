"""Pictures of where the class token looks, beside the picture it looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vpt.data import ImageDataset
from vpt.data.decode import Pixels
from vpt.errors import OptionError
from vpt.methods import TunedClip
from vpt.runs.restore import Ready
from vpt.training import class_attention
from vpt.training.attention import heat

SIDE = 448
"""Height of a written picture in pixels; it is twice as wide."""


def check_maps(ready: Ready) -> None:
    """Raise `OptionError` for a model of a family whose attention is not drawn."""
    if isinstance(ready.model, TunedClip):
        raise OptionError(
            f"--attention draws timm models; this is {ready.model.method!r} on open_clip's "
            f"{type(ready.model.backbone).__name__}"
        )


def write_maps(ready: Ready, dataset: ImageDataset, folder: Path, *, batch_size: int = 32) -> list[Path]:
    """One PNG per picture: as the model sees it, and the same under its attention map.

    Raises `OptionError` for a model that pools without a class token, or whose attention is of an unknown kind.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, (name, one) in enumerate(zip(_names(dataset), _maps(ready, dataset, batch_size), strict=True)):
        Image.fromarray(_side_by_side(dataset.pixels(index), one)).save(folder / name)
        written.append(folder / name)
    return written


def _maps(ready: Ready, dataset: ImageDataset, batch_size: int) -> Iterator[Tensor]:
    """The attention map `[1, H', W']` of each picture in turn."""
    device, backbone = next(ready.model.parameters()).device, ready.model.backbone
    for start in range(0, len(dataset), batch_size):
        rows = range(start, min(start + batch_size, len(dataset)))
        maps = class_attention(backbone, torch.stack([dataset[i]["image"] for i in rows]).to(device))
        if maps is None:
            raise OptionError(f"no attention map: {type(backbone).__name__} has no class token that looks at patches")
        yield from maps.cpu().split(1)


def _side_by_side(pixels: Pixels, maps: Tensor) -> Pixels:
    """`uint8 [SIDE, 2 SIDE, 3]` from a picture `[H, W, 3]` and its map `[1, H', W']`."""
    from matplotlib import colormaps
    from PIL import Image

    picture = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    colours = 255 * colormaps["inferno"](heat(maps, (SIDE, SIDE))[0, 0].numpy())[..., :3]
    blended = 0.45 * picture + 0.55 * colours
    both: Pixels = np.concatenate([picture, blended], axis=1).round().clip(0, 255).astype(np.uint8)
    return both


def _names(dataset: ImageDataset) -> list[str]:
    """A file name for each picture, numbered where two would be the same."""
    stems = [Path(dataset.images.describe(i)).stem for i in range(len(dataset))]
    times = Counter(stems)
    return [f"{s}.png" if times[s] == 1 else f"{s}-{i}.png" for i, s in enumerate(stems)]
