"""The rendered pictures show what their labels say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vpt.data import load_task
from vpt.data.embedded.outlines import DIRECTED, OUTLINES, placed
from vpt.data.embedded.render import SIZE, Shape, render
from vpt.data.embedded.shapes import SCENES


def shapes_of(scene: str, label: int, seed: int) -> list[Shape]:
    return SCENES[scene].compose(label, np.random.default_rng(seed))


@pytest.mark.parametrize("scene", SCENES)
def test_shapes_lie_inside_the_picture(scene: str) -> None:
    for seed in range(60):
        for shape in shapes_of(scene, seed % len(SCENES[scene].classes), seed):
            corners = placed(OUTLINES[shape.outline], (shape.x, shape.y), shape.radius, shape.angle)
            assert corners.min() >= -1e-9
            assert corners.max() <= SIZE + 1e-9


def test_location_is_the_column() -> None:
    columns = [[shapes_of("location", label, seed)[0].x for seed in range(40)] for label in range(8)]
    for left, right in itertools.pairwise(columns):
        assert max(left) < min(right)


def test_orientation_is_where_the_tip_points() -> None:
    for label, expected in enumerate([(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)]):
        for seed in range(40):
            shape = shapes_of("orientation", label, seed)[0]
            assert shape.outline in DIRECTED
            tip = placed(np.array([[0.0, -1.0]]), (0, 0), 1, shape.angle)[0]
            assert tip @ np.array(expected) / np.linalg.norm(expected) > np.cos(np.pi / 8)


def test_directed_outlines_have_their_tip_on_top() -> None:
    for name in DIRECTED:
        top = OUTLINES[name][OUTLINES[name][:, 1].argmin()]
        assert abs(top[0]) < 1e-6
        assert np.linalg.norm(OUTLINES[name], axis=1).max() == pytest.approx(1)


def test_count_is_the_number_of_separate_shapes() -> None:
    for seed in range(40):
        shapes = shapes_of("count", seed % 6, seed)
        assert len(shapes) == seed % 6 + 1
        for i, one in enumerate(shapes):
            for other in shapes[:i]:
                assert np.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius


def test_edges_are_smooth_and_areas_right() -> None:
    shape = Shape("square", 32, 32, 20, 0.3)
    image = render([shape], np.random.default_rng(0)).astype(float)
    background = render([], np.random.default_rng(0)).astype(float)
    change = np.linalg.norm(image - background, axis=2)
    full = np.median(change[25:40, 25:40])
    assert (change > 1).sum() * full > change.sum()  # partly covered pixels at the edge
    assert change.sum() / full == pytest.approx(2 * 20**2, rel=0.1)  # a square within a circle of radius 20


@pytest.mark.parametrize("scene", SCENES)
def test_sets_are_balanced_and_share_no_picture(scene: str) -> None:
    task = load_task("embedded", None, scene, train=48, val=48, test=48)
    counts = np.bincount(task.train.labels)
    assert counts.min() == counts.max()
    pictures = {images.decode(i).tobytes() for images in task.sets().values() for i in range(48)}
    assert len(pictures) == 144
    assert "not dSprites" in task.about


def test_digits_are_scikit_learns() -> None:
    task = load_task("embedded", None, "digits")
    assert [len(images) for images in task.sets().values()] == [800, 200, 797]
    everything = {i for images in task.sets().values() for i in range(len(images))}
    names = {images.describe(i) for images in task.sets().values() for i in range(len(images))}
    assert len(names) == 1797
    assert len(everything) == 800
    assert task.train.decode(0).shape == (8, 8, 3)
    assert task.train.decode(0).max() == 255
