"""Phantoms: the same from the same seed, and validly labelled."""

from itertools import pairwise

import numpy as np
import pytest

from lib.sample.shapes import ball
from tools.phantoms.generate import KINDS, MAX_VOXELS, generate, random_grid
from tools.phantoms.scene import Scene, Tissue

QUICK = ("limb", "lumps", "trees")


@pytest.mark.parametrize("kind", QUICK)
def test_the_same_seed_gives_the_same_voxels(kind):
    first, again, other = generate(3, kind), generate(3, kind), generate(4, kind)
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.labels, again.labels)
    assert first.hu.shape != other.hu.shape or not np.array_equal(first.hu, other.hu)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_labelled_ct(kind):
    phantom = generate(1, kind)
    assert phantom.kind == kind
    assert phantom.hu.shape == phantom.labels.shape
    assert phantom.hu.dtype == np.int16
    assert phantom.labels.dtype == np.uint8
    assert -1024 <= phantom.hu.min() < phantom.hu.max() <= 3071
    assert phantom.labels.max() >= 1
    assert (phantom.labels == 0).any()


def test_a_chain_of_vertebrae_has_look_alike_neighbours_beyond_the_volume():
    phantom = generate(22, "spine")  # a small one
    in_order = [
        np.argwhere(phantom.labels == k)[:, 2].mean() for k in np.unique(phantom.labels)[1:]
    ]
    assert len(in_order) >= 3
    assert all(low < high for low, high in pairwise(in_order))
    assert (phantom.labels[..., 0] > 0).any()
    assert (phantom.labels[..., -1] > 0).any()


@pytest.mark.parametrize("seed", range(20))
def test_grids_are_ct_like_and_bounded(seed):
    shape, spacing = random_grid(np.random.default_rng(seed), 150)
    assert np.prod(shape) <= 1.05 * MAX_VOXELS
    assert min(shape) >= 20
    assert 0.7 <= spacing[0] == spacing[1] <= 3.0
    assert 1.0 <= spacing[2] <= 5.0


def test_painting_leaves_what_was_labelled_before():
    scene = Scene((24, 24, 24), (2.0, 2.0, 2.0), np.random.default_rng(0))
    low, high = (-12.0,) * 3, (12.0,) * 3
    scene.add(lambda p: ball(p, (0, 0, 0), 9), low, high, Tissue(300.0), label=1)
    before = scene.labels == 1
    gained = scene.add(lambda p: ball(p, (6, 0, 0), 9), low, (18.0,) * 3, Tissue(900.0), label=2)
    assert np.array_equal(scene.labels == 1, before)
    assert gained == (scene.labels == 2).sum() > 0
    volume = before.sum() * 8
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.08)


def test_a_surface_covers_its_voxels_in_part():
    scene = Scene((32, 8, 8), (1.0, 1.0, 1.0), np.random.default_rng(0))
    low, high = (-16.0,) * 3, (16.0,) * 3
    scene.add(lambda p: ball(p, (-100, 0, 0), 100.2), low, high, Tissue(1000.0), label=1)
    row = scene.hu[:, 4, 4]
    assert row[0] == pytest.approx(1000)
    assert row[-1] == -1000
    assert np.count_nonzero((row > -990) & (row < 990)) == 1
