"""Slices as frames: orientation, millimetres, and prompts that land where they were put."""

import numpy as np
import pytest
import torch

from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, in_plane_dims
from lib.propagation.video import IMAGE_MEAN, IMAGE_STD, PseudoVideo

SPACING = (0.8, 1.3, 3.0)
SHAPE = (30, 17, 11)
SIDE = 256


@pytest.fixture
def grid():
    return Grid(SHAPE, np.diag([*SPACING, 1.0]))


def make(grid, axis, volume=None, side=SIDE):
    volume = np.zeros(grid.shape, np.float32) if volume is None else volume
    return PseudoVideo(volume.astype(np.float32), grid, axis, side)


def brightest(image):
    """(x, y) centre of mass, in pixels, of what is brighter than black."""
    light = (image[0] - image[0].min()).clamp_min(0).double()
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in light.shape), indexing="ij")
    return [float((light * c).sum() / light.sum()) for c in (columns, rows)]


@pytest.mark.parametrize("axis", Axis)
def test_one_frame_per_slice(axis, grid):
    video = make(grid, axis)
    assert len(video) == SHAPE[axis.dim]
    assert video.image(0).shape == (3, SIDE, SIDE)
    assert video.image(0).dtype == torch.float32


@pytest.mark.parametrize("axis", Axis)
def test_canvas_is_square_in_millimetres(axis, grid):
    video = make(grid, axis)
    columns, rows = in_plane_dims(grid, axis)
    high, wide = video.canvas_shape
    assert high >= SHAPE[rows]
    assert wide >= SHAPE[columns]
    # to within the half voxel that a whole number of voxels allows
    slack = (SPACING[rows] + SPACING[columns]) / 2
    assert abs(high * SPACING[rows] - wide * SPACING[columns]) <= slack


def test_the_foot_is_down_and_left_is_left(grid):
    """Frames are upright: rows run down against the second dimension, columns along the first."""
    volume = np.zeros(SHAPE)
    volume[2, 5, 9] = 1  # low x, high z: upper left of a coronal frame
    x, y = brightest(make(grid, Axis.CORONAL, volume).image(5))
    wide, high = SIDE * SHAPE[0] * SPACING[0] / (SHAPE[2] * SPACING[2]), SIDE
    assert x < wide / 3
    assert y < high / 3


@pytest.mark.parametrize("axis", Axis)
@pytest.mark.parametrize("voxel", [(4, 3, 2), (0, 0, 0), (29, 16, 10), (17, 14, 5)])
def test_a_click_lands_on_its_voxel(axis, voxel, grid):
    """The centre of mass of one bright voxel is where a click on that voxel goes."""
    volume = np.zeros(SHAPE)
    volume[voxel] = 1
    video = make(grid, axis, volume)
    dims = in_plane_dims(grid, axis)
    click = np.array([[voxel[d] for d in dims]], float)
    none = np.zeros((0, 2))
    inputs = video.point_inputs([Points(axis, voxel[axis.dim], 1, click, none)])
    assert inputs["point_labels"].tolist() == [[1]]
    x, y = inputs["point_coords"][0, 0].tolist()
    light_x, light_y = brightest(video.image(voxel[axis.dim]))
    # bilinear weights are cut off at the border: half a voxel of tolerance there, else exact
    border = any(voxel[d] in (0, SHAPE[d] - 1) for d in dims)
    pixel = [SIDE / n for n in video.canvas_shape[::-1]]
    assert abs(light_x - x) < (0.5 * pixel[0] if border else 0.05)
    assert abs(light_y - y) < (0.5 * pixel[1] if border else 0.05)


@pytest.mark.parametrize("axis", Axis)
def test_a_box_is_the_outline_of_its_voxels(axis, grid):
    low, high = np.array([3.0, 2.0]), np.array([8.0, 7.0])
    video = make(grid, axis)
    inputs = video.point_inputs([Box(axis, 4, 1, low, high)])
    assert inputs["point_labels"].tolist() == [[2, 3]]
    first, last = inputs["point_coords"][0].numpy()
    assert (first < last).all(), "upper left corner first, as SAM has it"
    mask = np.zeros([SHAPE[d] for d in in_plane_dims(grid, axis)], bool)
    mask[3:9, 2:8] = True
    rows, columns = np.nonzero(video.mask_input(Mask(axis, 4, 1, mask))[0, 0].numpy())
    # an edge at pixel boundary p lies between the pixel centres p − 0.5 and p + 0.5
    assert np.allclose(first, [columns.min() - 0.5, rows.min() - 0.5], atol=1.01)
    assert np.allclose(last, [columns.max() + 0.5, rows.max() + 0.5], atol=1.01)


