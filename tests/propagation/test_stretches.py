"""Which slices are tracked from where, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.propagation.policy import PRESETS
from lib.propagation.stretches import Setting, Stretch, prompts_seen, stretches
from tests.propagation.strategies import passes, policies


def test_a_pass_is_one_stretch_that_leaves_prompted_slices_out():
    assert stretches((2, 5), 8, reverse=False) == [Stretch(2, False, (3, 4), (6, 7, 8))]
    assert stretches((2, 5), 0, reverse=True) == [Stretch(5, True, (4, 3), (1, 0))]
    assert stretches((2, 5), 0, reverse=True, start=2) == [Stretch(2, True, (), (1, 0))]


def test_independent_stretches_begin_on_every_prompt():
    assert stretches((2, 5), 8, reverse=False, independent=True) == [
        Stretch(2, False, (3, 4), ()),
        Stretch(5, False, (), (6, 7, 8)),
    ]
    assert stretches((2, 5), 0, reverse=True, independent=True) == [
        Stretch(5, True, (4, 3), ()),
        Stretch(2, True, (), (1, 0)),
    ]


@pytest.mark.parametrize("independent", [False, True])
def test_where_there_is_nothing_to_track_there_is_no_stretch(independent):
    assert stretches((3, 4), 4, reverse=False, independent=independent) == []
    assert stretches((0,), 0, reverse=True, independent=independent) == []


@given(passes(), st.booleans())
def test_every_unprompted_slice_of_a_pass_is_tracked_once(whole, independent):
    length, prompted, reverse, _ = whole
    limit = 0 if reverse else length - 1
    made = stretches(prompted, limit, reverse=reverse, independent=independent)
    visited = [t for stretch in made for t in stretch.slices]
    order = range(prompted[-1], -1, -1) if reverse else range(prompted[0], length)
    assert visited == [t for t in order if t not in prompted]


@given(policies(), passes())
def test_the_prompts_seen_are_those_of_the_plans(policy, whole):
    length, prompted, reverse, _ = whole
    setting = Setting(prompted, length)
    limit = 0 if reverse else length - 1
    for stretch in stretches(prompted, limit, reverse=reverse, independent=policy.independent):
        seen, tracked = set(), {}
        for t in stretch.slices:
            plan = policy.plan(setting.query(t, reverse, tracked))
            entries = (*plan.memories, *plan.pointers)
            seen |= {e.slice for e in entries if e.conditioning}
            tracked[t] = 0.5
        assert set(prompts_seen(policy, stretch, setting)) == seen


def test_a_stretch_between_prompts_sees_these_two():
    setting = Setting((0, 6, 12, 23), 24)
    policy = PRESETS["is+stretches"]
    made = stretches(setting.prompted, 23, reverse=False, independent=True)
    assert [prompts_seen(policy, s, setting) for s in made] == [(0, 6), (6, 12), (12, 23)]
    assert prompts_seen(PRESETS["is"], made[0], setting) == (0, 6, 12, 23)
