"""`vpt.tune` for open_clip models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpt.attach import check_free
from vpt.errors import OptionError
from vpt.methods.clip.learned import ClipLearned, ClipTask
from vpt.methods.clip.tuned_clip import TunedClip
from vpt.methods.method import describe, described
from vpt.prompts.class_texts import check_names
from vpt.prompts.words import Words
from vpt.sites.clip_text import text_site


def tune_clip(
    model: nn.Module, method: str, classnames: Sequence[str] | None, tokenizer: Callable[..., Tensor] | None,
    num_classes: int | None, path: str, seed: int, options: Mapping[str, Any],
) -> TunedClip:  # fmt: skip
    """As `vpt.tune`, of which all arguments are. Raises `OptionError` where no classes are named."""
    check_free(model)
    if classnames is None:
        raise OptionError(f"method {method!r} needs the names of the classes: classnames=[...]")
    chosen = describe(method, "open_clip")
    full = chosen.bind(dict(options))
    site = text_site(model)
    words = Words(tokenizer or site.tokenizer())
    site.check(words)
    check_names(words, classnames)
    if num_classes not in (None, len(classnames)):
        raise OptionError(f"num_classes is {num_classes!r}; accepted: the {len(classnames)} of classnames, or None")
    task = ClipTask(site, words, tuple(classnames))
    learned: ClipLearned = chosen.build(task, torch.Generator().manual_seed(seed), **full)
    # what is learned has taken from arrays all that it needs; images of a few thousand examples are gigabytes
    kept = {name: described(v) if isinstance(v, Tensor | np.ndarray) else v for name, v in full.items()}
    asked = {**kept, "classnames": list(classnames), "seed": seed}
    return TunedClip(task, learned, method=method, options=asked, path=path)
