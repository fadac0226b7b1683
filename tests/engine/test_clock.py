"""Every second lies in exactly one stage."""

import pytest

from lib.engine.clock import Clock
from tests.engine.passing import Time


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time) -> Clock:
    return Clock(time)


def test_stages_add_up_in_the_order_they_end(clock, time):
    for stage, seconds in (("load", 2), ("track", 3), ("load", 0.25)):
        with clock(stage):
            time.passes(seconds)
    assert list(clock.seconds.items()) == [("load", 2.25), ("track", 3)]


def test_a_stage_within_a_stage_has_its_seconds_for_itself(clock, time):
    with clock("merge"):
        time.passes(1)
        with clock("track"):
            time.passes(5)
            with clock("encode"):
                time.passes(7)
        clock.add("look", 0.5)  # measured elsewhere, of the next second
        time.passes(1)
    assert clock.seconds == {"encode": 7, "track": 5, "look": 0.5, "merge": 1.5}


def test_stages_that_are_open_count_too(clock, time):
    with clock("report"):
        time.passes(1)
        with clock("write"):
            time.passes(2)
            assert clock.seconds == {"write": 2, "report": 1}
        time.passes(4)
        assert clock.seconds == {"write": 2, "report": 5}


def test_a_stage_that_fails_counts(clock, time):
    def fail():
        with clock("write"):
            time.passes(2)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert clock.seconds == {"write": 2}


def test_waiting_begins_in_one_place_and_ends_in_another(clock, time):
    time.passes(3)
    clock.rest("receive")
    time.passes(10)
    clock.rest("wait")
    with clock("load"):
        time.passes(1)
    time.passes(0.5)
    clock.rest("wait")
    assert clock.seconds == {"receive": 3, "wait": 10.5, "load": 1}


def test_a_clock_that_began_before_it_was_made(time):
    clock = Clock(time, began=time.now - 4)
    clock.rest("start")
    assert clock.seconds == {"start": 4}
