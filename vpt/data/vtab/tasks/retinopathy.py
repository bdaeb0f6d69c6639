"""Diabetic retinopathy, prepared as by the winner of its competition."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

RETINOPATHY = VtabTask(
    name="diabetic_retinopathy",
    title="Diabetic Retinopathy",
    group="specialized",
    classes=5,
    tfds="diabetic_retinopathy_detection/btgraham-300:3.0.0",
    sizes={"train": (35126,), "validation": (10906,), "test": (42670,)},
    published="retinopathy",
    val=Slice("validation", 0, 200),
    manual=(
        "log in to Kaggle and accept the rules of https://www.kaggle.com/c/diabetic-retinopathy-detection/data; join "
        "and unpack train.zip.*, test.zip.*, sample.zip and trainLabels.csv.zip into <root>/downloads/manual/, so "
        "that it holds train/, test/, sample/ and trainLabels.csv"
    ),
    caveats=("TFDS prepares the images with OpenCV and JPEG quality 72, so that pixels depend on OpenCV's release",),
    why="torchvision has no diabetic retinopathy",
    aliases=("diabetic_retinopathy_detection",),
)
