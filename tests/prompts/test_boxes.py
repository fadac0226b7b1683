"""Where a label map is not empty; and that its emptiness takes no memory."""

import numpy as np
import pytest

from lib.prompts.boxes import box_of, empty_like_file, where


def scattered(shape, seed, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    values = np.zeros(shape, dtype)
    for _ in range(3):
        values[tuple(rng.integers(0, n) for n in shape)] = rng.integers(1, 9)
    return values


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(7, 5), (6, 9, 8), (3, 4, 5, 6)])
def test_the_least_box(shape, seed):
    values = scattered(shape, seed)
    marked = np.argwhere(values)
    expected = tuple(slice(a, b) for a, b in zip(marked.min(0), marked.max(0) + 1, strict=True))
    assert box_of(values) == expected
    assert box_of(np.asfortranarray(values)) == expected
    turned = tuple(slice(n - s.stop, n - s.start) for n, s in zip(shape, expected, strict=True))
    assert box_of(np.flip(values)) == turned


def test_of_several_and_of_none():
    one, other = scattered((6, 9, 8), 0), scattered((6, 9, 8), 1)
    assert box_of(one, other) == box_of((one != 0) | (other != 0))
    assert box_of(one, np.zeros_like(one)) == box_of(one)
    assert box_of(np.zeros((6, 9, 8))) is None


@pytest.mark.parametrize("seed", range(4))
def test_asked_in_the_box_only(seed):
    one, other = scattered((6, 9, 8), seed), scattered((6, 9, 8), seed + 10)
    np.testing.assert_array_equal(where(lambda a, b: a != b, one, other), one != other)
    np.testing.assert_array_equal(where(lambda a: a == 3, one), one == 3)
    assert not where(lambda a: a == 0, np.zeros((2, 3, 4))).any()


def test_slices_follow_each_other_as_in_a_file():
    assert empty_like_file((4, 5, 6), np.uint8).flags.f_contiguous
    several = empty_like_file((2, 4, 5, 6), bool)
    assert several.shape == (2, 4, 5, 6)
    assert all(volume.flags.f_contiguous for volume in several)
