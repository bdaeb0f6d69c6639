"""What the untouched CLIP makes of class names and images, for methods whose start depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach.text_choose import choose_text
from vpt.attach.text_plain import Insert
from vpt.methods.clip.ensemble import ensemble, normalised
from vpt.methods.clip.learned import ClipTask
from vpt.methods.clip.text_encoder import TextEncoder
from vpt.prompts.class_texts import with_templates
from vpt.sites.clip_visual import image_dtype
from vpt.sites.modes import evaluating

IMAGES_AT_ONCE = 64


def text_features(task: ClipTask, templates: Sequence[str]) -> Tensor:
    """Normalised features `[C, F]` of the names in the templates, averaged over these; without gradients."""
    site = task.site
    texts = with_templates(task.words, task.classnames, templates, site.context_length)
    path, _, shares = choose_text("auto", site, None)
    with _frozen(site.model):
        return ensemble(TextEncoder(site, texts, Insert(), path, shares).to(site.device), len(task.classnames))


def image_features(clip: Any, images: Tensor) -> Tensor:
    """Normalised features `[n, F]` of images `[n, 3, H, W]` by an open_clip model, some at a time; no gradients."""
    device, dtype = next(clip.parameters()).device, image_dtype(clip)
    with _frozen(clip):
        batches: Any = (part.to(device, dtype) for part in images.split(IMAGES_AT_ONCE))
        return torch.cat([normalised(clip.encode_image(batch, normalize=False)) for batch in batches])


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval and without gradients; its modules' modes are as before at the end."""
    with evaluating(model), torch.inference_mode(False), torch.no_grad():
        yield
