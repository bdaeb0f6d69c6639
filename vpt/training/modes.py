"""How a model is while it trains: frozen modules in evaluation mode throughout, blocks computed again if asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from vpt.errors import OptionError
from vpt.sites.recompute import recomputing
from vpt.training.config import FitConfig


def set_training(model: nn.Module) -> None:
    """`model.train()`, except for modules whose parameters are all frozen: those stay in evaluation mode.

    Otherwise a frozen module's dropout would be active and its running statistics would move.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


@contextmanager
def checkpointing(model: nn.Module, config: FitConfig) -> Iterator[None]:
    """The backbone's own gradient checkpointing inside, where `config` asks for it, and as it was afterwards."""
    if not config.gradient_checkpointing:
        yield
        return
    backbone: Any = getattr(model, "backbone", model)
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise OptionError(
            "gradient_checkpointing: True given; accepted for models with set_grad_checkpointing, as timm's and "
            f"open_clip's have, not for a {type(backbone).__name__}"
        )
    with recomputing(backbone, on=True):
        yield
