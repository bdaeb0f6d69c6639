"""What is learned on open_clip's models, by name. A new method is a function under `@clip_method` in this folder."""

from vpt.methods.clip.learned import ClipLearned, ClipTask, clip_method
from vpt.methods.clip.tuned_clip import TunedClip

__all__ = ["ClipLearned", "ClipTask", "TunedClip", "clip_method"]
