"""`vpt.tune`: freeze, attach, and answer with a module that knows what it learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from vpt.attach import choose
from vpt.errors import OptionError
from vpt.methods.clip.tune_clip import tune_clip
from vpt.methods.clip.tuned_clip import TunedClip
from vpt.methods.heads import HeadInit, heads
from vpt.methods.method import build, describe, families, names
from vpt.methods.tuned import Tuned
from vpt.sites import find
from vpt.sites.clip_text import is_open_clip


@overload
def tune(
    model: nn.Module,
    method: str,
    *,
    classnames: Sequence[str],
    tokenizer: Callable[..., Tensor] | None = None,
    num_classes: int | None = None,
    path: str = "auto",
    seed: int = 0,
    **options: Any,
) -> TunedClip: ...


@overload
def tune(
    model: nn.Module,
    method: str,
    *,
    classnames: None = None,
    tokenizer: None = None,
    num_classes: int | None = None,
    path: str = "auto",
    seed: int = 0,
    head_init: HeadInit = "auto",
    **options: Any,
) -> Tuned: ...


def tune(
    model: nn.Module,
    method: str,
    *,
    classnames: Sequence[str] | None = None,
    tokenizer: Callable[..., Tensor] | None = None,
    num_classes: int | None = None,
    path: str = "auto",
    seed: int = 0,
    head_init: HeadInit = "auto",
    **options: Any,
) -> Tuned | TunedClip:
    """Prepare a stock timm or open_clip model for learning one task with the named method.

    Parameters
    ----------
    model: a stock model; it is not copied, and `detach()` of the answer gives it back bit for bit.
    method: a name from `vpt.methods.names()`, e.g. `"deep"` or `"coop"`; `options` are that method's.
    classnames: of an open_clip model, the names of the C classes.
    tokenizer: of an open_clip model, what `open_clip.get_tokenizer` answers for it; None is CLIP's own.
    num_classes: of a timm model, classes C of the task; None keeps its own (features where it has no head).
    path: `"fused"` computes what `"hooks"` (timm) or `"plain"` (open_clip) does with less work; `"auto"` takes it
        wherever it is exact.
    seed: of what is learned and of heads; the global random state is neither read nor changed.
    head_init: of a timm model, see `vpt.methods.heads.HEAD_INITS`.

    Raises `UnsupportedBackbone` for a model without a site, and `OptionError` for a wrong method or option; the
    model is then as it was.
    """
    clip = is_open_clip(model)
    _check_family(model, method, clip)
    if clip:
        _check_unused("an open_clip model", head_init=None if head_init == "auto" else head_init)
        return tune_clip(model, method, classnames, tokenizer, num_classes, path, seed, options)
    _check_unused("a timm model", classnames=classnames, tokenizer=tokenizer)
    site = find(model)
    learned, full_options = build(method, site, seed, options)
    taken, reason = choose(path, learned.prompts, site, learned.pool)
    generator = torch.Generator().manual_seed(seed + 1)
    new_heads = heads(site, learned, num_classes, head_init, generator)
    asked = {**full_options, "seed": seed, "head_init": head_init}
    return Tuned(site, learned, new_heads, method=method, options=asked, path=taken, reason=reason)


def _check_family(model: nn.Module, method: str, clip: bool) -> None:
    known = families(describe(method).name)
    if clip and "open_clip" not in known:
        raise OptionError(
            f"method {method!r} is for timm models; this is open_clip's {type(model).__name__}, which takes: "
            f"{', '.join(names('open_clip'))}"
        )
    if not clip and "timm" not in known:
        raise OptionError(
            f"method {method!r} learns of class names, with the text tower of an open_clip model; this "
            f"{type(model).__module__}.{type(model).__qualname__} has none. Without one: {', '.join(names('timm'))}"
        )


def _check_unused(what: str, **given: Any) -> None:
    if wrong := [name for name, value in given.items() if value is not None]:
        raise OptionError(f"{' and '.join(wrong)} given; {what} takes no {' and no '.join(wrong)}")
