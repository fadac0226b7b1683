"""Metrics against values worked out by hand, on anisotropic spacing."""

import math

import numpy as np
import pytest

from lib.evaluation.metrics import (
    Reach,
    as_record,
    edge_hausdorff,
    hausdorff,
    overlap,
    reach,
    score,
    surface_dice,
)

SPACING = (1.0, 2.0, 5.0)


def block(shape=(12, 12, 12), low=(2, 2, 2), high=(6, 6, 6)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_overlap_by_hand():
    # 4³ = 64 voxels each, shifted by one: 48 shared
    dice, iou = overlap(block(), block(low=(3, 2, 2), high=(7, 6, 6)))
    assert dice == 2 * 48 / 128
    assert iou == 48 / 80


@pytest.mark.parametrize(
    ("shift", "mm", "voxels"),
    [
        pytest.param((2, 0, 0), 2.0, 2.0, id="two voxels of 1 mm"),
        pytest.param((0, 1, 0), 2.0, 1.0, id="one voxel of 2 mm"),
        pytest.param((0, 0, 1), 5.0, 1.0, id="one slice of 5 mm"),
        pytest.param((2, 0, 1), math.sqrt(29), math.sqrt(5), id="oblique"),
    ],
)
def test_hausdorff_of_a_shifted_block(shift, mm, voxels):
    moved = block(low=np.add((2, 2, 2), shift), high=np.add((6, 6, 6), shift))
    assert hausdorff(block(), moved, SPACING) == pytest.approx(mm)
    assert hausdorff(moved, block(), SPACING) == pytest.approx(mm)
    assert hausdorff(block(), moved, (1, 1, 1)) == pytest.approx(voxels)
    assert edge_hausdorff(block(), moved, SPACING) == pytest.approx(mm, rel=1e-5)


def test_voxel_sets_and_edges_differ_inside_a_solid():
    solid = block(low=(1, 1, 1), high=(10, 10, 10))
    shell = solid & ~block(low=(2, 2, 2), high=(9, 9, 9))
    # the centre of the solid is 4 voxels from the nearest of the shell; the inner wall of the
    # shell lies one voxel from the outer one, which the solid shares
    assert hausdorff(solid, shell, (1, 1, 1)) == 4.0
    assert edge_hausdorff(solid, shell, (1, 1, 1)) <= 1.0


def test_percentile_ignores_one_stray_voxel():
    stray = block()
    stray[11, 11, 11] = True
    far = math.sqrt(6**2 + 12**2 + 30**2)
    assert hausdorff(stray, block(), SPACING) == pytest.approx(far)
    assert edge_hausdorff(stray, block(), SPACING, percentile=95) == 0.0


def test_surface_dice_is_one_within_the_tolerance_and_less_beyond():
    moved = block(low=(4, 2, 2), high=(8, 6, 6))
    assert surface_dice(block(), moved, SPACING, tolerance=2.0) == 1.0
    assert surface_dice(block(), moved, SPACING, tolerance=1.0) < 1.0


@pytest.mark.parametrize(
    ("prediction", "truth", "dice", "distance", "nsd"),
    [
        pytest.param(False, True, 0.0, 12 * math.sqrt(1 + 4 + 25), 0.0, id="nothing found"),
        pytest.param(False, False, 1.0, 0.0, 1.0, id="nothing there, nothing found"),
        pytest.param(True, True, 1.0, 0.0, 1.0, id="perfect"),
    ],
)
def test_empty_masks(prediction, truth, dice, distance, nsd):
    masks = [
        block() if there else np.zeros((12, 12, 12), dtype=bool) for there in (prediction, truth)
    ]
    found = score(*masks, SPACING)
    assert (found.dice, found.iou, found.nsd_2mm) == (dice, dice, nsd)
    assert found.hd_mm == pytest.approx(distance)
    assert found.hd95_mm == pytest.approx(distance)


def test_unpainted_and_salient_slices():
    truth = np.zeros((20, 20, 4), dtype=bool)
    truth[:, :, 0] = True  # 400 pixels: salient
    truth[:4, :4, 1:] = True
    prediction = truth.copy()
    prediction[:, :, 2:] = False
    found = score(prediction, truth, SPACING, painted=[0, 1])
    assert found.dice_unpainted == 0.0
    assert found.dice_salient == 1.0
    everything_painted = score(prediction, truth, SPACING, painted=[0, 1, 2, 3])
    assert as_record(everything_painted)["dice_unpainted"] is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param((2, 2, 2), (6, 6, 6), Reach(4, 0, 0.0, 0), id="ends where it ends"),
        # 3 slices of 16 voxels of 10 mm³ below, 1 above
        pytest.param((2, 2, -1), (6, 6, 7), Reach(4, 4, 0.64, 0), id="runs on"),
        pytest.param((2, 2, 3), (6, 6, 5), Reach(4, 0, 0.0, 2), id="stops short"),
        pytest.param((2, 2, 7), (6, 6, 9), Reach(4, 2, 0.32, 4), id="elsewhere"),
    ],
)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_reach_beyond_the_ends(low, high, expected, dim):
    # the object of `block`, three slices further up, so that there is room below
    up = np.array([0, 0, 3])
    truth, found = block(low=(2, 2, 5), high=(6, 6, 9)), block(low=low + up, high=high + up)
    moved = [np.moveaxis(m, 2, dim) for m in (found, truth)]
    assert reach(*moved, SPACING, dim) == expected


def test_a_hole_along_the_axis_is_missed_slices_and_not_beyond():
    two = block(high=(6, 6, 4)) | block(low=(2, 2, 8), high=(6, 6, 10))
    assert reach(block(high=(6, 6, 10)), two, SPACING, 2) == Reach(4, 0, 0.0, 0)
    assert reach(np.zeros_like(two), two, SPACING, 2) == Reach(4, 0, 0.0, 4)
