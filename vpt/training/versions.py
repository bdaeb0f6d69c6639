"""Versions of what a result depends on, for every record of it."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata

PACKAGES = (
    *("vpt", "torch", "torchvision", "timm", "accelerate"),
    *("albumentations", "numpy", "pillow", "scikit-learn"),
)
"""What a result depends on."""

OPTIONAL = ("peft", "open_clip_torch")
"""What it depends on where it is installed."""


def versions() -> dict[str, str]:
    """Versions of python and of the packages that can change a result; "unknown" for one that is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "unknown"
    for package in OPTIONAL:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
