"""Which slices of an object a training sequence shows, and what each may remember.

All sequences of a batch share one timeline, because `track_step` takes one slice number for the
whole batch: an object is cut into ``length`` slices, however many its volume has, some of them
prompted, and a few tracked in a row. Slices tracked before those are not run but encoded from
slightly wrong masks (``history``), so a short sequence may stand anywhere in a long one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.training.curriculum import Phase

RECENT = 6  # rows 0 … 5 of the temporal embedding; row 6 is that of prompted slices


@dataclass(frozen=True)
class Memory:
    """The paper's policies, as drawn for one batch.

    Attributes:
        kind: "baseline", "is", "sliced" or "stride".
        number: k of sliced, s of stride.
        reach: prompted slices farther than this share of the length are dropped (SPS).
    """

    kind: str = "baseline"
    number: int = 1
    reach: float = 1.0

    def recents(self, t: int) -> list[tuple[int, int]]:
        """(slice, row) of the recent slices that slice ``t`` looks back at."""
        if self.kind == "is":
            return [(t - 1, 0), (t - 2, RECENT - 1)]
        if self.kind == "sliced":
            return [(t - 1 - row, row) for row in range(self.number)]
        if self.kind == "stride":
            newest = ((t - 2) // self.number) * self.number
            return [(t - 1, 0)] + [(newest - self.number * k, k + 1) for k in range(RECENT - 1)]
        return [(t - 1 - row, row) for row in range(RECENT)]

    def conditioning(self, t: int, prompted: tuple[int, ...], length: int) -> list[int]:
        """The prompted slices that slice ``t`` looks at: those near enough, or the nearest."""
        near = [c for c in prompted if abs(t - c) <= self.reach * length]
        return near or [min(prompted, key=lambda c: abs(t - c))]


@dataclass(frozen=True)
class Timeline:
    """One batch's plan.

    Attributes:
        length: slices the object is cut into; slice numbers beyond it show no object.
        prompted: slices with a prompt.
        history: slices encoded from given masks.
        tracked: slices to run, in order.
        memory: what is remembered.
    """

    length: int
    prompted: tuple[int, ...]
    history: tuple[int, ...]
    tracked: tuple[int, ...]
    memory: Memory

    @property
    def frames(self) -> tuple[int, ...]:
        """Every slice to be shown: prompted, history, tracked."""
        return self.prompted + self.history + self.tracked


def draw_memory(rng: np.random.Generator, chance: float) -> Memory:
    """Stock memory, or with ``chance`` one of the paper's policies."""
    if rng.random() >= chance:
        return Memory()
    kind = str(rng.choice(["is", "sliced", "stride", "baseline"], p=[0.45, 0.2, 0.1, 0.25]))
    number = int(rng.integers(0, 6)) if kind == "sliced" else int(rng.choice([2, 4]))
    reach = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.6 else 1.0
    return Memory(kind, number, reach)


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
    memory = draw_memory(rng, phase.policies)
    wanted = {f for t in tracked for f, _ in memory.recents(t)}
    history = tuple(sorted(f for f in wanted if prompted[0] < f < tracked[0] and f not in prompted))
    return Timeline(length, prompted, history, tuple(tracked), memory)
