"""Which slice is corrected next."""

import numpy as np
import pytest

from lib.evaluation.following import Following, following


def choose(choice, **given):
    said = {
        "wrong": np.array([0, 3, 9, 5, 0, 7, 0, 0, 0, 1]),
        "marked": [0, 3, 9],
        "corrected": (),
        "suggested": [6, 4],
        "seed": 1,
    }
    return following(choice, **said | given)


@pytest.mark.parametrize(
    ("choice", "given", "expected"),
    [
        (Following.WORST, {}, 2),
        (Following.WORST, {"corrected": {2}}, 5),
        # every wrong one was corrected: the worst again
        (Following.WORST, {"corrected": {1, 2, 3, 5, 9}}, 2),
        (Following.WORST, {"wrong": np.zeros(10, dtype=int)}, None),
        (Following.SUGGESTED, {}, 6),
        (Following.SUGGESTED, {"suggested": []}, None),
        (Following.MIDDLE, {}, 6),
        (Following.MIDDLE, {"marked": [0, 6, 9]}, 3),
        (Following.MIDDLE, {"marked": [4, 5, 6]}, None),
        (Following.MIDDLE, {"marked": [4]}, None),
        (Following.RANDOM, {"marked": [4, 5, 6]}, None),
    ],
)
def test_the_choice(choice, given, expected):
    assert choose(choice, **given) == expected


def test_a_random_slice_lies_between_and_is_the_same_again():
    drawn = {seed: choose(Following.RANDOM, seed=seed) for seed in range(60)}
    assert set(drawn.values()) == {1, 2, 4, 5, 6, 7, 8}
    assert drawn == {seed: choose(Following.RANDOM, seed=seed) for seed in range(60)}
    # another slice painted: another draw, not the next of a stream
    assert choose(Following.RANDOM, marked=[2, 4]) == 3
