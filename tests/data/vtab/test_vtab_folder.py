"""What the folder layout says of tasks that are not VTAB-1K's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image
from samples import picture

from vpt.data import load_task
from vpt.data.vtab import Slice


def write(root: Path, counts: dict[str, int], kind: str) -> None:
    """The layout with files called .jpg, whatever their `kind` (png or jpeg) is."""
    for number, (part, count) in enumerate(counts.items()):
        (root / "images" / part).mkdir(parents=True)
        lines = []
        for i in range(count):
            name = f"images/{part}/{i:06d}.jpg"
            Image.fromarray(picture(100 * number + i)).save(root / name, kind)
            lines.append(f"{name} {i % 4}")
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")


COUNTS = {"train800": 6, "val200": 4, "test": 5}


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [("svhn", "jpeg", True), ("svhn", "png", False), ("dtd", "jpeg", False), ("mine", "jpeg", False)],
)
def test_jpeg_files_of_a_lossless_original_are_told(
    name: str, kind: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / name, COUNTS, kind)
    with caplog.at_level(logging.WARNING, "vpt"):
        tasks = [load_task("vtab", tmp_path, name) for _ in range(2)]
    warned = [record for record in caplog.records if "re-encodings" in record.getMessage()]
    assert len(warned) == told  # once, however often it is loaded
    for task in tasks:
        assert ("JPEG re-encodings" in str(task.record()["deviations"])) == told


@pytest.mark.parametrize("part", COUNTS)
def test_a_single_re_encoded_image_in_any_list_is_told(part: str, tmp_path: Path) -> None:
    write(tmp_path / "svhn", COUNTS, "png")
    Image.fromarray(picture(0)).save(tmp_path / "svhn" / "images" / part / "000003.jpg", "jpeg")
    assert load_task("vtab", tmp_path, "svhn_cropped").deviations[-1].startswith("1 of 15 images are JPEG re-encodings")


def test_deviations_are_recorded_and_the_rest_is_accepted(tmp_path: Path, shrink) -> None:
    write(tmp_path / "kitti", COUNTS, "png")
    sizes = ("train has 6 images", "val has 4 images", "test has 5 images, VTAB-1K's 711", "trainval has 10 images")
    task = load_task("vtab", tmp_path, "kitti")
    assert [line.startswith(size) for line, size in zip(task.deviations, sizes, strict=True)] == [True] * 4
    shrink(
        *("kitti", {"train": 6, "validation": 4, "test": 5}),
        train=Slice("train", 0, 6),
        val=Slice("validation", 0, 4),
    )
    assert load_task("vtab", tmp_path, "kitti").deviations == ()
