import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, PromptSet, in_plane_dims
from lib.transforms.crop import bounds_for, crop_box, move_bounds, on_raster, part_of
from tests.geometry.grids import affine_of

SHAPE = (200, 180, 60)
GRID = Grid(SHAPE, affine_of("RAS", (1, 1, 4)))
ALL = (Axis.AXIAL, Axis.CORONAL, Axis.SAGITTAL)


def painted(axis, index, low, high, object_id=1, grid=GRID) -> Mask:
    """A filled rectangle, both corners inclusive."""
    mask = np.zeros([grid.shape[d] for d in in_plane_dims(grid, axis)], bool)
    mask[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
    return Mask(axis, index, object_id, mask)


def twice(axis, index, low, high, object_id=1) -> tuple[Mask, Mask]:
    """The same on a slice and the one after it."""
    return tuple(painted(axis, t, low, high, object_id) for t in (index, index + 1))


def click(index, at, object_id=1, background=()) -> Points:
    return Points(
        Axis.AXIAL, index, object_id, np.array([at], float), np.reshape(background, (-1, 2))
    )


def box_of(*prompts, axes=(Axis.AXIAL,), **options):
    start, stop = crop_box(PromptSet(GRID, prompts), axes, **options)
    return list(zip(start.tolist(), stop.tolist(), strict=True))


def test_margin_is_a_quarter_of_the_extent_or_16_mm():
    # 100 voxels wide: a quarter is 25; 20 high: 16 mm is more than 5
    cropped = box_of(*twice(Axis.AXIAL, 7, (50, 60), (149, 79)))
    assert cropped == [(25, 175), (44, 96), (0, 60)]


def test_an_object_known_on_one_slice_may_run_further_out_of_it():
    one, other = (
        painted(Axis.AXIAL, 7, (50, 60), (59, 79)),
        twice(Axis.AXIAL, 7, (50, 60), (59, 79), 2),
    )
    far = [(10, 100), (20, 120), (0, 60)]
    assert box_of(one) == far
    assert box_of(one, click(7, (55, 65))) == far, "the same slice"
    assert box_of(one, *other) == far, "one of them is enough"
    assert box_of(*other) == [(34, 76), (44, 96), (0, 60)]


def test_margin_in_mm_counts_voxels_of_that_dimension():
    cropped = box_of(*twice(Axis.CORONAL, 90, (50, 20), (149, 29)), axes=(Axis.CORONAL,))
    assert cropped == [(25, 175), (0, 180), (16, 34)]  # 16 mm are four slices of 4 mm


def test_clipped_to_the_volume():
    assert box_of(*twice(Axis.AXIAL, 7, (0, 170), (199, 179)))[:2] == [(0, 200), (154, 180)]


def test_all_objects_and_slices_count():
    cropped = box_of(
        *twice(Axis.AXIAL, 7, (50, 60), (59, 69)), *twice(Axis.AXIAL, 40, (90, 60), (109, 79), 2)
    )
    assert cropped == [(34, 126), (44, 96), (0, 60)]


def test_boxes_count_like_masks():
    box = Box(Axis.AXIAL, 7, 1, np.array([50, 60]), np.array([149, 79]))
    assert box_of(box) == box_of(painted(Axis.AXIAL, 7, (50, 60), (149, 79)))


class TestThreeAxes:
    def test_axial_prompts_leave_the_height_open(self):
        cropped = box_of(*twice(Axis.AXIAL, 7, (50, 60), (149, 79)), axes=ALL)
        assert cropped == [(25, 175), (44, 96), (0, 60)]

    def test_prompts_on_all_axes_bound_all_dimensions(self):
        cropped = box_of(
            painted(Axis.AXIAL, 30, (50, 60), (149, 79)),
            painted(Axis.CORONAL, 70, (60, 20), (139, 39)),
            painted(Axis.SAGITTAL, 100, (62, 18), (77, 41)),
            axes=ALL,
        )
        assert cropped == [(25, 175), (44, 96), (12, 48)]  # z: 18-41 and a quarter of 24

    def test_along_one_axis_the_stack_stays_whole_whatever_else_was_painted(self):
        cropped = box_of(
            painted(Axis.AXIAL, 30, (50, 60), (149, 79)),
            painted(Axis.CORONAL, 70, (60, 20), (139, 39)),
        )
        assert cropped[2] == (0, 60)


class TestPoints:
    def test_clicks_alone_say_nothing_about_size(self):
        assert box_of(click(7, (50, 60))) == [(0, 200), (0, 180), (0, 60)]

    def test_clicks_that_correct_a_mask_do(self):
        cropped = box_of(
            painted(Axis.AXIAL, 7, (50, 60), (149, 79)), click(9, (100, 40), background=[[160, 70]])
        )
        # the box takes in the background click: it has to lie inside the crop
        assert cropped == [(22, 189), (24, 96), (0, 60)]

    def test_another_object_with_clicks_alone_opens_the_plane(self):
        cropped = box_of(painted(Axis.AXIAL, 7, (50, 60), (149, 79)), click(9, (100, 40), 2))
        assert cropped == [(0, 200), (0, 180), (0, 60)]


class TestRoi:
    ROI = (np.array([40, 50, 10]), np.array([140, 70, 30]))

    def test_replaces_the_box_and_is_exact_along_the_axis(self):
        cropped = box_of(painted(Axis.AXIAL, 12, (60, 55), (70, 60)), roi=self.ROI)
        assert cropped == [(15, 165), (34, 86), (10, 30)]

    def test_bounds_clicks(self):
        assert box_of(click(12, (60, 55)), roi=self.ROI) == [(15, 165), (34, 86), (10, 30)]

    def test_three_axes_have_a_margin_on_all_sides(self):
        cropped = box_of(painted(Axis.AXIAL, 12, (60, 55), (70, 60)), axes=ALL, roi=self.ROI)
        assert cropped == [(15, 165), (34, 86), (5, 35)]

    @pytest.mark.parametrize(
        "prompt",
        [
            pytest.param(painted(Axis.AXIAL, 12, (10, 55), (70, 60)), id="beside"),
            pytest.param(painted(Axis.AXIAL, 30, (60, 55), (70, 60)), id="above"),
        ],
    )
    def test_a_prompt_outside_is_refused(self, prompt):
        with pytest.raises(BadInput, match="a prompt lies outside the region of interest"):
            box_of(prompt, roi=self.ROI)

    def test_moves_with_the_volume(self):
        lps = Grid((200, 180, 60), affine_of("LPS", (1, 1, 4)))
        ras = Grid((200, 180, 60), np.linalg.inv(np.diag([1, 1, 1, 1])) @ flipped(lps))
        start, stop = move_bounds(self.ROI, lps, ras)
        assert start.tolist() == [200 - 140, 180 - 70, 10]
        assert stop.tolist() == [200 - 40, 180 - 50, 30]


def flipped(grid: Grid) -> np.ndarray:
    """Affine of the array reversed in its first two dimensions."""
    flip = np.diag([-1.0, -1, 1, 1])
    flip[0, 3], flip[1, 3] = grid.shape[0] - 1, grid.shape[1] - 1
    return grid.affine @ flip


class TestBounds:
    def test_on_the_raster_without_a_region_of_interest(self):
        prompts = PromptSet(GRID, twice(Axis.AXIAL, 7, (50, 60), (149, 79)))
        start, stop = bounds_for(prompts, GRID, (Axis.AXIAL,))
        assert (start.tolist(), stop.tolist()) == ([16, 32, 0], [176, 96, 60])
        np.testing.assert_allclose(
            part_of(GRID, (start, stop)).affine[:3, 3], GRID.affine[:3, 3] + [16, 32, 0]
        )

    def test_region_of_interest_with_its_margin(self):
        prompts = PromptSet(GRID, (painted(Axis.AXIAL, 12, (60, 55), (70, 60)),))
        start, stop = bounds_for(prompts, GRID, (Axis.AXIAL,), TestRoi.ROI)
        first, last = TestRoi.ROI
        assert (np.asarray(first) - start).tolist() == [25, 16, 0]
        assert (np.asarray(last) - start).tolist() == [125, 36, 20]
        assert (stop >= last).all()

    def test_both_move_with_the_volume(self):
        turned = Grid(SHAPE, flipped(GRID))
        prompts = PromptSet(GRID, (painted(Axis.AXIAL, 12, (60, 55), (70, 60)),))
        start, stop = bounds_for(prompts, turned, (Axis.AXIAL,), TestRoi.ROI)
        here = bounds_for(prompts, GRID, (Axis.AXIAL,), TestRoi.ROI)
        np.testing.assert_array_equal(move_bounds((start, stop), turned, GRID), here)


def test_a_slightly_larger_correction_keeps_the_crop():
    before = crop_box(PromptSet(GRID, (painted(Axis.AXIAL, 7, (50, 60), (100, 100)),)))
    wider = crop_box(PromptSet(GRID, (painted(Axis.AXIAL, 7, (49, 60), (102, 101)),)))
    assert not np.array_equal(before, wider)
    np.testing.assert_array_equal(on_raster(before, GRID), on_raster(wider, GRID))


def test_raster_only_enlarges_and_stays_inside():
    for low, high in (((0, 0), (199, 179)), ((3, 5), (8, 9)), ((150, 100), (198, 178))):
        start, stop = crop_box(PromptSet(GRID, (painted(Axis.AXIAL, 7, low, high),)))
        first, last = on_raster((start, stop), GRID)
        assert (first <= start).all()
        assert (last >= stop).all()
        assert (first >= 0).all()
        assert (last <= SHAPE).all()
        assert (first[:2] % 16 == 0).all()
