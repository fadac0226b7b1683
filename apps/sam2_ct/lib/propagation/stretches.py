"""Which slices are tracked from which prompt, in which order. Pure data: no torch.

A pass of one object in one direction is one stretch from its first prompt on, unless the policy is
`independent`: then every prompted slice begins a stretch of its own that ends before the next one.
Stretches whose plans see the same prompts are the same work, whatever was painted elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lib.propagation.policy import MemoryPolicy, Query


@dataclass(frozen=True)
class Stretch:
    """Slices tracked one after another from a prompted slice.

    Attributes:
        start: the prompted slice it begins on.
        reverse: towards slice 0.
        inner: slices between prompts, in the order they are tracked; prompted ones are left out.
        outward: slices beyond the outermost prompt, tracked after those.
    """

    start: int
    reverse: bool
    inner: tuple[int, ...]
    outward: tuple[int, ...]

    @property
    def slices(self) -> tuple[int, ...]:
        """All slices in the order they are tracked."""
        return self.inner + self.outward


def stretches(
    prompted: Sequence[int],
    limit: int,
    *,
    reverse: bool,
    start: int | None = None,
    independent: bool = False,
) -> list[Stretch]:
    """A pass of one object in one direction, cut where its slices do not depend on each other.

    Args:
        prompted: conditioning slices, at least one.
        limit: the last slice of the pass.
        reverse: towards slice 0.
        start: prompted slice the pass begins on; by default the first in its direction.
        independent: stretches between prompts do not see each other.

    Returns:
        Stretches with at least one slice, in the order of the pass.
    """
    step = -1 if reverse else 1
    ordered = sorted(prompted, reverse=reverse)
    begin = ordered[0] if start is None else start
    ordered = [c for c in ordered if (c - begin) * step >= 0]
    outward = tuple(range(ordered[-1] + step, limit + step, step))
    gaps = [(a, tuple(range(a + step, b, step))) for a, b in pairwise(ordered)]
    if independent:
        parts = [Stretch(a, reverse, gap, ()) for a, gap in gaps]
        parts.append(Stretch(ordered[-1], reverse, (), outward))
    else:
        inner = tuple(t for _, gap in gaps for t in gap)
        parts = [Stretch(begin, reverse, inner, outward)]
    return [part for part in parts if part.slices]


@dataclass(frozen=True)
class Setting:
    """What all stretches of an object share.

    Attributes:
        prompted: its conditioning slices, ascending.
        num_slices: length of the pseudo-video.
    """

    prompted: tuple[int, ...]
    num_slices: int

    @property
    def span(self) -> int | None:
        """The T of τ: slices from the first prompt to the last; None with one prompt."""
        return self.prompted[-1] - self.prompted[0] + 1 if len(self.prompted) > 1 else None

    def query(self, t: int, reverse: bool, tracked: dict[int, float]) -> Query:
        """The situation at slice `t` of a stretch."""
        return Query(t, self.num_slices, reverse, self.prompted, tracked, self.span)


def prompts_seen(policy: MemoryPolicy, stretch: Stretch, setting: Setting) -> tuple[int, ...]:
    """The prompted slices that any plan of a stretch reads, ascending."""
    seen = {
        c
        for t in stretch.slices
        for c in policy.conditioning(setting.query(t, stretch.reverse, {}))
    }
    return tuple(sorted(seen))
