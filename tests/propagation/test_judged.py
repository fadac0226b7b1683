"""What is said of slices once the result is there."""

import numpy as np
import pytest

from lib.geometry import Axis
from lib.propagation.judged import judged, motion
from lib.propagation.records import SliceRecord, Source
from lib.propagation.uncertainty import uncertainty


def stack(*lengths):
    """Logits of slices on each of which a bar of that many voxels is found."""
    found = np.full((len(lengths), 3, 12), -5.0, np.float16)
    for t, length in enumerate(lengths):
        found[t, 1, :length] = 2.0
    return found


def record(index, source=Source.FORWARD, iou=0.8):
    return SliceRecord(1, Axis.AXIAL, index, source, iou, 5.0)


@pytest.mark.parametrize(
    ("lengths", "moved"),
    [
        pytest.param((4, 4, 4, 4), (0, 0, 0, 0), id="at rest"),
        pytest.param((4, 4, 10, 10), (0, 3, 3, 0), id="a jump belongs to both sides"),
        pytest.param((4, 6, 9), (2, 2.5, 3), id="the outermost have one neighbour"),
        pytest.param((4, 0, 0, 6), (2, 5, 5, 2), id="lost in between: all of both neighbours"),
        pytest.param((0, 4, 6, 0), (0, 2, 2, 0), id="beyond its ends"),
        pytest.param((0, 0), (0, 0), id="nowhere"),
        pytest.param((0, 5, 0), (0, 0, 0), id="on one slice"),
    ],
)
def test_motion(lengths, moved):
    assert motion(stack(*lengths)).tolist() == list(moved)


def test_a_shift_of_the_same_area_is_motion():
    found = stack(4, 4)
    found[1] = np.roll(found[1], 2, axis=1)
    assert motion(found).tolist() == [4, 4]


def test_prompted_slices_are_left_as_they_are():
    prompt = record(0, Source.PROMPT)
    first, second = judged([prompt, record(1)], stack(4, 6), {}, {}, {})
    assert first is prompt
    assert second.moved == 2
    assert second.uncertainty == pytest.approx(uncertainty(0.8), abs=1e-4)


def test_both_passes_over_a_slice_say_the_same():
    ahead, back = judged(
        [record(1), record(1, Source.BACKWARD, 0.6)], stack(4, 6), {}, {1: 0.3}, {}
    )
    assert ahead.uncertainty == back.uncertainty == pytest.approx(uncertainty(0.7, None, 0.3))


@pytest.mark.parametrize(
    ("passes", "axes", "speaks"),
    [({}, {1: 0.4}, 0.4), ({1: 0.1}, {1: 0.4}, 0.4), ({1: 0.6}, {1: 0.4}, 0.6), ({}, {}, None)],
)
def test_of_directions_and_axes_the_larger_disagreement_speaks(passes, axes, speaks):
    (one,) = judged([record(1)], stack(4, 6), {1: 0.2}, passes, axes)
    assert one.uncertainty == pytest.approx(uncertainty(0.8, 0.2, speaks), abs=1e-4)
