"""Plans without a network: which slices, which rows, which pointers, and what may be dropped."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import lib
from lib.errors import BadInput
from lib.propagation.policy import (
    PRESETS,
    MemoryPolicy,
    Query,
    describe,
    parse_policy,
)

T = 24
PROMPTS = (0, 12, 23)
COMBINATIONS = (
    "stride2+sps",
    "stride4+sliced3",
    "sliced3+sps",
    "gate2+sps",
    "gate2+stride2",
    "gate3+sliced4,confidence=score",
    "is+sps,pointers=follow",
    "gate6,confidence=score,pointers=follow",
    "pointers=follow",
    "tau=0",
    "tau=0.1",
    "tau=0.65,sliced=1",
    "is+sps+stretches",
    "sliced3+independent",
    "gate3+stride2+stretches,pointers=follow",
    "tau=0.1,bracket",
)
EVERY_POLICY = (*PRESETS, *COMBINATIONS)


def situation(t, prompts=PROMPTS, *, reverse=False, confidence=None, length=T, span=None):
    """Query at `t` of a pass from its first prompt with every earlier slice still held."""
    start = max(prompts) if reverse else min(prompts)
    done = range(start, t, -1) if reverse else range(start, t)
    tracked = {s: 0.5 for s in done if s not in prompts} | (confidence or {})
    return Query(t, length, reverse, tuple(prompts), tracked, span)


def plan(policy, *args, **kwargs):
    return parse_policy(policy).plan(situation(*args, **kwargs))


def pointers(policy, *args, **kwargs):
    """Pointers as text: conditioning or not, slice, distance."""
    return " ".join(
        f"{'c' if p.conditioning else 'n'}{p.slice}:{p.distance}"
        for p in plan(policy, *args, **kwargs).pointers
    )


def test_needs_no_torch():
    """The policy is pure data: a process that imports it has not loaded torch."""
    code = "import sys, lib.propagation.policy; sys.exit('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(lib.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("baseline", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("sliced6", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("tau=1.0", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("gate0", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("stride1", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("sps", "c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("is", "c0@6 c12@6 c23@6 n18@5 n19@0"),
        ("is+sps", "c23@6 n18@5 n19@0"),
        ("sliced5", "c0@6 c12@6 c23@6 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("sliced4", "c0@6 c12@6 c23@6 n16@3 n17@2 n18@1 n19@0"),
        ("sliced3", "c0@6 c12@6 c23@6 n17@2 n18@1 n19@0"),
        ("sliced2", "c0@6 c12@6 c23@6 n18@1 n19@0"),
        ("sliced1", "c0@6 c12@6 c23@6 n19@0"),
        ("sliced0", "c0@6 c12@6 c23@6"),
        ("stride2", "c0@6 c12@6 c23@6 n10@5 n14@3 n16@2 n18@1 n19@0"),
        ("stride4", "c0@6 c12@6 c23@6 n4@4 n8@3 n16@1 n19@0"),
        ("gate3", "c0@6 c12@6 c23@6 n2@5 n3@4 n16@3 n17@2 n18@1 n19@0"),
        ("gate3,confidence=score", "c0@6 c12@6 c23@6 n2@5 n3@4 n16@3 n17@2 n18@1 n19@0"),
        ("stride2+sps", "c23@6 n10@5 n14@3 n16@2 n18@1 n19@0"),
        ("sliced3+sps", "c23@6 n17@2 n18@1 n19@0"),
        ("gate2+sps", "c23@6 n2@5 n3@4 n16@3 n17@2 n18@1 n19@0"),
        ("gate2+sliced3", "c0@6 c12@6 c23@6 n2@2 n3@1 n19@0"),
        ("bracket", "c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("independent", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("independent+stride2", "c0@6 c12@6 c23@6 n14@3 n16@2 n18@1 n19@0"),
        ("independent+gate3", "c0@6 c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("stretches", "c12@6 c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        ("is+stretches", "c12@6 c23@6 n18@5 n19@0"),
        ("bracket+sps", "c23@6 n14@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
    ],
)
def test_memories_at_20(policy, expected):
    """The table of all policies at t = 20, prompts 0, 12, 23; 2, 3 and 16 most confident."""
    confident = {2: 0.95, 3: 0.96, 16: 0.9}
    assert str(plan(policy, 20, confidence=confident)) == expected


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (1, "n3@5 n15@4 n16@3 n17@2 n18@1 n19@0"),
        (2, "n2@5 n3@4 n16@3 n17@2 n18@1 n19@0"),
        (4, "n2@5 n3@4 n16@3 n17@2 n18@1 n19@0"),
        (5, "n2@5 n3@4 n11@3 n16@2 n17@1 n19@0"),
        (6, "n2@5 n3@4 n4@3 n11@2 n16@1 n17@0"),
    ],
)
def test_gate_fills_the_rest_with_recents(gate, expected):
    confident = {3: 0.96, 2: 0.95, 16: 0.9, 17: 0.8, 11: 0.7, 4: 0.6}
    memories = str(plan(f"gate{gate}", 20, confidence=confident))
    assert memories == "c0@6 c12@6 c23@6 " + expected


def test_gate_prefers_the_nearest_of_equals():
    assert str(plan("gate6", 10, (0,))) == "c0@6 n4@5 n5@4 n6@3 n7@2 n8@1 n9@0"


@pytest.mark.parametrize(
    ("policy", "t", "prompts", "reverse", "expected"),
    [
        # the first slices of a pass: nothing recent, then one
        ("baseline", 1, (0,), False, "c0@6"),
        ("baseline", 2, (0,), False, "c0@6 n1@0"),
        ("is", 1, (0,), False, "c0@6"),
        ("is", 2, (0,), False, "c0@6 n1@0"),
        ("is", 3, (0,), False, "c0@6 n1@5 n2@0"),
        ("sliced0", 3, (0,), False, "c0@6"),
        ("stride2", 3, (0,), False, "c0@6 n2@0"),
        ("stride2", 4, (0,), False, "c0@6 n2@1 n3@0"),
        ("stride4", 7, (0,), False, "c0@6 n4@1 n6@0"),
        ("gate3", 2, (0,), False, "c0@6 n1@0"),
        ("baseline", 22, (23,), True, "c23@6"),
        ("baseline", 21, (23,), True, "c23@6 n22@0"),
        ("is", 20, (23,), True, "c23@6 n22@5 n21@0"),
        ("stride2", 19, (23,), True, "c23@6 n22@1 n20@0"),
        ("stride4", 17, (23,), True, "c23@6 n20@1 n18@0"),
        ("gate3", 21, (23,), True, "c23@6 n22@0"),
        # the last slices of a pass
        ("baseline", 23, (0,), False, "c0@6 n17@5 n18@4 n19@3 n20@2 n21@1 n22@0"),
        ("is", 23, (0,), False, "c0@6 n21@5 n22@0"),
        ("stride4", 23, (0,), False, "c0@6 n4@5 n8@4 n12@3 n16@2 n20@1 n22@0"),
        ("stride2", 23, (0,), False, "c0@6 n12@5 n14@4 n16@3 n18@2 n20@1 n22@0"),
        ("baseline", 0, (23,), True, "c23@6 n6@5 n5@4 n4@3 n3@2 n2@1 n1@0"),
        ("sliced3", 0, (23,), True, "c23@6 n3@2 n2@1 n1@0"),
        ("is", 0, (23,), True, "c23@6 n2@5 n1@0"),
        ("stride2", 0, (23,), True, "c23@6 n10@5 n8@4 n6@3 n4@2 n2@1 n1@0"),
        ("stride4", 0, (23,), True, "c23@6 n20@5 n16@4 n12@3 n8@2 n4@1 n1@0"),
        ("gate2", 0, (23,), True, "c23@6 n6@5 n5@4 n4@3 n3@2 n2@1 n1@0"),
        # a prompted slice leaves its recent slot empty, whatever the direction
        ("baseline", 13, PROMPTS, False, "c0@6 c12@6 c23@6 n7@5 n8@4 n9@3 n10@2 n11@1"),
        ("baseline", 11, PROMPTS, True, "c0@6 c12@6 c23@6 n17@5 n16@4 n15@3 n14@2 n13@1"),
        ("is", 13, PROMPTS, False, "c0@6 c12@6 c23@6 n11@5"),
        ("is", 14, PROMPTS, False, "c0@6 c12@6 c23@6 n13@0"),
        ("is", 10, PROMPTS, True, "c0@6 c12@6 c23@6 n11@0"),
        ("sliced1", 13, PROMPTS, False, "c0@6 c12@6 c23@6"),
        ("stride2", 14, PROMPTS, False, "c0@6 c12@6 c23@6 n4@5 n6@4 n8@3 n10@2 n13@0"),
        # the gate has no holes: it takes the next most recent
        ("gate2", 13, PROMPTS, False, "c0@6 c12@6 c23@6 n6@5 n7@4 n8@3 n9@2 n10@1 n11@0"),
        # SPS: one near, several near, none near (the nearest stays), ahead as well as behind
        ("sps", 7, PROMPTS, False, "c0@6 c12@6 n1@5 n2@4 n3@3 n4@2 n5@1 n6@0"),
        ("sps", 8, PROMPTS, False, "c12@6 n2@5 n3@4 n4@3 n5@2 n6@1 n7@0"),
        ("sps", 23, (0, 2), False, "c2@6 n17@5 n18@4 n19@3 n20@2 n21@1 n22@0"),
        ("sps", 0, (20, 23), True, "c20@6 n6@5 n5@4 n4@3 n3@2 n2@1 n1@0"),
        ("is+sps", 23, (0, 2), False, "c2@6 n21@5 n22@0"),
        ("tau=0", 18, PROMPTS, False, "c23@6 n13@4 n14@3 n15@2 n16@1 n17@0"),
        ("tau=0", 6, PROMPTS, False, "c0@6 n1@4 n2@3 n3@2 n4@1 n5@0"),
        # what SPS drops is not a recent slice either
        ("tau=0.05", 14, PROMPTS, False, "c12@6 n8@5 n9@4 n10@3 n11@2 n13@0"),
        ("tau=0", 3, (0, 1, 5), False, "c1@6 n2@0"),
        # of two equally near the one the pass comes from, in either direction
        ("tau=0", 6, PROMPTS, True, "c12@6 n11@4 n10@3 n9@2 n8@1 n7@0"),
        # stretches: nothing from across the prompt met last; one side only beyond the outermost
        ("independent", 13, PROMPTS, False, "c0@6 c12@6 c23@6"),
        ("independent", 15, PROMPTS, False, "c0@6 c12@6 c23@6 n13@1 n14@0"),
        ("independent", 10, PROMPTS, True, "c0@6 c12@6 c23@6 n11@0"),
        ("stretches", 14, PROMPTS, False, "c12@6 c23@6 n13@0"),
        ("stretches", 3, PROMPTS, False, "c0@6 c12@6 n1@1 n2@0"),
        ("stretches", 3, PROMPTS, True, "c0@6 c12@6 n9@5 n8@4 n7@3 n6@2 n5@1 n4@0"),
        ("stretches", 21, (4, 12), False, "c12@6 n15@5 n16@4 n17@3 n18@2 n19@1 n20@0"),
        ("stretches", 2, (4, 12), True, "c4@6 n3@0"),
        ("is+stretches", 14, PROMPTS, False, "c12@6 c23@6 n13@0"),
        # painted slices side by side leave no stretch between them
        ("stretches", 14, (12, 13, 20), False, "c13@6 c20@6"),
    ],
)
def test_memories_at_the_ends(policy, t, prompts, reverse, expected):
    assert str(plan(policy, t, prompts, reverse=reverse)) == expected


@pytest.mark.parametrize("tau", [n / 10 for n in range(11)])
def test_threshold_is_a_fraction_of_the_span(tau):
    """|t − c| ≤ τ·T to the person's arithmetic: 0.3 · 10 includes a distance of 3."""
    for t in range(1, 10):
        query = situation(t, (0, 10), length=11, span=10)
        kept = {m.slice for m in MemoryPolicy(tau=tau).plan(query).memories if m.conditioning}
        near = {c for c in (0, 10) if abs(t - c) * 10 <= round(tau * 10) * 10}
        nearest = {0 if t <= 5 else 10}
        assert kept == ({0, 10} if tau == 1 else near or nearest), t


