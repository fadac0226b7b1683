"""The comparators on shapes whose inside between two slices is known."""

import numpy as np
import pytest

from lib.evaluation import baselines
from lib.evaluation.baselines import interpolate_and_threshold, interpolate_slices, walk_randomly
from lib.propagation.prior import between


def rod(lean=0.0, radius=5, shape=(40, 40, 11)):
    i, j, k = np.indices(shape)
    return (i - 12 - lean * k) ** 2 + (j - 20) ** 2 <= radius**2


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_straight_rod_is_filled_exactly_along_any_dimension(dim):
    truth = np.moveaxis(rod(), 2, dim)
    painted = np.zeros_like(truth)
    np.moveaxis(painted, dim, 0)[[0, 10]] = np.moveaxis(truth, dim, 0)[[0, 10]]
    assert (interpolate_slices(painted, dim, [0, 10]) == truth).all()


def test_only_painted_slices_are_read_and_nothing_grows_beyond_them():
    truth = rod()
    found = interpolate_slices(truth, 2, [2, 8])
    assert not found[:, :, :2].any()
    assert not found[:, :, 9:].any()
    alone = interpolate_slices(truth, 2, [5])
    assert (alone.any((0, 1)) == (np.arange(11) == 5)).all()


def test_alignment_keeps_an_oblique_rod_that_plain_blending_loses():
    truth = rod(lean=1.5)
    assert dice(interpolate_slices(truth, 2, [0, 10]), truth) > 0.97
    plain = np.zeros_like(truth)
    drawn = {t: truth[:, :, t] for t in (0, 10)}
    for here in between(drawn, (1.0, 1.0), 1.0, align=False):
        plain[:, :, here.t] = here.distance > 0
    assert dice(plain, truth) < 0.6


def test_an_empty_painted_slice_is_ignored():
    truth = rod()
    truth[:, :, 5] = False
    found = interpolate_slices(truth, 2, [0, 5, 10])
    assert (found[:, :, 5] == rod()[:, :, 5]).all()


def test_threshold_follows_the_bone_and_fills_its_marrow():
    truth = rod(radius=8)
    hu = np.where(truth, 700.0, 20.0)
    hu[rod(radius=3)] = 40.0
    # the annotator painted it too small on both ends
    painted = np.zeros_like(truth)
    painted[:, :, [0, 10]] = rod(radius=7)[:, :, [0, 10]]
    found = interpolate_and_threshold(hu, painted, 2, [0, 10])
    assert (found[:, :, 1:10] == truth[:, :, 1:10]).all()
    assert (found[:, :, 0] == painted[:, :, 0]).all()


@pytest.mark.parametrize("most_voxels", [10**7, 6000])
def test_random_walker_stays_inside_the_contrast(most_voxels, monkeypatch):
    truth = rod(lean=0.5)
    hu = np.where(truth, 700.0, 20.0) + np.random.default_rng(0).normal(0, 10, truth.shape)
    monkeypatch.setattr(baselines, "MOST_VOXELS", most_voxels)
    found = walk_randomly(hu, truth, 2, [0, 5, 10])
    assert dice(found, truth) > (0.98 if most_voxels > 6000 else 0.9)
    assert (found[:, :, [0, 5, 10]] == truth[:, :, [0, 5, 10]]).all()
