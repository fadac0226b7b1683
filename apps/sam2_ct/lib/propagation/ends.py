"""Seeing where an object ends: the object score against what it is where the object surely is.

SAM 2 gives every slice an object score, a logit. Its sign says little (absence is rare in what
SAM 2 is trained on), its height against the scores between the prompts ranks slices well, whatever
the checkpoint. So a slice counts for or against the object by

    evidence(t) = 5 · (score(t) / usual score − 0.65),

and the object ends where the sum of evidence outward of the outermost prompt is largest: the
likeliest single change from present to absent. Under `auto` the sum starts with a handicap for
going on at all, and pays, ever more, for every stretch beyond the first, because people who mark
several slices spread them over the object. Constants were chosen on phantoms; `sam2-ct evaluate run
--table extent` has the figures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

from lib.errors import BadInput
from lib.propagation.extent import End, Extent, ExtentRule, SliceSignals
from lib.propagation.records import Rule

SLOPE = 5.0
PRESENT = 0.65
"""Share of the usual object score from which on a slice speaks for the object."""

CLOSEST = 2
"""With one prompt the usual score is that of this many slices next to it."""

HOPELESS = 6.0
"""Evidence against the object after which tracking stops."""

DOUBT = 1.0
"""Evidence needed to go beyond the outermost of several marked slices at all …"""

CAP_DOUBT = 2.0
"""… and more of it if that slice looks like a cap:"""

CAP = 0.25
"""area below this share of the largest painted slice."""

FAR = 6.0
"""Going on for x > 1 stretches, as long as the longest between prompts, costs FAR x (x − 1).

More than in proportion, because a slice of a neighbour is as sure as any: evidence for a look-alike
grows with every slice of it, without end.
"""


@dataclass(frozen=True)
class Limit:
    """How far one object may be followed on one side.

    Attributes:
        last: outermost slice it may be on.
        rule: why not further; None: that is the last slice of the volume, and a detector decides
            where before it the object ends.
    """

    last: int
    rule: Rule | None


def limits(
    extent: Extent, prompted: Collection[int], wiped: Collection[int], num_slices: int
) -> tuple[Limit, Limit]:
    """What the user's word leaves of the volume for one object, below and above its prompts.

    A slice that was wiped beyond the outermost prompt ends the object there, whatever the rule.

    Args:
        extent: the user's choice; a range counts slices of the same pseudo-video.
        prompted: slices with a prompt, at least one.
        wiped: slices the annotator emptied.
        num_slices: length of the pseudo-video.

    Raises:
        BadInput: a marked slice lies outside the range.
    """
    first, last = min(prompted), max(prompted)
    if extent.first is not None and extent.last is not None:  # a range
        if first < extent.first or last > extent.last:
            outside = first if first < extent.first else last
            raise BadInput(
                f"slice {outside} is marked but lies outside the extent {extent.describe()}: "
                "widen it or take the mark away"
            )
        low, high = (
            Limit(extent.first, Rule.RANGE),
            Limit(min(extent.last, num_slices - 1), Rule.RANGE),
        )
    elif extent.rule is ExtentRule.WHOLE:
        low, high = Limit(0, Rule.VOLUME), Limit(num_slices - 1, Rule.VOLUME)
    elif extent.rule is ExtentRule.PAINTED:
        low, high = Limit(first, Rule.PAINTED), Limit(last, Rule.PAINTED)
    else:
        low, high = Limit(0, None), Limit(num_slices - 1, None)
    below = max((t + 1 for t in wiped if t < first), default=0)
    above = min((t - 1 for t in wiped if t > last), default=num_slices - 1)
    if below > low.last:
        low = Limit(below, Rule.WIPED)
    if above < high.last:
        high = Limit(above, Rule.WIPED)
    return low, high


@dataclass(frozen=True)
class ChangePoint:
    """The `EndDetector` for one end of one object.

    Attributes:
        outermost: the outermost prompted slice on this side.
        stretch: slices of the longest stretch between prompts; None: how far the object may reach
            beyond is not limited by the prompts.
        doubt: evidence needed to go on beyond `outermost`.
    """

    outermost: int
    stretch: float | None = None
    doubt: float = 0.0

    def __call__(
        self, outward: Sequence[SliceSignals], inner: Sequence[SliceSignals], final: bool
    ) -> End | None:
        """See `EndDetector`."""
        usual = _usual_score(outward, inner)
        sums = list(accumulate((_evidence(s, usual) for s in outward), initial=0.0))
        sums = [total - self._price(n) for n, total in enumerate(sums)]
        best = max(range(len(sums)), key=sums.__getitem__)
        if not final and sums[-1] > sums[best] - HOPELESS:
            return None
        if best == 0:
            return End(self.outermost, self._why_not_beyond(sums))
        if best == len(outward):
            return End(outward[-1].t, "found up to the last slice there is")
        return End(outward[best - 1].t, "on the slices beyond, the network no longer finds it")

    def _price(self, slices: int) -> float:
        if slices == 0:
            return 0.0
        further = 0.0 if self.stretch is None else slices / self.stretch
        return self.doubt + FAR * further * max(0.0, further - 1)

    def _why_not_beyond(self, sums: Sequence[float]) -> str:
        if len(sums) > 1 and max(sums[1:]) > -self.doubt:
            return "the outermost marked slice; it may go on, mark a slice further out if it does"
        return "the outermost marked slice; the network does not find it beyond"


def end_detector(
    rule: ExtentRule, prompted: Sequence[int], areas: Mapping[int, float], outermost: int
) -> ChangePoint:
    """The detector for the end beyond `outermost`, under `auto` or `open`.

    Args:
        rule: `auto` or `open`; the other two need no detector.
        prompted: slices with a prompt.
        areas: area of each painted mask by slice, in any unit; slices that were only clicked on
            or boxed are left out.
        outermost: first or last of `prompted`.
    """
    if rule is ExtentRule.OPEN or len(prompted) < 2:
        # one marked slice says nothing about the extent: in doubt the object goes on
        return ChangePoint(outermost)
    is_cap = outermost in areas and areas[outermost] <= CAP * max(areas.values())
    longest = max(b - a for a, b in pairwise(sorted(prompted)))
    return ChangePoint(outermost, longest, DOUBT + CAP_DOUBT * is_cap)


def _usual_score(outward: Sequence[SliceSignals], inner: Sequence[SliceSignals]) -> float:
    """The object score where the object surely is; above zero."""
    sure = [s.object_score for s in inner] or [s.object_score for s in outward[:CLOSEST]]
    return max(median(sure), 0.01) if sure else 1.0


def _evidence(signals: SliceSignals, usual: float) -> float:
    share = 0.0 if signals.empty else signals.object_score / usual
    return SLOPE * (min(max(share, -1.0), 1.5) - PRESENT)