def test_rounding_does_not_lose_a_prompt():
    """0.29 · 100 is 29 to a person and a little less to a computer."""
    assert str(plan("tau=0.29,sliced=0", 29, (0, 99), length=100)) == "c0@6"
    assert str(plan("tau=0.29,sliced=0", 29, (0, 58), length=100)) == "c0@6 c58@6"
    assert str(plan("tau=0.28,sliced=0", 29, (0, 57), length=100)) == "c57@6"


@pytest.mark.parametrize(
    ("policy", "t", "reverse", "expected"),
    [
        # conditioning pointers of the past only; fifteen recents, prompted holes not filled
        (
            "baseline",
            20,
            False,
            "c0:20 c12:8 n19:1 n18:2 n17:3 n16:4 n15:5 n14:6 n13:7 n11:9 n10:10 n9:11 n8:12 n7:13"
            " n6:14 n5:15",
        ),
        ("baseline", 2, False, "c0:2 n1:1"),
        ("baseline", 1, False, "c0:1"),
        ("baseline", 21, True, "c23:2 n22:1"),
        (
            "baseline",
            3,
            True,
            "c12:9 c23:20 n4:1 n5:2 n6:3 n7:4 n8:5 n9:6 n10:7 n11:8 n13:10 n14:11 n15:12 n16:13"
            " n17:14 n18:15",
        ),
        # recent pointers do not depend on which recent memories are used
        ("is", 4, False, "c0:4 n3:1 n2:2 n1:3"),
        ("sliced0", 4, False, "c0:4 n3:1 n2:2 n1:3"),
        ("stride4", 4, False, "c0:4 n3:1 n2:2 n1:3"),
        # the pointer of a prompt that SPS drops goes too; c23 lies ahead and has none
        (
            "sps",
            20,
            False,
            "n19:1 n18:2 n17:3 n16:4 n15:5 n14:6 n13:7 n11:9 n10:10 n9:11 n8:12 n7:13 n6:14 n5:15",
        ),
        ("pointers=follow", 20, False, "c0:20 c12:8 n19:1 n18:2 n17:3 n16:4 n15:5 n14:6"),
        ("is,pointers=follow", 20, False, "c0:20 c12:8 n19:1 n18:2"),
        ("is+sps,pointers=follow", 20, False, "n19:1 n18:2"),
        ("is+sps,pointers=follow", 3, True, "n4:1 n5:2"),
        ("sliced0,pointers=follow", 20, False, "c0:20 c12:8"),
        ("stride4,pointers=follow", 20, False, "c0:20 c12:8 n19:1 n16:4 n8:12 n4:16"),
        ("gate2+sliced3,pointers=follow", 20, False, "c0:20 c12:8 n19:1 n18:2 n17:3"),
        # the pointer of a prompt goes with its memory; those of tracked slices end at the wall
        ("independent", 15, False, "c0:15 c12:3 n14:1 n13:2"),
        (
            "bracket",
            14,
            False,
            "c12:2 n13:1 n11:3 n10:4 n9:5 n8:6 n7:7 n6:8 n5:9 n4:10 n3:11 n2:12 n1:13",
        ),
        ("stretches", 15, False, "c12:3 n14:1 n13:2"),
        ("stretches", 9, True, "c12:3 n10:1 n11:2"),
    ],
)
def test_pointers(policy, t, reverse, expected):
    assert pointers(policy, t, reverse=reverse) == expected


