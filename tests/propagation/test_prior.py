"""The painted slices as a prior: shapes and grey values whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from lib.propagation.prior import (
    NETWORK_WEIGHT,
    between,
    bins,
    density,
    network_weight,
    signed_distance,
    trust,
    with_prior,
)

SPACING = (1.0, 1.0, 3.0)


def rod(lean=0.0, radius=5.0, length=11):
    i, j, k = np.indices((40, 40, length))
    return (i - 12 - lean * k) ** 2 + (j - 20) ** 2 <= radius**2


def painted(truth, *slices):
    return {t: truth[:, :, t] for t in slices}


def scan(truth, noise=0.05):
    grey = np.where(truth, 0.7, 0.3) + noise * np.random.default_rng(0).standard_normal(truth.shape)
    return np.clip(grey, 0, 1).astype(np.float32)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_signed_distance_is_in_mm_and_positive_inside():
    mask = np.zeros((9, 9), bool)
    mask[3:6, :] = True
    distance = signed_distance(mask, (2.0, 0.5))
    assert distance[4, 4] == 2.5, "columns: the frame of the slice is nearer than the rows"
    assert distance[0, 4] == -6
    assert (np.sign(distance) == np.where(mask, 1, -1)).all()


def test_between_is_the_shape_halfway():
    i, j = np.indices((40, 40))
    disc = {t: (i - 20) ** 2 + (j - 20) ** 2 <= r**2 for t, r in ((2, 4), (6, 12))}
    middle = next(b for b in between(disc, (1, 1), 3.0) if b.t == 4)
    assert middle.near == 6
    assert middle.gap == 12
    assert dice(middle.distance > 0, (i - 20) ** 2 + (j - 20) ** 2 <= 8**2) > 0.95


def test_nothing_between_neighbours_or_beyond_the_painted_slices():
    truth = rod()
    assert [b.t for b in between(painted(truth, 2, 3, 6), (1, 1), 1.0)] == [4, 5]
    assert not list(between(painted(truth, 4), (1, 1), 1.0))


def test_likeness_is_of_the_shapes_not_of_where_they_are():
    leaning, straight = (next(between(painted(rod(lean), 0, 10), (1, 1), 3.0)) for lean in (1.5, 0))
    assert leaning.likeness > 0.95
    assert straight.likeness == 1
    cone = {0: rod(radius=3)[:, :, 0], 10: rod(radius=9)[:, :, 0]}
    assert next(between(cone, (1, 1), 3.0)).likeness < 0.3


def test_trust_falls_with_the_gap_and_with_unlikeness():
    truth = rod(radius=5)
    unlike = {0: rod(radius=3)[:, :, 0], 10: rod(radius=9)[:, :, 0]}

    def of(masks, thickness):
        return trust(next(between(masks, (1, 1), thickness)))

    assert of(painted(truth, 0, 10), 0.5) > of(painted(truth, 0, 10), 5)
    assert of(painted(truth, 0, 10), 5) > of(unlike, 5)


def foretold(masks):
    return {b.t: b.foretold for b in between(masks, (1, 1), 3.0)}


def test_interpolation_is_proved_on_painted_slices_left_out():
    even = foretold(painted(rod(length=21), 0, 10, 20))
    assert min(even.values()) > 0.97
    bulge = painted(rod(length=21), 0, 20) | {10: rod(radius=9)[:, :, 0]}
    assert max(foretold(bulge).values()) < 0.6
    assert max(foretold(painted(rod(length=21), 0, 20)).values()) == 0, "nothing to leave out"
    few = foretold(painted(rod(radius=1, length=21), 0, 10, 20))
    assert max(few.values()) < 0.9, "a few voxels prove nothing"


def test_a_slice_beside_another_proves_nothing_far_off():
    found = foretold(painted(rod(length=21), 0, 1, 20))
    assert [t for t, proof in found.items() if proof > 0.9] == [2, 19]


@pytest.mark.parametrize("radius", [4, 6])
def test_where_interpolation_is_proved_a_coarse_outline_is_mended(radius):
    truth = rod(length=21)
    coarse = np.where(rod(radius=radius, length=21), 8.0, -8.0)
    image = scan(truth)
    found, _ = with_prior(coarse, image, painted(truth, 0, 10, 20), 2, SPACING)
    unproved, _ = with_prior(coarse, image, painted(truth, 0, 20), 2, SPACING)
    assert dice(coarse > 0, truth) < 0.9
    assert dice(unproved > 0, truth) < 0.93
    assert dice(found > 0, truth) > 0.95


def test_the_network_counts_less_the_better_interpolation_is_proved():
    truth = rod(length=21)
    shape = next(between(painted(truth, 0, 10, 20), (1, 1), 3.0))
    weights = [network_weight(replace(shape, foretold=f)) for f in (0, 0.8, 0.93, 0.98)]
    assert weights[0] == NETWORK_WEIGHT
    assert weights[1] > 0.99 * NETWORK_WEIGHT
    assert weights[2] == NETWORK_WEIGHT / 2
    assert weights[3] < 0.05 * NETWORK_WEIGHT


def test_density_prefers_what_is_inside_wherever_it_lies():
    truth = rod()
    image = scan(truth)
    image[30:36, 5:11] = 0.7  # as bright, elsewhere
    evidence = density(image, painted(truth, 5), 2, (1, 1))[bins(image)]
    assert evidence[truth].mean() > 1
    assert evidence[30:36, 5:11].mean() > 1
    assert evidence[~truth & (image < 0.5)].mean() < -1


def test_density_of_one_grey_is_silent():
    truth = rod()
    assert np.abs(density(np.full(truth.shape, 0.5), painted(truth, 5), 2, (1, 1))).max() < 0.01


def test_density_without_surroundings_is_silent():
    full = np.ones((8, 8, 3), bool)
    evidence = density(np.random.default_rng(0).random(full.shape), {1: full[:, :, 1]}, 2, (1, 1))
    assert not evidence.any()


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_an_unsure_network_is_led_and_a_sure_one_is_not(dim):
    truth = rod()
    image, masks = scan(truth), painted(truth, 0, 10)
    view, spacing = np.moveaxis(truth, 2, dim), list(np.roll([1.0, 1.0, 3.0], dim - 2))
    image = np.moveaxis(image, 2, dim)
    unsure = np.where(view, -0.5, 0.5)
    led = with_prior(unsure, image, masks, dim, spacing)[0] > 0
    assert dice(led, view) > 0.97
    # unlike and far apart, so that the shape is not to be trusted: here the network is believed
    cone = {0: rod(radius=2)[:, :, 0], 10: rod(radius=9)[:, :, 0]}
    believed = np.where(view, 10.0, -10.0)
    kept, apart = with_prior(believed, image, cone, dim, [5 * s for s in spacing])
    assert all(far > 0.1 for t, far in apart.items() if t not in (4, 5))
    assert dice(kept > 0, view) > 0.97


def test_beyond_the_painted_slices_only_density_speaks():
    truth = rod(length=21)
    image = scan(truth, noise=0.0)
    masks = painted(truth, 0, 10)
    flat = np.zeros(truth.shape)
    found, apart = with_prior(flat, image, masks, 2, SPACING)
    assert sorted(apart) == list(range(1, 10))
    assert np.unique(found[:, :, 15]).size == 2
    assert np.unique(found[:, :, 5]).size > 2


def test_without_painted_slices_the_network_is_alone():
    logits = np.random.default_rng(0).normal(size=(4, 5, 6))
    found, apart = with_prior(logits, np.zeros(logits.shape), {}, 2, SPACING)
    assert not apart
    np.testing.assert_allclose(found, NETWORK_WEIGHT * logits, rtol=1e-6)


def test_logits_are_not_changed_in_place():
    logits = np.zeros((40, 40, 11), np.float16)
    with_prior(logits, scan(rod()), painted(rod(), 0, 10), 2, SPACING)
    assert not logits.any()
