import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.simulated import (
    box_prompts,
    click_prompt,
    mask_prompts,
    next_click,
    point_prompts,
    positions,
)
from lib.prompts.types import Mask
from tests.geometry.grids import affine_of

SHAPE = (20, 22, 40)
GRID = Grid(SHAPE, affine_of("RAS"))


def on(*slices, n=40) -> np.ndarray:
    occupied = np.zeros(n, bool)
    occupied[list(slices)] = True
    return occupied


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("middle", [14]),
        ("first-last", [10, 19]),
        ("first-middle-last", [10, 14, 19]),
        ("uniform-1", [14]),
        ("uniform-2", [10, 19]),
        ("uniform-3", [10, 14, 19]),
        ("uniform-5", [10, 12, 14, 17, 19]),
        ("uniform-9", [10, 11, 12, 13, 14, 16, 17, 18, 19]),
        ("uniform-10", list(range(10, 20))),
        ("uniform-50", list(range(10, 20))),
        ("inner-1", [14]),
        ("inner-2", [13, 16]),
        ("inner-3", [12, 14, 17]),
    ],
)
def test_positions(strategy, expected):
    assert positions(on(*range(10, 20)), strategy) == expected


def test_an_empty_slice_gives_way_to_the_nearest():
    assert positions(on(0, 1, 2, 3, 4, 8, 20), "first-middle-last") == [0, 8, 20]
    assert positions(on(0, 8, 12, 20), "middle") == [8]  # the lower of two
    assert positions(on(0, 20), "uniform-5") == [0, 20]


@pytest.mark.parametrize("strategy", ["first", "uniform", "uniform-", "uniform-0", "uniform-x", ""])
def test_unknown_strategy(strategy):
    with pytest.raises(BadInput, match=r"unknown prompt strategy.*first-middle-last"):
        positions(on(1), strategy)


def test_empty_mask():
    with pytest.raises(BadInput, match="mask is empty"):
        mask_prompts(np.zeros(SHAPE, bool), GRID)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
@pytest.mark.parametrize("axis", list(Axis))
def test_masks_are_the_slices_of_the_truth(codes, axis):
    grid = Grid(SHAPE, affine_of(codes))
    truth = np.random.default_rng(0).random(SHAPE) < 0.1
    prompts = mask_prompts(truth, grid, "first-last", axis).prompts
    dim = grid.dim_of(axis)
    assert [p.index for p in prompts] == [0, SHAPE[dim] - 1]
    for p in prompts:
        np.testing.assert_array_equal(p.mask, np.take(truth, p.index, dim))
        assert (p.object_id, p.axis) == (1, axis)


def test_boxes_are_tight():
    truth = np.zeros(SHAPE, bool)
    truth[3:9, 5:7, 10:20] = True
    (box,) = box_prompts(truth, GRID, "middle").prompts
    assert (box.low.tolist(), box.high.tolist()) == ([3, 5], [8, 6])


class TestClicks:
    def test_first_is_the_centre(self):
        truth = np.zeros((21, 31), bool)
        truth[5:16, 8:23] = True
        at, foreground = next_click(truth, np.zeros_like(truth))
        assert foreground
        assert at[0] == 10
        assert 13 <= at[1] <= 17

    def test_centre_lies_in_a_hollow_object(self):
        i, j = np.mgrid[:41, :41] - 20
        ring = (np.hypot(i, j) < 18) & (np.hypot(i, j) > 8)
        at, foreground = next_click(ring, np.zeros_like(ring))
        assert foreground
        assert ring[tuple(at)]
        assert np.hypot(*(at - 20)) == pytest.approx(13, abs=1.5)

    def test_image_edge_is_an_edge(self):
        truth = np.zeros((20, 20), bool)
        truth[:9, :9] = True
        at, _ = next_click(truth, np.zeros_like(truth))
        assert at.tolist() == [4, 4]

    def test_largest_error_wins_and_decides_the_sign(self):
        truth = np.zeros((30, 30), bool)
        truth[2:12, 2:12] = True
        predicted = truth.copy()
        predicted[2:5, 2:5] = False  # 9 missing
        predicted[20:27, 20:27] = True  # 49 too many
        at, foreground = next_click(truth, predicted)
        assert not foreground
        assert at.tolist() == [23, 23]
        predicted[20:27, 20:27] = False
        at, foreground = next_click(truth, predicted)
        assert foreground
        assert at.tolist() == [3, 3]

    def test_touching_errors_of_different_kind_are_separate(self):
        truth = np.zeros((20, 20), bool)
        truth[5:10, 5:10] = True
        predicted = np.zeros((20, 20), bool)
        predicted[10:14, 5:10] = True  # right below: 20 too many against 25 missing
        at, foreground = next_click(truth, predicted)
        assert (at.tolist(), foreground) == ([7, 7], True)

    def test_no_error_left(self):
        with pytest.raises(ValueError, match="equals the truth"):
            next_click(np.ones((3, 3)), np.ones((3, 3)))

    def test_clicks_follow_the_prediction(self):
        truth = Mask(Axis.AXIAL, 3, 2, np.zeros((20, 20), bool))
        truth.mask[5:15, 5:15] = True
        answers = iter([np.ones((20, 20), bool), truth.mask])
        seen = []

        def predict(points):
            seen.append(len(points.foreground) + len(points.background))
            return next(answers)

        points = click_prompt(truth, 5, predict)
        assert seen == [1, 2]  # perfect after the second: no more clicks
        assert (len(points.foreground), len(points.background)) == (1, 1)
        assert (points.index, points.object_id) == (3, 2)
        assert not truth.mask[tuple(points.background[0].astype(int))]

    def test_point_prompts_click_inside(self):
        truth = np.zeros(SHAPE, bool)
        truth[3:9, 5:11, 10:20] = True
        prompts = point_prompts(truth, GRID).prompts
        assert [p.index for p in prompts] == [10, 14, 19]
        for p in prompts:
            i, j = p.foreground[0].astype(int)
            assert truth[i, j, p.index]
