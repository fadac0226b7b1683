"""Passes and axes merge by arithmetic a person can redo; objects never share a voxel."""

import numpy as np
import pytest

from lib.propagation.fusion import LOGIT_LIMIT, forward_share, mean_logits, separate


def test_mean_of_limited_logits():
    """Absence on one axis (−1024 in SAM 2) is one voice of three, not a veto."""
    volumes = [np.full((1, 2, 2), v, np.float16) for v in (-1024.0, 9.0, 8.0)]
    assert np.allclose(mean_logits(volumes), (-10 + 9 + 8) / 3)
    assert mean_logits(volumes).dtype == np.float32
    assert np.allclose(mean_logits([np.full((1, 1, 1), 1e4)]), LOGIT_LIMIT)


def test_mean_leaves_its_inputs_alone():
    volume = np.full((1, 1, 2), 50.0, np.float32)
    mean_logits([volume, volume])
    assert (volume == 50).all()


@pytest.mark.parametrize(
    ("t", "prompted", "share"),
    [
        (0, (0, 10), 0.5),  # on a prompt both passes say the same
        (1, (0, 10), 0.9),
        (5, (0, 10), 0.5),
        (9, (0, 10), 0.1),
        (12, (0, 10, 14), 0.5),
        (11, (0, 10, 14), 0.75),
        (3, (5, 10), 0.0),
        (12, (5, 10), 1.0),
        (5, (5,), 0.5),
    ],
)
def test_forward_share(t, prompted, share):
    assert forward_share(t, prompted) == pytest.approx(share)


def test_each_voxel_goes_to_the_strongest_object():
    logits = {
        7: np.array([[[3.0, 1.0, -1.0, 0.0]]]),
        300: np.array([[[2.0, 4.0, -2.0, 0.0]]]),
    }
    labels = separate(logits.items())
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[[7, 300, 0, 0]]]


def test_a_tie_goes_to_the_object_that_comes_first():
    same = np.full((1, 1, 1), 2.0)
    assert separate([(1, same), (2, same.copy())]).item() == 1


def test_overlap_is_kept_where_asked_for():
    logits = {2: np.array([[[1.0, -1.0]]]), 1: np.array([[[1.0, 1.0]]])}
    both = separate(sorted(logits.items()), overlap=True)
    assert both.tolist() == [[[[True, True]]], [[[True, False]]]]
