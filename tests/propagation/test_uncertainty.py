"""The estimate of how wrong a slice is."""

import numpy as np
import pytest

from lib.propagation.uncertainty import disagreement, uncertainty


def test_disagreement_is_one_less_dice():
    first, second = np.zeros((2, 4, 4), bool)
    assert disagreement(first, second) == 0
    first[0] = True
    assert disagreement(first, second) == 1
    second[0, :2] = True
    assert disagreement(first, second) == pytest.approx(1 - 2 * 2 / 6)


def test_each_voice_raises_it_and_it_stays_a_share():
    calm = uncertainty(0.9, shape=0.1, passes=0.1)
    assert uncertainty(0.5, shape=0.1, passes=0.1) > calm
    assert uncertainty(0.9, shape=0.6, passes=0.1) > calm
    assert uncertainty(0.9, shape=0.1, passes=0.6) > calm
    assert uncertainty(1.0, 0.0, 0.0) == 0
    assert uncertainty(0.0, 1.0, 1.0) <= 1


def test_a_missing_voice_says_what_the_network_says():
    assert uncertainty(0.7) == pytest.approx(uncertainty(0.7, shape=0.3, passes=0.3))
