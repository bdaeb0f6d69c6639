"""`Preprocessing`: from a decoded image to what a backbone takes in. Every choice in it is written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor, nn

from vpt.data.decode import Pixels
from vpt.errors import OptionError, nearest
from vpt.sites.clip_text import is_open_clip

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """Resize straight to `size` (aspect squashed, no crop), divide by 255, subtract `mean`, divide by `std`.

    `antialias=False` with "bilinear" is the paper's resize (TensorFlow's); the result is rounded to uint8 either way,
    so that a cache holds exactly what is trained on. `size` is (height, width) in pixels.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD
    interpolation: str = "bicubic"
    antialias: bool = True

    def __post_init__(self) -> None:
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        wrong = []
        if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
            wrong.append(f"size={self.size!r}; accepted: pixels, or (height, width) in pixels")
        for name in ("mean", "std"):
            values = tuple(getattr(self, name))
            if len(values) != 3 or not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
                wrong.append(f"{name}={values}; accepted: three numbers{', above 0' if name == 'std' else ''}")
            object.__setattr__(self, name, tuple(float(v) for v in values))
        if self.interpolation not in INTERPOLATIONS:
            hint = nearest(str(self.interpolation), INTERPOLATIONS)
            wrong.append(f"interpolation={self.interpolation!r}{hint}; accepted: {', '.join(INTERPOLATIONS)}")
        if not isinstance(self.antialias, bool):
            wrong.append(f"antialias={self.antialias!r}; accepted: True, False")
        if wrong:
            raise OptionError("preprocessing: " + "; ".join(wrong))
        object.__setattr__(self, "size", size)

    @classmethod
    def of(cls, model: nn.Module, **overrides: Any) -> Preprocessing:
        """What the model's own timm or open_clip configuration asks for, save for the fields in `overrides`.

        The size is that of the model's patch embedding, or of an open_clip model's image tower; mean, std and
        interpolation default to timm's (ImageNet, bicubic) or open_clip's (OpenAI's, bicubic) where the configuration
        is silent. Nothing is cropped, as open_clip would. Raises `OptionError` where no size can be told.
        """
        backbone = getattr(model, "backbone", model)  # a tuned model carries its backbone
        found = _of_open_clip(backbone) if is_open_clip(backbone) else _of_timm(backbone)
        if found.get("interpolation") not in INTERPOLATIONS:
            found["interpolation"] = None
        chosen = {key: value for key, value in found.items() if value is not None} | overrides
        if "size" not in chosen:
            raise OptionError(f"{type(backbone).__name__} does not tell its image size; pass size=(height, width)")
        return cls.from_dict(chosen)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`; raises `OptionError` for unknown fields."""
        accepted = [field.name for field in fields(cls)]
        wrong = [f"{key!r}{nearest(key, accepted)}" for key in values if key not in accepted]
        if wrong or "size" not in values:
            what = f"no field {', '.join(wrong)}" if wrong else "needs size"
            raise OptionError(f"preprocessing: {what}; accepted: {', '.join(accepted)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def resizing(self) -> dict[str, Any]:
        """The part of `to_dict` that decides what `resize` makes of an image."""
        return {key: value for key, value in self.to_dict().items() if key not in ("mean", "std")}

    def resize(self, image: Pixels) -> Pixels:
        """`uint8 [H, W, 3]` to `uint8 [H', W', 3]`, pixel centres at halves; an image of that size is not touched."""
        if image.shape[:2] == self.size:
            return image
        planes = torch.tensor(image).permute(2, 0, 1)[None].float()
        resized = F.interpolate(
            planes, self.size, mode=self.interpolation, antialias=self.antialias, align_corners=False
        )
        return np.ascontiguousarray(resized[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy())

    def normalise(self, images: Tensor) -> Tensor:
        """`uint8 [..., 3, H, W]` to `float32 [..., 3, H, W]`."""
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (self.mean, self.std))
        return (images.float() / 255 - mean) / std

    def __call__(self, image: Pixels) -> Tensor:
        """A decoded image `uint8 [H, W, 3]` as a model's input `float32 [3, H', W']`."""
        return self.normalise(torch.tensor(self.resize(image)).permute(2, 0, 1)).contiguous()


def _of_timm(backbone: nn.Module) -> dict[str, Any]:
    """What timm's pretrained configuration says, with None where it is silent or there is none."""
    config: Any = getattr(backbone, "pretrained_cfg", None) or {}
    config = dict(config if isinstance(config, dict) else config.to_dict())
    return {"size": _size(backbone, config), **{key: config.get(key) for key in ("mean", "std", "interpolation")}}


def _of_open_clip(model: nn.Module) -> dict[str, Any]:
    """What open_clip noted on the image tower, as its own defaults where it noted nothing."""
    visual: Any = getattr(model, "visual", None)
    return {
        "size": getattr(visual, "image_size", None),
        "mean": getattr(visual, "image_mean", None) or OPENAI_CLIP_MEAN,
        "std": getattr(visual, "image_std", None) or OPENAI_CLIP_STD,
        "interpolation": (getattr(visual, "preprocess_cfg", None) or {}).get("interpolation"),
    }


def _size(backbone: nn.Module, config: dict[str, Any]) -> tuple[int, int] | None:
    embedded = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    size = embedded or tuple(config.get("input_size") or ())[1:]
    return (int(size[0]), int(size[1])) if size else None
