"""Where one more painted slice would help most, and how sure a result is."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lib.geometry import Axis
from lib.propagation.records import SliceRecord, Source

_TRACKED = (Source.FORWARD, Source.BACKWARD)


@dataclass(frozen=True)
class NextSlice:
    """A suggestion.

    Attributes:
        object_id: of the result.
        axis: the direction slices are counted in.
        index: slice of `axis`.
        weight: 0 to 1, the higher the more it would help.
    """

    object_id: int
    axis: Axis
    index: int
    weight: float


def next_slices(records: Iterable[SliceRecord], count: int = 3) -> tuple[NextSlice, ...]:
    """The slices whose painting would mend most.

    What may be wrong on a slice is its uncertainty times the voxels in which its mask differs from
    its neighbours': an outline that rests is seldom wrong however unsure the network is, and one
    that jumps is wrong on one side. A painted slice mends its neighbours, the less the farther they
    are, and nothing beyond the next painted one. So a slice weighs what may be wrong around it,
    falling off linearly to zero at half the length of the stretch between two painted slices, as a
    share of all that may be wrong of the object on its axis. The first suggestion counts as painted
    when the second is chosen: what may be wrong beside it shrinks with the distance to it.

    What was found beyond the painted slices competes: where the ends were not painted, most of what
    is wrong lies there, and a slice that is wiped there ends the object.

    Chosen among other products and fall-offs on phantoms and on the real bones of the model card,
    which has the figures (`sam2-ct evaluate run --table guidance`).

    Args:
        records: of the report.
        count: suggestions per object.

    Returns:
        Object after object, best first.
    """
    objects: dict[int, list[_Stack]] = {}
    for (object_id, axis), stack in stacks_of(records).items():
        objects.setdefault(object_id, []).append(_Stack.of(axis, stack))
    return tuple(
        NextSlice(object_id, axis, index, weight)
        for object_id, stacks in objects.items()
        for axis, index, weight in _greedily(stacks, count)
    )


@dataclass
class _Stack:
    """One object on one axis.

    Attributes:
        axis: its slices are counted along it.
        ends: the outermost painted slices.
        painted: slices that are, or are suggested.
        wrong: slice → voxels that may be wrong.
        empty: slices on which the object was not found; beyond the painted ones that is no gap.
        total: of `wrong`, at first.
    """

    axis: Axis
    ends: tuple[int, int] | None
    painted: list[int]
    wrong: dict[int, float]
    empty: set[int]
    total: float

    @classmethod
    def of(cls, axis: Axis, records: Mapping[int, SliceRecord]) -> _Stack:
        """From a record a slice."""
        painted = sorted(i for i, r in records.items() if r.source is Source.PROMPT)
        wrong = {i: _may_be_wrong(r) for i, r in records.items() if r.source in _TRACKED}
        empty = {i for i in wrong if not is_tracked(records[i])}
        ends = (painted[0], painted[-1]) if painted else None
        return cls(axis, ends, painted, wrong, empty, sum(wrong.values()) or 1.0)

    def shares(self) -> dict[int, float]:
        """Slice → what painting it would mend, as a share of what may be wrong."""
        shares: dict[int, float] = {}
        for _, group in groupby(sorted(self.wrong), lambda i: bisect_left(self.painted, i)):
            stretch = list(group)
            half = (stretch[-1] - stretch[0] + 2) / 2
            at = np.subtract(stretch, stretch[0])
            here = np.zeros(at[-1] + 1)
            here[at] = [self.wrong[i] for i in stretch]
            apart = np.arange(-(len(here) // 2), len(here) // 2 + 1)
            mended = np.convolve(here, 1 - np.abs(apart) / half)[apart[-1] :][at] / self.total
            shares |= zip(stretch, mended.tolist(), strict=True)
        return {i: share for i, share in shares.items() if self._is_between(i) or self._is_there(i)}

    def _is_between(self, index: int) -> bool:
        return self.ends is not None and self.ends[0] < index < self.ends[1]

    def _is_there(self, index: int) -> bool:
        """Whether there is something to wipe, or to paint better."""
        return index not in self.empty and self.wrong[index] > 0

    def paint(self, index: int) -> None:
        """Count a slice as painted."""
        near = {i: min((abs(i - p) for p in self.painted), default=np.inf) for i in self.wrong}
        for i in self.wrong:
            self.wrong[i] *= min(1.0, abs(i - index) / near[i])
        del self.wrong[index]
        insort(self.painted, index)


def _greedily(stacks: Sequence[_Stack], count: int) -> Iterator[tuple[Axis, int, float]]:
    for _ in range(count):
        found = [(-share, i, n) for n, s in enumerate(stacks) for i, share in s.shares().items()]
        if not found:
            return
        negative, index, n = min(found)
        stacks[n].paint(index)
        yield stacks[n].axis, index, round(-negative, 4)


def stacks_of(
    records: Iterable[SliceRecord],
) -> dict[tuple[int, Axis], dict[int, SliceRecord]]:
    """One record a slice, by object and axis.

    Two passes may have seen a slice: the less sure one speaks, a prompt before either.
    """
    stacks: dict[tuple[int, Axis], dict[int, SliceRecord]] = {}
    for record in records:
        stack = stacks.setdefault((record.object_id, record.axis), {})
        known = stack.get(record.index)
        if known is None or _order(record) < _order(known):
            stack[record.index] = record
    return stacks


def confidence(records: Iterable[SliceRecord]) -> float | None:
    """Mean predicted IoU of the slices that were tracked and hold the object; None without any."""
    sure = [r.predicted_iou for r in records if is_tracked(r)]
    return round(sum(sure) / len(sure), 4) if sure else None


def is_tracked(record: SliceRecord) -> bool:
    """Whether the slice was tracked and holds the object."""
    return record.source in _TRACKED and record.object_score > 0


def uncertainty_of(record: SliceRecord) -> float:
    """From the disagreement of passes, else from the network's own estimate; 0 is sure."""
    return 1 - record.predicted_iou if record.uncertainty is None else record.uncertainty


def _may_be_wrong(record: SliceRecord) -> float:
    return uncertainty_of(record) * (1.0 if record.moved is None else record.moved)


def _order(record: SliceRecord) -> tuple[bool, float]:
    return record.source is not Source.PROMPT, -uncertainty_of(record)
