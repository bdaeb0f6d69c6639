"""What is learned: prompt tokens, added prompts, prompt pixels, and how they start."""

from vpt.prompts.added import AddedPrompts
from vpt.prompts.pixels import FramePrompts, PixelPrompts
from vpt.prompts.prompts import Prompts, master_precision
from vpt.prompts.tokens import TokenPrompts

__all__ = ["AddedPrompts", "FramePrompts", "PixelPrompts", "Prompts", "TokenPrompts", "master_precision"]
