"""What is learned: prompt tokens, added prompts, prompt pixels, contexts of class names, and how they start."""

from vpt.prompts.added import AddedPrompts
from vpt.prompts.context import ConditionalContext, Context, LayeredContext, Residuals
from vpt.prompts.coupling import BothTowers, CoupledTokens
from vpt.prompts.on_features import Bottleneck, Cache, Classifier
from vpt.prompts.pixels import FramePrompts, PixelPrompts
from vpt.prompts.prompts import Prompts, master_precision
from vpt.prompts.tokens import TokenPrompts, Tokens

__all__ = [
    "AddedPrompts",
    "BothTowers",
    "Bottleneck",
    "Cache",
    "Classifier",
    "ConditionalContext",
    "Context",
    "CoupledTokens",
    "FramePrompts",
    "LayeredContext",
    "PixelPrompts",
    "Prompts",
    "Residuals",
    "TokenPrompts",
    "Tokens",
    "master_precision",
]
