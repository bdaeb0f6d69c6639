"""Small datasets in TFDS' own format, written by tensorflow_datasets itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

Splits = Mapping[str, Mapping[str | int, Mapping[str, Any]]]
"""Split -> key -> example."""


def png(pixels: np.ndarray) -> io.BytesIO:
    """The pixels `uint8 [H, W]` or `[H, W, 3]` as the file that TFDS would keep (it needs TensorFlow to write one)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    file.seek(0)
    return file


def prepare(root: Path, name: str, features: Mapping[str, Any], splits: Splits, **settings: Any) -> Path:
    """Prepares a dataset under `root` as array_record; `name` is as in a task (`eurosat/rgb:2.0.0`)."""
    dataset, _, version = name.partition(":")
    dataset, _, config = dataset.partition("/")

    def info(builder: tfds.core.GeneratorBasedBuilder) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=builder, features=tfds.features.FeaturesDict(dict(features)), **settings)

    parts = {
        "VERSION": tfds.core.Version(version),
        "BUILDER_CONFIGS": [tfds.core.BuilderConfig(name=config, version=version)] if config else [],
        "name": dataset,
        "_info": info,
        "_split_generators": lambda self, manager: {split: iter(content.items()) for split, content in splits.items()},
        "_generate_examples": lambda self: None,
        "__module__": __name__,
    }
    made = type("Made", (tfds.core.GeneratorBasedBuilder,), parts, skip_registration=True)
    builder = made(data_dir=str(root), file_format="array_record", config=config or None)
    builder.download_and_prepare()
    return Path(builder.data_dir)
