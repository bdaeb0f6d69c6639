"""Images: where they come from, how they are decoded, resized, augmented, cached and batched."""

from vpt.data.augment import Augmentation
from vpt.data.dataset import ImageDataset
from vpt.data.fewshot import few_shot
from vpt.data.imageset import ImageSet
from vpt.data.loader import loader
from vpt.data.pixels import Preprocessing
from vpt.data.sources import load_task
from vpt.data.task import Task

__all__ = ["Augmentation", "ImageDataset", "ImageSet", "Preprocessing", "Task", "few_shot", "load_task", "loader"]
