"""Which slices of an object a training sequence shows, and what each may remember.

All sequences of a batch share one timeline, because `track_step` takes one slice number for the
whole batch: an object is cut into ``length`` slices, however many its volume has, some of them
prompted, and a few tracked in a row, perhaps past the object's end. What is remembered of the
slices before those is made beforehand (``history``), so a short sequence may stand anywhere in a
long one. Sequences run forward only: shown upside down, they are those of the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from lib.propagation.policy import MemoryPolicy, Plan
from lib.propagation.stretches import Setting
from tools.training.curriculum import Phase

# Serving remembers more pointers (15 slices back); these cost most of a step, and matter less.
HISTORY = 8
# Slices beyond the end at which a run deep in nothing, or in a neighbour, begins at most.
DEEPEST = 12


@dataclass(frozen=True)
class Timeline:
    """One batch's plan.

    Attributes:
        length: slices the object is cut into; slice numbers beyond it show no object.
        prompted: slices with a prompt, ascending.
        history: slices made before the tracked ones, ascending.
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

    @property
    def shown(self) -> int:
        """Slices of the pseudo-video: those of the object, and those shown beyond it."""
        return max(self.length, max(self.frames) + 1)

    @property
    def beyond(self) -> int:
        """How many slices past the object's end are shown at most."""
        return self.shown - self.length

    def plan(self, t: int, held: Iterable[int]) -> Plan:
        """What slice ``t`` remembers of the prompted slices and of those ``held``."""
        return _plan(self.policy, t, self.shown, self.prompted, held)


def _plan(
    policy: MemoryPolicy, t: int, slices: int, prompted: tuple[int, ...], held: Iterable[int]
) -> Plan:
    """The served policy's plan, asked as the engine asks."""
    setting = Setting(prompted, slices)
    return policy.plan(setting.query(t, reverse=False, tracked=dict.fromkeys(held, 0.0)))


def draw_policy(rng: np.random.Generator, chance: float) -> MemoryPolicy:
    """Stock memory, or with ``chance`` one of the paper's policies or of those between prompts."""
    if rng.random() >= chance:
        return MemoryPolicy()
    kind = str(rng.choice(["is", "sliced", "stride", "stock"], p=[0.45, 0.15, 0.1, 0.3]))
    policy = {
        "is": MemoryPolicy(intelligent=True),
        "sliced": MemoryPolicy(sliced=int(rng.integers(0, 6))),
        "stride": MemoryPolicy(stride=int(rng.choice([2, 4]))),
        "stock": MemoryPolicy(),
    }[kind]
    tau = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.5 else 1.0
    independent, bracket = (bool(v) for v in rng.random(2) < 0.6)
    return replace(policy, tau=tau, independent=independent, bracket=bracket)


def _draw_prompted(rng: np.random.Generator, count: int, length: int) -> tuple[int, ...]:
    """As people paint: evenly with the ends, evenly within them, or anywhere."""
    draw = rng.random()
    if draw < 0.45:
        places = np.linspace(0, length - 1, count) if count > 1 else [(length - 1) / 2]
    elif draw < 0.8:
        places = (np.arange(count) + 1) * (length - 1) / (count + 1)
    else:
        places = rng.integers(0, length, count)
    return tuple(sorted({round(float(place)) for place in places}))


def _draw_first(
    rng: np.random.Generator, phase: Phase, length: int, prompted: tuple[int, ...]
) -> int:
    """The first tracked slice: within the object, at its end, or well beyond it."""
    if rng.random() < phase.beyond:
        if rng.random() < 0.65:
            first = length - int(rng.integers(0, phase.tracked))
        else:
            first = length + int(rng.integers(0, min(DEEPEST, length // 2) + 1))
        return max(first, prompted[-1] + 1)
    free = [t for t in range(prompted[0] + 1, length) if t not in prompted]
    return int(rng.choice(free)) if free else length


def draw_timeline(rng: np.random.Generator, phase: Phase) -> Timeline:
    """A timeline as the ``phase`` wants it."""
    length = int(rng.integers(phase.slices[0], phase.slices[1] + 1))
    count = 1 + int(rng.choice(len(phase.prompts), p=phase.prompts))
    if rng.random() < phase.easy:
        start = int(rng.integers(0, length - 1))
        prompted: tuple[int, ...] = (start,)
        first = start + 1 + int(rng.integers(0, 2))
    else:
        prompted = _draw_prompted(rng, count, length)
        first = _draw_first(rng, phase, length, prompted)
    after = (t for t in range(first, first + phase.tracked + len(prompted)) if t not in prompted)
    tracked = tuple(after)[: phase.tracked]
    policy = draw_policy(rng, phase.policies)
    slices = max(length, tracked[-1] + 1)
    earlier = [t for t in range(prompted[0] + 1, first) if t not in prompted]
    attended: set[int] = set()
    pointed: set[int] = set()
    for t in tracked:
        held = earlier + [s for s in tracked if s < t]
        plan = _plan(policy, t, slices, prompted, held)
        attended |= {m.slice for m in plan.memories if not m.conditioning} & set(earlier)
        pointed |= {p.slice for p in plan.pointers if not p.conditioning} & set(earlier)
    room = max(0, HISTORY - len(attended))
    nearest = sorted(pointed - attended, reverse=True)[:room]
    return Timeline(length, prompted, tuple(sorted(attended.union(nearest))), tracked, policy)
