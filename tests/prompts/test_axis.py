"""The axis of painted slices is found, and a wrong one refused, for every orientation."""

import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.axis import narrowest, painted_axis
from tests.geometry.grids import AFFINES

SHAPE = (30, 28, 26)


def on_slices(grid: Grid, axis: Axis, slices) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[8:20, 8:20, 8:20] = True
    dim = grid.dim_of(axis)
    keep = np.zeros(SHAPE, bool)
    np.moveaxis(keep, dim, 0)[list(slices)] = True
    return mask & keep


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("affine", AFFINES)
def test_found_by_the_slices(affine, axis):
    grid = Grid(SHAPE, affine)
    painted = on_slices(grid, axis, (9, 14, 19))
    assert painted_axis(None, painted, grid) is axis
    assert painted_axis(axis, painted, grid) is axis
    for other in set(Axis) - {axis}:
        with pytest.raises(BadInput, match=rf"painted are {axis.value} slices \(9, 14, 19\)"):
            painted_axis(other, painted, grid)


def test_a_single_slice_is_enough():
    grid = Grid(SHAPE, np.eye(4))
    painted = on_slices(grid, Axis.CORONAL, (12,))
    assert painted_axis(None, painted, grid) is Axis.CORONAL
    with pytest.raises(BadInput, match="choose the axis coronal, or auto"):
        painted_axis(Axis.AXIAL, painted, grid)


def test_a_body_may_be_cut_along_any_axis():
    grid = Grid(SHAPE, np.eye(4))
    flat = on_slices(grid, Axis.AXIAL, range(10, 14))  # four slices thick, no gap
    assert painted_axis(None, flat, grid) is Axis.AXIAL
    for axis in Axis:
        assert painted_axis(axis, flat, grid) is axis


@pytest.mark.parametrize("affine", AFFINES)
def test_if_even_the_files_third_dimension(affine):
    grid = Grid(SHAPE, affine)
    cube = np.zeros(SHAPE, bool)
    cube[8:20, 8:20, 8:20] = True
    assert narrowest(grid, cube) is grid.axis_of(2)
