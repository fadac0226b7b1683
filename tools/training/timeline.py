"""Which slices of an object a training sequence shows, and what each may remember.

All sequences of a batch share one timeline, because `track_step` takes one slice number for the
whole batch: an object is cut into ``length`` slices, however many its volume has, some of them
prompted, and a few tracked in a row. Slices tracked before those are not run but encoded from
slightly wrong masks (``history``), so a short sequence may stand anywhere in a long one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.propagation.policy import MemoryPolicy, Query
from tools.training.curriculum import Phase


@dataclass(frozen=True)
class Timeline:
    """One batch's plan.

    Attributes:
        length: slices the object is cut into; slice numbers beyond it show no object.
        prompted: slices with a prompt.
        history: slices encoded from given masks.
        tracked: slices to run, in order.
        policy: what is remembered.
    """

    length: int
    prompted: tuple[int, ...]
    history: tuple[int, ...]
    tracked: tuple[int, ...]
    policy: MemoryPolicy

    @property
    def frames(self) -> tuple[int, ...]:
        """Every slice to be shown: prompted, history, tracked."""
        return self.prompted + self.history + self.tracked


def draw_policy(rng: np.random.Generator, chance: float) -> MemoryPolicy:
    """Stock memory, or with ``chance`` one of the paper's policies, in stretches or not."""
    if rng.random() >= chance:
        return MemoryPolicy()
    kind = str(rng.choice(["is", "sliced", "stride", "baseline"], p=[0.45, 0.2, 0.1, 0.25]))
    recents = {
        "is": {"intelligent": True},
        "sliced": {"sliced": int(rng.integers(0, 6))},
        "stride": {"stride": int(rng.choice([2, 4]))},
        "baseline": {},
    }[kind]
    tau = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.6 else 1.0
    independent, bracket = (bool(v) for v in rng.random(2) < 0.5)
    return MemoryPolicy(tau=tau, independent=independent, bracket=bracket, **recents)


def draw_timeline(rng: np.random.Generator, phase: Phase) -> Timeline:
    """A timeline as the ``phase`` wants it."""
    length = int(rng.integers(phase.slices[0], phase.slices[1] + 1))
    count = 1 + int(rng.choice(len(phase.prompts), p=phase.prompts))
    if rng.random() < phase.easy:
        count = 1
        start = int(rng.integers(0, length - 1))
        prompted: tuple[int, ...] = (start,)
        t0 = start + 1 + int(rng.integers(0, 2))
    else:
        if rng.random() < 0.7:  # middle, first and last, first-middle-last, uniform
            ends = np.linspace(0, length - 1, count) if count > 1 else [(length - 1) / 2]
            chosen = {round(v) for v in ends}
        else:
            chosen = {int(v) for v in rng.integers(0, length, count)}
        prompted = tuple(sorted(chosen))
        beyond = 3 if prompted[-1] < length - 1 and rng.random() < 0.5 else 0
        free = [t for t in range(prompted[0] + 1, length + beyond) if t not in prompted]
        t0 = int(rng.choice(free)) if free else length
    tracked: list[int] = []
    t = t0
    while len(tracked) < phase.tracked and t < length + 3:
        if t not in prompted:
            tracked.append(t)
        t += 1
    policy = draw_policy(rng, phase.policies)
    history = sorted(_looked_at(policy, length, prompted, tracked))
    return Timeline(length, prompted, tuple(history), tuple(tracked), policy)


def _looked_at(
    policy: MemoryPolicy, length: int, prompted: tuple[int, ...], tracked: list[int]
) -> set[int]:
    """Slices before those tracked that a spatial memory of theirs would come from."""
    if not tracked:
        return set()
    before = [t for t in range(prompted[0] + 1, tracked[0]) if t not in prompted]
    known = dict.fromkeys([*before, *tracked], 0.0)
    plans = (
        policy.plan(Query(t, length, False, prompted, {k: v for k, v in known.items() if k < t}))
        for t in tracked
    )
    return {m.slice for plan in plans for m in plan.memories} & set(before)