def test_boxes_go_before_points_and_labels_tell_them_apart(grid):
    box = Box(Axis.AXIAL, 4, 1, np.array([3.0, 2.0]), np.array([8.0, 7.0]))
    clicks = Points(Axis.AXIAL, 4, 1, np.array([[5.0, 5.0], [6.0, 5.0]]), np.array([[20.0, 9.0]]))
    inputs = make(grid, Axis.AXIAL).point_inputs([clicks, box])
    assert inputs["point_labels"].tolist() == [[2, 3, 1, 1, 0]]
    assert inputs["point_coords"].shape == (1, 5, 2)
    assert inputs["point_coords"][0, 4, 0] > inputs["point_coords"][0, 3, 0]


@pytest.mark.parametrize("axis", Axis)
def test_a_mask_comes_back_where_it_was_painted(axis, grid):
    """Image → network → voxels and back: mask → (S, S) → slice_logits is the same mask."""
    shape = [SHAPE[d] for d in in_plane_dims(grid, axis)]
    mask = np.zeros(shape, bool)
    mask[2:7, 1:5] = True
    mask[2, 1] = False  # no symmetry that a flip could hide behind
    mask[5:7, 4:8] = True
    video = make(grid, axis)
    logits = video.mask_input(Mask(axis, 3, 1, mask)) * 20 - 10
    (back,) = video.slice_logits(logits).numpy() > 0
    assert back.shape == mask.shape
    assert (back != mask).sum() <= 2
    assert (back & mask).sum() >= mask.sum() - 2


@pytest.mark.parametrize("axis", Axis)
def test_image_and_mask_agree(axis, grid):
    """What is bright in the frame is what is painted: the same orientation for both."""
    shape = [SHAPE[d] for d in in_plane_dims(grid, axis)]
    mask = np.zeros(shape, bool)
    mask[1:6, 2:4] = True
    volume = np.zeros(SHAPE)
    np.moveaxis(volume, axis.dim, 0)[3] = mask
    video = make(grid, axis, volume)
    painted = video.mask_input(Mask(axis, 3, 1, mask))[0, 0]
    image = video.image(3)[0] * IMAGE_STD[0] + IMAGE_MEAN[0]
    assert torch.equal(image >= 0.5, painted.bool())


def test_a_thin_mask_is_not_lost(grid):
    """One voxel on a large slice is less than half a pixel of a small input."""
    large = Grid((400, 400, 3), np.diag([0.5, 0.5, 1.0, 1.0]))
    mask = np.zeros((400, 400), bool)
    mask[100, 200] = True
    painted = make(large, Axis.AXIAL, side=64).mask_input(Mask(Axis.AXIAL, 1, 1, mask))
    assert 1 <= painted.sum() <= 9
    rows, columns = np.nonzero(painted[0, 0].numpy())
    assert abs(columns.mean() - 100 / 400 * 64) <= 1
    assert abs(rows.mean() - 199 / 400 * 64) <= 1


def test_pixels_are_normalised_without_eight_bits(grid):
    """1/1000 of the window is still there, and padding is black."""
    volume = np.full(SHAPE, 0.5)
    volume[:, :, 1] += 0.001
    video = make(grid, Axis.AXIAL, volume)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    dark, light = (video.image(t) * std + mean for t in (0, 1))
    high, wide = video.canvas_shape
    assert high > SHAPE[1], "nothing is padded"
    bottom, right = (round(n / m * SIDE) for n, m in ((SHAPE[1], high), (SHAPE[0], wide)))
    inside = (slice(None), slice(bottom - 9), slice(right))
    assert torch.allclose((light - dark)[inside], torch.tensor(0.001), atol=1e-6)
    assert torch.allclose(dark[inside], torch.tensor(0.5), atol=1e-6)
    assert torch.allclose(dark[:, bottom + 9 :], torch.tensor(0.0), atol=1e-6)
