"""What holds for every orientation, spacing, angle and crop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lib.geometry import Axis
from tests.strategies import crops, grids, turned


def world(grid, ijk):
    return np.asarray(ijk, dtype=float) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def voxels_of(grid) -> np.ndarray:
    return np.arange(np.prod(grid.shape)).reshape(grid.shape)


@given(st.data())
def test_a_turned_array_comes_back(data):
    grid = data.draw(grids())
    other = data.draw(turned(grid))
    values = voxels_of(grid)
    there = grid.map_to(other).array(values, other.shape)
    assert sorted(there.ravel()) == sorted(values.ravel()), "every voxel once"
    np.testing.assert_array_equal(other.map_to(grid).array(there, grid.shape), values)


@given(st.data())
def test_a_voxel_keeps_its_place_in_the_world(data):
    grid = data.draw(grids())
    other = data.draw(turned(grid).flatmap(crops))
    ijk = np.argwhere(np.ones(other.shape, bool))
    back = other.map_to(grid).points(ijk)
    np.testing.assert_allclose(world(grid, back), world(other, ijk), atol=1e-6)
    values = voxels_of(grid)
    there = grid.map_to(other).array(values, other.shape)
    np.testing.assert_array_equal(there.ravel(), values[tuple(back.astype(int).T)])


@given(st.data())
def test_a_crop_comes_back_where_it_was_and_nowhere_else(data):
    grid = data.draw(grids())
    part = data.draw(turned(grid).flatmap(crops))
    inside = np.ones(part.shape, dtype=np.uint8)
    whole = part.map_to(grid).array(inside, grid.shape)
    assert whole.sum() == inside.sum()
    np.testing.assert_array_equal(grid.map_to(part).array(whole, part.shape), inside)


@given(st.data())
def test_an_axis_and_its_dimension_find_each_other(data):
    grid = data.draw(grids())
    assert sorted(grid.dim_of(axis) for axis in Axis) == [0, 1, 2]
    assert all(grid.axis_of(grid.dim_of(axis)) is axis for axis in Axis)
    other = data.draw(turned(grid))
    for axis in Axis:
        assert grid.map_to(other).dim(grid.dim_of(axis)) == other.dim_of(axis)
