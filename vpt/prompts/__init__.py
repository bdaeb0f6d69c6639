"""What is learned: prompt tokens, added prompts, prompt pixels, contexts of class names, and how they start."""

from vpt.prompts.added import AddedPrompts
from vpt.prompts.context import ConditionalContext, Context, Residuals
from vpt.prompts.pixels import FramePrompts, PixelPrompts
from vpt.prompts.prompts import Prompts, master_precision
from vpt.prompts.tokens import TokenPrompts

__all__ = [
    "AddedPrompts",
    "ConditionalContext",
    "Context",
    "FramePrompts",
    "PixelPrompts",
    "Prompts",
    "Residuals",
    "TokenPrompts",
    "master_precision",
]
