"""What holds of every plan, whatever the policy and the situation. Drawn by Hypothesis."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lib.propagation.policy import CONDITIONING_ROW, MemoryPolicy, Query, describe, parse_policy
from tests.propagation.strategies import passes, policies, situations


@given(policies())
def test_every_policy_can_be_written_down(policy):
    assert parse_policy(describe(policy)) == policy


@given(policies(), situations())
def test_a_plan_names_only_slices_that_are_held_and_none_twice(policy, query):
    made = policy.plan(query)
    for entries in (made.memories, made.pointers):
        slices = [e.slice for e in entries]
        assert len(slices) == len(set(slices))
        for entry in entries:
            assert entry.slice in (query.conditioning if entry.conditioning else query.tracked)
    rows = [m.row for m in made.memories if not m.conditioning]
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(range(CONDITIONING_ROW))
    assert all(m.row == CONDITIONING_ROW for m in made.memories if m.conditioning)
    assert any(m.conditioning for m in made.memories)
    assert all(p.distance == query.distance(p.slice) >= 0 for p in made.pointers)


@given(policies(), situations())
def test_a_plan_is_the_same_in_the_mirror(policy, query):
    last = query.num_slices - 1
    assume(last % policy.stride == 0)  # strides lie on absolute multiples
    mirrored = Query(
        last - query.t,
        query.num_slices,
        not query.reverse,
        tuple(sorted(last - c for c in query.conditioning)),
        {last - t: confidence for t, confidence in query.tracked.items()},
        query.span,
    )
    plan, other = policy.plan(query), policy.plan(mirrored)
    recents, others = (
        [(m.slice, m.row) for m in p.memories if not m.conditioning] for p in (plan, other)
    )
    assert others == [(last - t, row) for t, row in recents]
    kept, theirs = ({m.slice for m in p.memories if m.conditioning} for p in (plan, other))
    assert theirs == {last - c for c in kept}
    assert {(p.slice, p.distance) for p in other.pointers} == {
        (last - p.slice, p.distance) for p in plan.pointers
    }


@given(policies(), passes())
@settings(max_examples=200)
def test_what_is_retained_is_all_that_later_plans_read(policy, whole):
    length, prompted, reverse, confidence = whole
    start = prompted[-1] if reverse else prompted[0]
    order = range(start, -1, -1) if reverse else range(start, length)
    everything: dict[int, float] = {}
    held: dict[int, float] = {}
    for t in order:
        query = Query(t, length, reverse, prompted, dict(held))
        held = {s: held[s] for s in policy.retained(query)}
        if t in prompted:
            continue
        full, pruned = (replace(query, tracked=dict(k)) for k in (everything, held))
        assert policy.plan(pruned) == policy.plan(full)
        everything[t] = held[t] = confidence[t]
        assert len(held) <= policy.reach + policy.gate + 1


@given(policies(), situations())
def test_an_independent_plan_reads_nothing_from_across_a_prompt(policy, query):
    made = replace(policy, independent=True).plan(query)
    wall = min(d for c in query.conditioning if (d := query.distance(c)) > 0)
    for entry in (*made.memories, *made.pointers):
        assert entry.conditioning or 0 < query.distance(entry.slice) < wall


@given(policies(), situations())
def test_a_bracketed_plan_knows_the_two_prompts_around_it(policy, query):
    made = replace(policy, bracket=True).plan(query)
    around = {
        *[c for c in query.conditioning if c < query.t][-1:],
        *[c for c in query.conditioning if c > query.t][:1],
    }
    kept = {m.slice for m in made.memories if m.conditioning}
    assert kept <= around
    assert {p.slice for p in made.pointers if p.conditioning} <= kept
    if policy.tau == 1.0:
        assert kept == around


@given(st.sampled_from([MemoryPolicy(), MemoryPolicy(intelligent=True)]), situations())
def test_stretches_depend_on_nothing_but_their_prompts(policy, query):
    """So a stretch can be kept when a slice is painted elsewhere."""
    stretches = replace(policy, independent=True, bracket=True)
    before = [c for c in query.conditioning if c < query.t][-1:]
    after = [c for c in query.conditioning if c > query.t][:1]
    low, high = (before or [-1])[0], (after or [query.num_slices])[0]
    alone = replace(
        query,
        conditioning=(*before, *after),
        tracked={t: v for t, v in query.tracked.items() if low < t < high},
    )
    assert stretches.plan(alone) == stretches.plan(query)
