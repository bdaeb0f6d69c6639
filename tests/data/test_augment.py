"""Augmentation is a function of image and seed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from samples import picture

from vpt.data import Augmentation, augment
from vpt.errors import OptionError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("preset", augment.PRESETS)
def test_depends_on_the_seed_alone(preset: str) -> None:
    one, other = Augmentation(preset), pickle.loads(pickle.dumps(Augmentation(preset)))
    image = picture(0, 40, 60)
    results = {seed: one(image, seed) for seed in range(12)}
    for seed in reversed(range(12)):
        np.random.seed(seed)
        np.testing.assert_array_equal(other(image, seed), results[seed])
    distinct = {result.tobytes() for result in results.values()}
    assert len(distinct) == {"none": 1, "flip": 2}.get(preset, 12)
    assert all(result.dtype == np.uint8 and result.shape[2] == 3 for result in results.values())
    np.testing.assert_array_equal(image, picture(0, 40, 60))


def test_tiny_images_survive_every_preset() -> None:
    for preset in augment.PRESETS:
        for seed in range(10):
            assert min(Augmentation(preset)(picture(0, 8, 8), seed).shape) > 0


def test_unknown_preset() -> None:
    with pytest.raises(OptionError, match=r"unknown augmentation 'lihgt'.*did you mean 'light'"):
        Augmentation("lihgt")


def test_other_releases_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.0.11" if name == "albumentations" else real(name))
    with pytest.raises(OptionError, match=r"albumentations is 2\.0\.11.*2\.0\.8"):
        Augmentation("flip")
    monkeypatch.setattr(metadata, "version", lambda name: "2.0.8")
    with pytest.raises(OptionError, match="albumentationsx is installed"):
        Augmentation("flip")


def test_only_one_file_imports_albumentations() -> None:
    files = [path.name for path in (ROOT / "vpt").rglob("*.py") if "import albumentations" in path.read_text()]
    assert files == ["augment.py"]


def test_importing_the_layer_imports_nothing_heavy() -> None:
    heavy = ["albumentations", "sklearn", "torchvision.datasets", "matplotlib", "cv2", "accelerate", "tensorboard"]
    # timm brings some of its own
    code = f"import sys, timm; had = set(sys.modules); import vpt.data; print(set({heavy}) & set(sys.modules) - had)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