def test_short_volumes_have_fewer_pointers():
    """Stock looks back at most min(T, 16) − 1 slices."""
    assert pointers("baseline", 4, (0,), length=4) == "c0:4 n3:1 n2:2 n1:3"
    assert pointers("baseline", 5, (0,), length=4) == "c0:5 n4:1 n3:2 n2:3"


def test_a_plan_needs_a_prompt():
    with pytest.raises(ValueError, match="at least one conditioning slice"):
        MemoryPolicy().plan(Query(3, T, False, (), {1: 0.5, 2: 0.5}))


def simulate(policy, length, prompts, reverse, confidences, prune):
    """Plans of a whole pass, and the most slices it ever held."""
    start = max(prompts) if reverse else min(prompts)
    order = range(start, -1, -1) if reverse else range(start, length)
    query = Query(start, length, reverse, tuple(sorted(prompts)))
    held, plans, most = {}, [], 0
    for t in order:
        if t in prompts:
            continue
        query = replace(query, t=t, tracked=dict(held))
        plans.append(policy.plan(query))
        held[t] = confidences[t]
        if prune:
            following = replace(query, t=t - 1 if reverse else t + 1, tracked=dict(held))
            keep = policy.retained(following)
            held = {s: c for s, c in held.items() if s in keep}
        most = max(most, len(held))
    return plans, most


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_dropping_what_is_not_retained_changes_no_plan(policy, reverse):
    policy = parse_policy(policy)
    chance = random.Random(f"{policy} {reverse}")
    for length in (5, 17, 48, 90):
        for _ in range(4):
            prompts = set(chance.sample(range(length), chance.randint(1, min(5, length))))
            # few values, so that ties occur
            confidences = [chance.choice((0.1, 0.5, 0.7, 0.9)) for _ in range(length)]
            every = simulate(policy, length, prompts, reverse, confidences, prune=False)[0]
            pruned = simulate(policy, length, prompts, reverse, confidences, prune=True)[0]
            assert pruned == every, (length, prompts)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_what_is_held_does_not_grow_with_the_volume(policy, reverse):
    policy = parse_policy(policy)
    chance = random.Random(5)
    for length in (100, 400):
        confidences = [chance.random() for _ in range(length)]
        prompts = {length - 1 if reverse else 0}
        most = simulate(policy, length, prompts, reverse, confidences, prune=True)[1]
        assert most <= policy.reach + policy.gate <= 27


