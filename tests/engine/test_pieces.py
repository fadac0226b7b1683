"""Which objects share a crop, and what the progress of several runs tells."""

import numpy as np
import pytest

from lib.configs.options import Settings
from lib.engine.pieces import ProgressOfAll, logit_pixel, pieces_of, share_crops
from lib.engine.recipe import Recipe
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, PromptSet
from lib.transforms.crop import bounds_for, move_bounds
from tests.geometry.grids import affine_of, reoriented

SHAPE = (200, 180, 40)


def square(first: int, side: int, object_id: int) -> Mask:
    mask = np.zeros(SHAPE[:2], bool)
    mask[first : first + side, 20 : 20 + side] = True
    return Mask(Axis.AXIAL, 10, object_id, mask)


def groups(image_size: int, *prompts: Mask, roi=None) -> list[tuple[int, ...]]:
    grid = Grid(SHAPE, affine_of("RAS", (1, 1, 3)))
    recipe = Recipe(PromptSet(grid, prompts), Settings(), roi=roi)
    return [p.prompts.object_ids for p in pieces_of(recipe, grid, image_size)]


def test_objects_share_a_crop_that_the_network_sees_voxel_by_voxel():
    # 160 voxels across: 256 logits of a 1024 input are finer than a voxel, 48 of 192 are not
    assert groups(1024, square(10, 20, 1), square(140, 20, 2)) == [(1, 2)]
    assert groups(192, square(10, 20, 1), square(140, 20, 2)) == [(1,), (2,)]


def test_neighbours_share_what_one_of_them_needs_anyway():
    assert groups(192, square(10, 100, 1), square(40, 40, 2)) == [(1,), (2,)], "2 would lose pixels"
    assert groups(192, square(10, 60, 1), square(12, 60, 2)) == [(1, 2)]


def test_a_region_of_interest_is_one_crop_for_all():
    roi = np.array([0, 0, 0]), np.array(SHAPE)
    assert groups(192, square(10, 20, 1), square(140, 20, 2), roi=roi) == [(1, 2)]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_a_shared_crop_is_no_more_than_what_each_needs(codes):
    """A margin around both would be another one than each has alone, and so would the result."""
    volume = Grid(SHAPE, affine_of("RAS", (1, 1, 3)))
    file, _ = reoriented(volume, np.zeros(SHAPE, np.uint8), codes)
    prompts = PromptSet(volume, (square(20, 60, 1), square(40, 60, 2)))
    parts = [bounds_for(PromptSet(volume, (p,)), volume, (Axis.AXIAL,)) for p in prompts.prompts]
    (piece,) = pieces_of(Recipe(prompts.on(file), Settings()), volume, 1024)
    first, stop = move_bounds(piece.crop, file, volume)
    assert (first == np.min([a for a, _ in parts], axis=0)).all()
    assert (stop == np.max([b for _, b in parts], axis=0)).all()


def test_the_rule_itself():
    size = {1: 10.0, 2: 30.0, 3: 31.0}

    def pixel(ids):
        return max(size[i] for i in ids)

    assert share_crops([1, 2, 3], pixel, voxel=1.0) == [(1,), (2,), (3,)]
    assert share_crops([1, 2, 3], pixel, voxel=31.0) == [(1, 2, 3)]


@pytest.mark.parametrize("axis", list(Axis))
def test_a_pixel_of_the_logits_in_mm(axis):
    grid = Grid((100, 80, 60), np.diag([0.5, 1.0, 2.0, 1.0]))
    box = np.array([0, 0, 0]), np.array([100, 80, 60])
    longest = {Axis.AXIAL: 80, Axis.CORONAL: 120, Axis.SAGITTAL: 120}[axis]
    assert logit_pixel(box, grid, [axis], 256) == pytest.approx(longest / 64)


def test_progress_of_several_runs_never_goes_back():
    told = []
    whole = ProgressOfAll(lambda done, of: told.append((done, of)), 2)
    first = whole.next()
    first(1, 10)
    first(10, 10)
    whole.next()(4, 4)
    assert told == [(1, 20), (10, 20), (14, 14)]
