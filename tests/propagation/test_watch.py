"""An object while it is tracked: what is worth tracking, and what is said of its ends."""

import pytest

from lib.geometry import Axis
from lib.propagation.extent import Extent, SliceSignals
from lib.propagation.records import Rule
from lib.propagation.watch import ObjectWatch


def watch(extent="auto", prompted=(5, 10), wiped=(), slices=20, areas=None):
    return ObjectWatch(1, Axis.AXIAL, Extent.parse(extent), prompted, areas or {}, wiped, slices)


def track(watched, present, slices=20):
    """Upwards, then downwards, as long as the watch wants; slices tracked."""
    tracked = []
    for t in (*range(5, slices), *range(4, -1, -1)):
        if watched.wants(t) and t not in (5, 10):
            watched.sees(SliceSignals(t, 6.0 if t in present else -6.0))
            tracked.append(t)
    return tracked


@pytest.mark.parametrize("extent", ["auto", "open"])
def test_stops_where_the_object_is_gone_and_says_so(extent):
    watched = watch(extent)
    assert track(watched, range(3, 14)) == [6, 7, 8, 9, 11, 12, 13, 14, 4, 3, 2]
    ends = watched.ends()
    assert (ends.first, ends.last) == (3, 13)
    rule = {"auto": Rule.AUTO_WENT_ON, "open": Rule.OPEN}[extent]
    assert ends.first_rule is ends.last_rule is rule
    assert "no longer finds it" in ends.last_why


def test_auto_stops_at_the_painted_slices():
    watched = watch()
    track(watched, range(5, 11))
    ends = watched.ends()
    assert (ends.first, ends.last) == (5, 10)
    assert ends.first_rule is Rule.AUTO_STOPPED


def test_painted_wants_nothing_beyond():
    watched = watch("painted")
    assert track(watched, range(20)) == [6, 7, 8, 9]
    assert watched.ends().last_rule is Rule.PAINTED


def test_whole_wants_everything():
    watched = watch("whole")
    assert len(track(watched, ())) == 18
    ends = watched.ends()
    assert (ends.first, ends.last, ends.last_rule) == (0, 19, Rule.VOLUME)


def test_a_range_is_kept_to_even_where_nothing_is_found():
    watched = watch("3-15")
    track(watched, ())
    ends = watched.ends()
    assert (ends.first, ends.last, ends.first_rule) == (3, 15, Rule.RANGE)


def test_a_wiped_slice_ends_it_at_the_latest():
    watched = watch(wiped={13})
    assert max(track(watched, range(20))) == 12
    assert watched.ends().last_rule is Rule.WIPED
    earlier = watch(wiped={18})
    track(earlier, range(12))
    assert (earlier.ends().last, earlier.ends().last_rule) == (11, Rule.AUTO_WENT_ON)


def test_at_the_edge_of_the_volume_nothing_was_decided():
    watched = watch(prompted=(0, 19))
    ends = watched.ends()
    assert (ends.first, ends.last) == (0, 19)
    assert ends.first_rule is ends.last_rule is Rule.VOLUME
