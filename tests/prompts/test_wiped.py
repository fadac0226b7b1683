"""Wiped slices on other grids."""

import numpy as np
import pytest

from lib.geometry import Axis, Grid
from lib.prompts.wiped import Wiped, as_voxels

FLIPPED = np.array([[0, 0, 2, 0], [0, -1, 0, 39], [3, 0, 0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("axis", list(Axis))
def test_slices_move_with_the_voxels(axis):
    here, there = Grid((30, 40, 20), FLIPPED), Grid((20, 40, 30), np.diag([2.0, 1, 3, 1]))
    wiped = Wiped(1, axis, frozenset({2, 3, 11}))
    moved = wiped.on(here, there)
    voxels = here.map_to(there).array(as_voxels([wiped], here), there.shape)
    assert (as_voxels([moved], there) == voxels).all()
    assert moved.on(there, here) == wiped


def test_slices_outside_a_crop_are_left_out():
    affine = np.eye(4)
    affine[2, 3] = 5
    crop = Grid((10, 10, 4), affine)
    wiped = Wiped(1, Axis.AXIAL, frozenset({4, 5, 8, 9}))
    assert wiped.on(Grid((10, 10, 20), np.eye(4)), crop).slices == {0, 3}
