"""Masks as people draw them: near the truth, not the truth, and the same whenever they draw."""

import numpy as np
import pytest

from lib.evaluation.freehand import WANDER_MM, draw_freehand, seed_of, wander
from lib.propagation.prior import signed_distance

SPACING = (1.0, 1.0)


def disc(radius, shape=(80, 80)):
    rows, columns = np.indices(shape)
    centre = np.array(shape) / 2
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def stack(first=3, last=12, n=16, radius=12):
    truth = np.zeros((n, 80, 80), dtype=bool)
    truth[first : last + 1] = disc(radius)
    return truth


def test_each_slice_lies_beside_the_intended_one_and_on_the_object():
    truth = stack()
    for seed in range(20):
        for intended in (3, 7, 12):
            (painted,) = draw_freehand(truth, [intended], SPACING, seed)
            assert abs(painted - intended) == 1
            assert 3 <= painted <= 12


def test_an_object_on_one_slice_is_painted_there():
    assert list(draw_freehand(stack(5, 5), [5], SPACING, 0)) == [5]


def test_the_outline_is_moved_by_about_a_millimetre_either_way():
    true = disc(25)
    distance = signed_distance(true, SPACING)
    moved = [wander(true, SPACING, np.random.default_rng(seed)) for seed in range(20)]
    strayed = [np.abs(distance[m != true]).mean() for m in moved]
    assert 0.5 * WANDER_MM < np.mean(strayed) < 1.5 * WANDER_MM
    larger = [m.sum() > true.sum() for m in moved]
    assert 3 < sum(larger) < 17
    dice = [2 * (m & true).sum() / (m.sum() + true.sum()) for m in moved]
    assert 0.95 < np.mean(dice) < 0.99


@pytest.mark.parametrize("spacing", [(3.0, 3.0), (0.5, 0.5), (1.0, 3.0)])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_smallest_object_is_painted_too(radius, spacing):
    for seed in range(30):
        assert wander(disc(radius, (16, 16)), spacing, np.random.default_rng(seed)).any()


def test_a_drawing_depends_on_the_person_and_the_slice_alone():
    truth = stack()
    few, many = (draw_freehand(truth, s, SPACING, 7) for s in ([3, 12], [3, 7, 12]))
    assert len(few) == 2
    for index, mask in few.items():
        np.testing.assert_array_equal(mask, many[index])
    other = draw_freehand(truth, [3, 12], SPACING, 8)
    assert any(i not in few or (few[i] != other[i]).any() for i in other)
    assert seed_of("case_a/femur_left") != seed_of("case_a/femur_right")
    assert seed_of("case_a/femur_left") == 0x153A4ADC9B101C06
