"""One object on one axis while it is tracked: which slices are worth tracking, and its two ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lib.geometry import Axis
from lib.propagation.ends import Limit, end_detector, limits
from lib.propagation.extent import End, EndDetector, Extent, ExtentRule, SliceSignals
from lib.propagation.records import ObjectEnds, Rule

_WHY = {
    Rule.PAINTED: "the outermost marked slice",
    Rule.RANGE: "the slices you named",
    Rule.WIPED: "the next slice was wiped",
    Rule.VOLUME: "no end was looked for",
}


@dataclass
class _Side:
    """The slices beyond one outermost prompt."""

    outermost: int
    outward: int
    limit: Limit
    detector: EndDetector | None
    seen: list[SliceSignals] = field(default_factory=list)
    end: End | None = None

    def is_beyond(self, t: int) -> bool:
        return (t - self.outermost) * self.outward > 0

    def wants(self, t: int) -> bool:
        return self.end is None and (self.limit.last - t) * self.outward >= 0

    def judge(self, inner: list[SliceSignals], final: bool) -> End | None:
        if self.end is None and self.detector is not None:
            self.end = self.detector(self.seen, inner, final)
        return self.end


class ObjectWatch:
    """Is told of every tracked slice, in any order of passes, outward slices nearest first.

    Args:
        object_id: of the prompts.
        axis: of the pseudo-video.
        extent: the user's choice, a range in slices of the pseudo-video.
        prompted: the object's prompted slices.
        areas: area of each painted mask by slice, in any unit.
        wiped: slices the annotator emptied.
        num_slices: length of the pseudo-video.

    Raises:
        BadInput: a marked slice lies outside the range.
    """

    def __init__(
        self,
        object_id: int,
        axis: Axis,
        extent: Extent,
        prompted: Collection[int],
        areas: Mapping[int, float],
        wiped: Collection[int],
        num_slices: int,
    ) -> None:
        self.object_id = object_id
        self.axis = axis
        self._rule = extent.rule
        self._inner: list[SliceSignals] = []
        sides = []
        ways = ((min(prompted), -1), (max(prompted), 1))
        for (outermost, outward), limit in zip(
            ways, limits(extent, prompted, wiped, num_slices), strict=True
        ):
            # a wiped slice bounds where the object may end, it does not say that it reaches there
            judged = extent.rule in (ExtentRule.AUTO, ExtentRule.OPEN)
            detector = end_detector(extent.rule, sorted(prompted), areas, outermost)
            sides.append(_Side(outermost, outward, limit, detector if judged else None))
        self._low, self._high = sides

    def wants(self, t: int) -> bool:
        """Whether slice `t` is worth tracking."""
        side = self._side_of(t)
        return side is None or side.wants(t)

    def is_beyond(self, t: int) -> bool:
        """Whether slice `t` lies outside the outermost prompts."""
        return self._side_of(t) is not None

    def sees(self, signals: SliceSignals) -> None:
        """A tracked slice; not to be told of prompted ones."""
        side = self._side_of(signals.t)
        if side is None:
            self._inner.append(signals)
        else:
            side.seen.append(signals)
            side.judge(self._inner, final=False)

    def ends(self) -> ObjectEnds:
        """Where the object ends, once everything wanted has been tracked."""
        (first, first_rule, first_why), (last, last_rule, last_why) = (
            self._end_of(side) for side in (self._low, self._high)
        )
        return ObjectEnds(
            self.object_id, self.axis, first, last, first_rule, last_rule, first_why, last_why
        )

    def _side_of(self, t: int) -> _Side | None:
        return next((s for s in (self._low, self._high) if s.is_beyond(t)), None)

    def _end_of(self, side: _Side) -> tuple[int, Rule, str]:
        limit = side.limit
        if limit.rule is None and limit.last == side.outermost:
            return limit.last, Rule.VOLUME, "the volume ends there"
        end = side.judge(self._inner, final=True)
        if limit.rule is not None and (end is None or end.last == limit.last):
            return limit.last, limit.rule, _WHY[limit.rule]
        assert end is not None  # without a rule there is a detector, which had to answer
        if self._rule is ExtentRule.OPEN:
            return end.last, Rule.OPEN, end.reason
        went_on = end.last != side.outermost
        return end.last, Rule.AUTO_WENT_ON if went_on else Rule.AUTO_STOPPED, end.reason
