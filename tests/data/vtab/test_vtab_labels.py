"""Label rules at their boundaries, and what is done to images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpt.data.vtab import TASKS, get


def clevr(*depths: float) -> dict[str, object]:
    """An example as TFDS hands it out: lists of arrays; none for no object."""
    return {"objects": {"pixel_coords": [np.array([200, 100, depth], np.float32) for depth in depths]}}


def kitti(*objects: tuple[int, float]) -> dict[str, object]:
    return {
        "objects": {
            "type": [np.int64(kind) for kind, _ in objects],
            "location": [np.array([1, 2, z], np.float32) for _, z in objects],
        }
    }


@pytest.mark.parametrize(("count", "label"), [(3, 0), (6, 3), (10, 7)])
def test_clevr_count(count: int, label: int) -> None:
    assert get("clevr_count").label(clevr(*[9.0] * count)) == label


@pytest.mark.parametrize(
    ("depth", "label"),
    [(0.5, 0), (8.0, 0), (8.001, 1), (8.5, 1), (8.75, 2), (9.0, 2), (9.25, 3), (9.5, 3), (9.75, 4), (10, 4), (10.1, 5)],
)
def test_clevr_distance_thresholds_are_strict(depth: float, label: int) -> None:
    assert get("clevr_dist").label(clevr(12.0, depth, 11.0)) == label


def test_clevr_distance_is_compared_as_float32() -> None:
    above = np.nextafter(8.5, 9)  # in float64; as float32, which TFDS keeps, it is 8.5
    assert get("clevr_dist").label(clevr(above)) == 1
    assert get("clevr_dist").label({"objects": {"pixel_coords": [[0, 0, above]]}}) == 1


def test_a_clevr_scene_without_objects_has_no_class() -> None:
    assert get("clevr_dist").label(clevr()) == -1
    assert get("clevr_count").label(clevr()) == -3


@pytest.mark.parametrize(
    ("objects", "label"),
    [
        ([], 3),
        ([(3, 2.0), (7, 1.0)], 3),  # a pedestrian and something else, but no vehicle
        ([(0, 8.0)], 0),
        ([(0, 8.01)], 1),
        ([(1, 20.0), (3, 2.0)], 1),
        ([(2, 20.01)], 2),
        ([(0, 30.0), (2, 5.0), (1, 50.0)], 0),
        ([(0, 999.0)], 2),
        ([(0, -3.0)], 0),
        ([(0, 2000.0)], 3),
    ],
)
def test_kitti_distance(objects: list[tuple[int, float]], label: int) -> None:
    assert get("kitti").label(kitti(*objects)) == label


@pytest.mark.parametrize(
    ("name", "feature", "values"),
    [("dsprites_loc", "label_x_position", 32), ("dsprites_ori", "label_orientation", 40)],
)
def test_dsprites_bins(name: str, feature: str, values: int) -> None:
    labels = [get(name).label({feature: np.int64(v)}) for v in range(values)]
    assert labels == [int(np.floor(np.float32(v) / np.float32(values / 16))) for v in range(values)]
    assert (labels[0], labels[-1]) == (0, 15)
    assert set(labels) == set(range(16))


@pytest.mark.parametrize(
    ("name", "feature"), [("smallnorb_azi", "label_azimuth"), ("smallnorb_ele", "label_elevation")]
)
def test_smallnorb_labels_are_raw(name: str, feature: str) -> None:
    last = TASKS[name].classes - 1
    assert [get(name).label({feature: np.int64(v)}) for v in (0, last)] == [0, last]


@given(st.floats(0.125, 90, width=32), st.floats(0.125, 90, width=32))
def test_distances_are_monotonous(one: float, other: float) -> None:
    near, far = sorted((one, other))
    for task, example in (("clevr_dist", clevr), ("kitti", lambda z: kitti((0, z)))):
        labels = [get(task).label(example(z)) for z in (near, far)]
        assert 0 <= labels[0] <= labels[1] < TASKS[task].classes


def test_only_dsprites_changes_pixels() -> None:
    assert {name for name, task in TASKS.items() if task.image} == {"dsprites_loc", "dsprites_ori"}
    image = get("dsprites_loc").image
    assert image is not None
    pixels = np.array([[[0, 0, 0], [1, 1, 1]]], np.uint8)
    assert image(pixels).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert image(pixels).dtype == np.uint8
