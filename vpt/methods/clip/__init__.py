"""What is learned on open_clip's models, by name. A new method is a function under `@clip_method` in this folder."""

from vpt.methods.clip.learned import ClipLearned, ClipTask, clip_method
from vpt.methods.clip.reading import Reading, Similarity, class_similarity, nearest_words
from vpt.methods.clip.tuned_clip import TunedClip

__all__ = [
    "ClipLearned",
    "ClipTask",
    "Reading",
    "Similarity",
    "TunedClip",
    "class_similarity",
    "clip_method",
    "nearest_words",
]