@pytest.mark.parametrize("policy", EVERY_POLICY)
@pytest.mark.parametrize("reverse", [False, True])
def test_plans_hold_only_what_exists(policy, reverse):
    """No slice twice, rows 0–5 once each, nothing of the future but prompts, no phantom slice."""
    policy = parse_policy(policy)
    chance = random.Random(9)
    for t in range(T):
        prompts = {(T - 1) if reverse else 0, *chance.sample(range(T), 3)} - {t}
        query = situation(t, tuple(sorted(prompts)), reverse=reverse)
        made = policy.plan(query)
        slices = [m.slice for m in made.memories]
        rows = [m.row for m in made.memories if not m.conditioning]
        assert len(slices) == len(set(slices))
        assert len(rows) == len(set(rows)) <= policy.sliced
        assert set(rows) <= set(range(6))
        assert all(m.row == 6 and m.slice in prompts for m in made.memories if m.conditioning)
        assert all(m.slice in query.tracked for m in made.memories if not m.conditioning)
        assert any(m.conditioning for m in made.memories)
        assert all(p.distance == abs(t - p.slice) for p in made.pointers)
        assert {p.slice for p in made.pointers if not p.conditioning} <= query.tracked.keys()


@pytest.mark.parametrize("text", EVERY_POLICY)
def test_description_can_be_parsed_back(text):
    policy = parse_policy(text)
    assert parse_policy(describe(policy)) == policy


