import time

import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.labelmap import from_labelmap
from tests.geometry.grids import AFFINES, SHAPE, affine_of

GRID = Grid(SHAPE, affine_of("LPS"))


def painted_labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:5, 1] = 1
    labels[2:6, 3:5, 7] = 1
    labels[8:10, 0:2, 7] = 5
    return labels


def test_each_value_and_slice_is_a_mask():
    prompts = from_labelmap(painted_labels(), GRID).prompts
    assert [(p.object_id, p.index, int(p.mask.sum())) for p in prompts] == [
        (1, 1, 8),
        (1, 7, 8),
        (5, 7, 4),
    ]


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("affine", AFFINES)
def test_masks_put_together_are_the_label_map(affine, axis):
    grid = Grid(SHAPE, affine)
    labels = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint16)
    labels[labels == 2] = 300
    rebuilt = np.zeros_like(labels)
    stack = np.moveaxis(rebuilt, grid.dim_of(axis), 0)
    for p in from_labelmap(labels, grid, axis).prompts:
        stack[p.index][p.mask] = p.object_id
    np.testing.assert_array_equal(rebuilt, labels)


def test_only_the_listed_slices_and_objects():
    some = from_labelmap(painted_labels(), GRID, slices=[7], object_ids=[5])
    assert [(p.object_id, p.index) for p in some.prompts] == [(5, 7)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"slices": [1, 3]}, "nothing is painted on axial slice 3: painted are 1, 7"),
        ({"object_ids": [1, 4]}, "no slice of label 4 is painted"),
        ({"slices": [1], "object_ids": [1, 5]}, "no slice of label 5"),
    ],
)
def test_asking_for_what_is_not_there(options, sentence):
    with pytest.raises(BadInput, match=sentence):
        from_labelmap(painted_labels(), GRID, **options)


def test_empty():
    with pytest.raises(BadInput, match="label map is empty: paint"):
        from_labelmap(np.zeros(SHAPE, np.uint8), GRID)


def test_a_boolean_mask_is_object_one():
    prompts = from_labelmap(painted_labels() == 5, GRID)
    assert prompts.object_ids == (1,)


def test_a_large_volume_is_read_once_not_per_object_and_slice():
    labels = np.zeros((512, 512, 200), np.uint8)
    rng = np.random.default_rng(0)
    for value in range(1, 61):
        i, j = rng.integers(0, 480, 2)
        for k in (20, 100, 180):
            labels[i : i + 30, j : j + 30, k] = value
    grid = Grid(labels.shape, affine_of("RAS"))
    start = time.perf_counter()
    prompts = from_labelmap(labels, grid)
    seconds = time.perf_counter() - start
    assert len(prompts.object_ids) > 50
    assert seconds < 10  # comparing 60 values with 52 million voxels each takes far longer
