"""Cross-axis seeds are cuts through the object, where it is largest and surest."""

import numpy as np
import pytest

from lib.geometry import Axis, Grid
from lib.propagation.seeding import cross_axis_masks

GRID = Grid((20, 16, 12), np.diag([1.0, 1.0, 2.0, 1.0]))


def bar():
    """An object that widens along x from 3 to 15, equally sure everywhere."""
    logits = np.full(GRID.shape, -5.0, np.float32)
    for x in range(3, 16):
        logits[x, 2 : 3 + x // 2, 4:9] = 3.0
    return logits


def test_each_third_gives_its_largest_cut():
    masks = cross_axis_masks(bar(), GRID, Axis.SAGITTAL, 4)
    # thirds of 3…15 are 3–7, 8–11, 12–15; the first largest of equals is taken
    assert [m.index for m in masks] == [6, 10, 14]
    for m in masks:
        assert m.axis is Axis.SAGITTAL
        assert m.object_id == 4
        assert np.array_equal(m.mask, bar()[m.index] > 0)


def test_a_sure_cut_is_preferred_to_a_slightly_larger_one():
    logits = bar()
    logits[14:16] = np.where(logits[14:16] > 0, 0.1, logits[14:16])
    assert [m.index for m in cross_axis_masks(logits, GRID, Axis.SAGITTAL, 1)] == [6, 10, 12]


def test_cuts_have_the_shape_of_their_axis():
    for axis, shape in ((Axis.AXIAL, (20, 16)), (Axis.CORONAL, (20, 12))):
        for mask in cross_axis_masks(bar(), GRID, axis, 1):
            assert mask.mask.shape == shape
            assert mask.mask.any()


@pytest.mark.parametrize(("thickness", "count"), [(1, 1), (2, 2), (5, 3)])
def test_thin_objects_give_fewer_seeds(thickness, count):
    logits = np.full(GRID.shape, -1.0)
    logits[5:9, 5:9, 3 : 3 + thickness] = 1
    masks = cross_axis_masks(logits, GRID, Axis.AXIAL, 1)
    assert len(masks) == len({m.index for m in masks}) == count


def test_a_gap_gives_no_empty_seed():
    logits = np.full(GRID.shape, -1.0)
    logits[0:2, 5:9, 3] = 1
    logits[18:20, 5:9, 3] = 1
    masks = cross_axis_masks(logits, GRID, Axis.SAGITTAL, 1)
    assert [m.index for m in masks] == [0, 18]
    assert all(m.mask.any() for m in masks)


def test_of_nothing_there_is_no_cut():
    assert cross_axis_masks(np.full(GRID.shape, -1.0), GRID, Axis.AXIAL, 1) == []