def test_names_and_joins():
    assert parse_policy("baseline") == parse_policy(" Sliced6 ") == MemoryPolicy()
    assert parse_policy("IS+SPS") == MemoryPolicy(intelligent=True, tau=0.3)
    assert parse_policy("sps+is") == PRESETS["is+sps"]
    assert parse_policy("stride2+sps") == MemoryPolicy(stride=2, tau=0.3)
    assert parse_policy("sps,tau=0.2") == MemoryPolicy(tau=0.2)
    assert parse_policy("gate2, sliced=3") == MemoryPolicy(gate=2, sliced=3)
    assert parse_policy("intelligent=true") == PRESETS["is"]
    assert parse_policy("is,bracket,independent") == PRESETS["is+stretches"]
    assert describe(MemoryPolicy()) == "baseline"
    assert describe(MemoryPolicy(independent=True, intelligent=True)) == "is,independent"
    assert describe(MemoryPolicy(sliced=3, tau=0.2)) == "tau=0.2,sliced=3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown policy ''"),
        ("isps", "unknown policy 'isps'.*is\\+sps"),
        ("is+", "unknown policy"),
        ("tau", "unknown policy"),
        ("tau=", "unknown policy"),
        ("rows=3", "unknown policy.*tau"),
        ("tau=1.5", "tau must lie between 0 and 1, got 1.5"),
        ("tau=-0.1", "tau must lie between 0 and 1"),
        ("tau=nan", "tau must lie between 0 and 1"),
        ("tau=near", "option tau cannot be 'near'"),
        ("sliced=7", "sliced must be 0 to 6, got 7"),
        ("sliced=-1", "sliced must be 0 to 6"),
        ("sliced=2.5", "option sliced cannot be '2.5'"),
        ("stride=3", "stride must be 1, 2 or 4, got 3"),
        ("stride=0", "stride must be 1, 2 or 4"),
        ("gate=7", "gate must be 0 to 6"),
        ("gate=-1", "gate must be 0 to 6"),
        ("sliced=2,gate=3", "gate must be 0 to 2 \\(the slots in use\\), got 3"),
        ("confidence=dice", "confidence must be iou or score"),
        ("pointers=none", "pointers must be stock or follow"),
        ("intelligent=1", "option intelligent cannot be '1'"),
        ("is+sliced2", "is fixes the recents"),
        ("is+stride2", "is fixes the recents"),
        ("is+gate2", "is fixes the recents"),
    ],
)
def test_bad_values_are_refused_with_a_sentence(text, said):
    with pytest.raises(BadInput, match=said):
        parse_policy(text)
