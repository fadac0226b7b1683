"""Planes as radiologists look at them, whatever the file's orientation; nibabel is the oracle."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from lib.geometry import Axis, Grid
from lib.pictures.planes import Found, Pose, cuts, field_of_view, plane_of, three_planes
from lib.transforms.volume import Volume
from lib.transforms.window import PRESETS, Window, equalise
from lib.transforms.windowed import Windowed
from tests.geometry.grids import AFFINES, SHAPE, affine_of, random_labels, reoriented

#: Axis → its dimension in an array whose indices grow to the left, back and feet, as pictures do
DIMS = {Axis.SAGITTAL: 0, Axis.CORONAL: 1, Axis.AXIAL: 2}


@pytest.fixture(params=AFFINES)
def grid(request) -> Grid:
    return Grid(SHAPE, request.param)


def file_index(grid: Grid, axis: Axis, lpi: int) -> int:
    count = grid.shape[grid.dim_of(axis)]
    return count - 1 - lpi if grid.sign_of(axis) > 0 else lpi


@pytest.mark.parametrize("axis", Axis)
def test_columns_go_to_the_left_and_back_rows_to_the_back_and_feet(grid, axis):
    volume = random_labels()
    _, as_seen = reoriented(grid, volume, "LPI")
    for lpi in range(as_seen.shape[DIMS[axis]]):
        plane = Pose(grid, axis).take(volume, file_index(grid, axis, lpi))
        np.testing.assert_array_equal(plane, np.take(as_seen, lpi, DIMS[axis]).T)


@pytest.mark.parametrize("axis", Axis)
def test_pixels_have_the_files_spacing(grid, axis):
    seen, _ = reoriented(grid, random_labels(), "LPI")
    others = [d for d in range(3) if d != DIMS[axis]]
    assert Pose(grid, axis).pixel == pytest.approx([seen.spacing[d] for d in others])


def test_letters_are_those_of_a_reading_room():
    grid = Grid(SHAPE, np.eye(4))
    assert {a: "".join(Pose(grid, a).letters) for a in Axis} == {
        Axis.AXIAL: "RLAP",
        Axis.CORONAL: "RLSI",
        Axis.SAGITTAL: "APSI",
    }


@pytest.mark.parametrize("axis", Axis)
def test_a_slice_of_another_axis_lies_where_its_voxels_are_seen(grid, axis):
    pose = Pose(grid, axis)
    for other, along in ((pose.across, 1), (pose.down, 0)):
        dim = grid.dim_of(other)
        for index in range(grid.shape[dim]):
            volume = np.zeros(SHAPE, bool)
            np.moveaxis(volume, dim, 0)[index] = True
            seen = np.flatnonzero(pose.take(volume, 0).any(1 - along))
            assert seen == [pose.place(other, index)]


def shown(values, grid: Grid, window: Window) -> Windowed:
    return Windowed(Volume(values, grid).upright(), window)


def scaled(values, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("axis", Axis)
def test_a_plane_is_the_windowed_slice_of_the_file(grid, axis):
    values = np.random.default_rng(1).integers(-1000, 2000, SHAPE).astype(np.int16)
    plane = plane_of(shown(values, grid, PRESETS["bone"]), axis, 3, grid)
    expected = Pose(grid, axis).take(scaled(values, -500, 1300), 3)
    np.testing.assert_allclose(plane, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "percentiles"), [("mr", (0.5, 99.5)), ("none", (0, 100))])
def test_percentiles_are_those_of_the_volume_not_of_the_plane(name, percentiles):
    grid = Grid(SHAPE, affine_of("LPS", (0.8, 0.8, 3)))
    values = np.random.default_rng(2).integers(-1000, 2000, SHAPE).astype(np.int16)
    values[..., 4] //= 4
    plane = plane_of(shown(values, grid, PRESETS[name]), Axis.AXIAL, 4, grid)
    whole = scaled(values, *np.percentile(values, percentiles))
    np.testing.assert_allclose(plane, Pose(grid, Axis.AXIAL).take(whole, 4), atol=1e-5)


@pytest.mark.parametrize("axis", Axis)
def test_clahe_equalises_the_plane_as_the_engine_does(axis):
    """In RAS, each axis its own slices."""
    grid = Grid((43, 39, 35), affine_of("LPS", (0.8, 0.8, 3)))
    values = np.random.default_rng(3).normal(400, 300, grid.shape).astype(np.float32)
    plane = plane_of(shown(values, grid, Window(400, 1800, clahe=True)), axis, 7, grid)
    ras, moved = reoriented(grid, scaled(values, -500, 1300).astype(np.float32))
    equalise(moved, axis.dim)
    own = 7 if axis is Axis.AXIAL else grid.shape[axis.dim] - 8  # LPS: x and y run the other way
    np.testing.assert_allclose(plane, Pose(ras, axis).take(moved, own), atol=1e-5)


def test_only_what_is_shown_becomes_floating_point():
    grid = Grid((128, 128, 128), np.eye(4))
    values = np.ones(grid.shape, np.int16)
    labels = np.zeros(grid.shape, np.uint8)
    labels[20:90, 30:60, 40:80] = 1
    tracemalloc.start()
    through, found = shown(values, grid, PRESETS["bone"]), Found(labels, grid, [1])
    for view in three_planes(found):
        plane_of(through, view.axis, view.index, grid)
        list(found.plane(view.axis, view.index))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes / 8


def test_planes_go_through_the_object(grid):
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 7:9, 2] = 3
    labels[11, 2, 6] = 3
    found = Found(labels, grid, [3])
    for view in three_planes(found):
        assert any(mask.any() for _, mask in found.plane(view.axis, view.index))
    assert sum(found.areas[Axis.AXIAL]) == 7
    assert cuts(found, Axis.AXIAL, 0, 1) == sorted(cuts(found, Axis.AXIAL, 0, 1))


def test_objects_that_share_voxels_are_told_apart():
    labels = np.zeros((2, *SHAPE), bool)
    labels[0, 2:6, 2:6, 4] = labels[1, 4:8, 4:8, 4] = True
    found = Found(labels, Grid(SHAPE, np.eye(4)), [5, 9])
    planes = dict(found.plane(Axis.AXIAL, 4))
    assert {i: int(mask.sum()) for i, mask in planes.items()} == {5: 16, 9: 16}
    assert (planes[5] & planes[9]).sum() == 4
    assert found.areas[Axis.AXIAL][4] == 32


def test_what_is_seen_holds_the_whole_object_on_one_scale(grid):
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:13, 3:5, 2:7] = 1
    middle, side = field_of_view(Found(labels, grid, [1]), least=0)
    there = nib.affines.apply_affine(np.diag([*grid.spacing, 1]), np.argwhere(labels))
    for axis in Axis:
        dim = grid.dim_of(axis)
        seen = np.abs(there[:, dim] - middle[axis] * grid.spacing[dim])
        assert seen.max() + grid.spacing[dim] / 2 <= side / 2


def test_a_result_without_a_voxel_shows_the_middle_of_the_volume():
    grid = Grid(SHAPE, np.eye(4))
    found = Found(np.zeros(SHAPE, np.uint8), grid, [1])
    assert {v.axis: v.index for v in three_planes(found)} == {
        Axis.AXIAL: 4,
        Axis.CORONAL: 5,
        Axis.SAGITTAL: 7,
    }
    assert field_of_view(found, least=0)[1] == pytest.approx(14 * 4 / 3)
