"""Images: where they come from, how they are decoded, resized, augmented, cached and batched."""

from vpt.data.augment import Augmentation
from vpt.data.base_to_new import base_to_new, harmonic_mean
from vpt.data.class_names import renamed, spoken
from vpt.data.dataset import ImageDataset
from vpt.data.fewshot import few_shot, few_shot_task
from vpt.data.imageset import ImageSet
from vpt.data.loader import loader
from vpt.data.pixels import Preprocessing
from vpt.data.resplit import resplit
from vpt.data.sources import load_task
from vpt.data.task import Task

__all__ = [
    "Augmentation",
    "ImageDataset",
    "ImageSet",
    "Preprocessing",
    "Task",
    "base_to_new",
    "few_shot",
    "few_shot_task",
    "harmonic_mean",
    "load_task",
    "loader",
    "renamed",
    "resplit",
    "spoken",
]
