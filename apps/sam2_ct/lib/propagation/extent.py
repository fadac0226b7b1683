"""How far an object may reach beyond its prompts: what the user asks for, and what ends it.

Pure data: no torch. The engine tracks outward of an object's outermost prompted slices and tells
of every slice as `SliceSignals`; an `EndDetector` answers whether the object ends. `Extent` is
the user's choice of how that is decided.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from lib.choice import Choice
from lib.errors import BadInput
from lib.geometry import Axis, Grid

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from Python 3.11 on


class ExtentRule(Choice):
    """Who decides where an object ends along its axis."""

    AUTO = "auto"
    PAINTED = "painted"
    OPEN = "open"
    WHOLE = "whole"
    RANGE = "range"


#: The rules that a word names, the default first.
RULES = tuple(rule.value for rule in ExtentRule if rule is not ExtentRule.RANGE)


@dataclass(frozen=True)
class Extent:
    """The user's choice, for every object and both ends of each.

    `auto` decides for each end; `painted` ends at the outermost marked slices; `open` goes on
    until the object is seen to end; `whole` never looks for an end, as stock SAM 2; a range names
    the first and last slice, both inclusive, counted as in the file.

    Attributes:
        rule: which of the five.
        first: first slice of a range, None for the other rules.
        last: last slice of a range, None for the other rules.
    """

    rule: ExtentRule = ExtentRule.AUTO
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        ranged = self.rule is ExtentRule.RANGE
        if ranged != (self.first is not None) or ranged != (self.last is not None):
            raise BadInput("extent: a range has a first and a last slice, the other rules neither")
        if self.first is not None and self.last is not None and not 0 <= self.first <= self.last:
            raise BadInput(
                f"extent: slices {self.first}-{self.last} are no range, "
                "give the first and the last slice, as in 10-40"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """`auto`, `painted`, `open`, `whole`, or a range of slices such as `10-40`.

        Raises:
            BadInput: anything else.
        """
        words = str(text).strip().lower()
        if found := re.fullmatch(r"(\d+)\s*(?:-|\.\.|:)\s*(\d+)", words):
            return cls(ExtentRule.RANGE, int(found[1]), int(found[2]))
        if words in RULES:
            return cls(ExtentRule(words))
        raise BadInput(f"unknown extent {text!r}: use {', '.join(RULES)}, or slices such as 10-40")

    def on(self, axis: Axis, source: Grid, target: Grid) -> Extent:
        """The same choice where slices of `axis` are counted on another orientation or crop.

        Args:
            axis: a range counts slices of it.
            source: the grid they are counted on now.
            target: the other; a range is cut off at its edges.

        Raises:
            BadInput: the range lies outside of `source`, or of `target`.
        """
        if self.first is None or self.last is None:
            return self
        count = source.shape[source.dim_of(axis)]
        if self.last >= count:
            raise BadInput(
                f"extent {self.describe()} leaves the volume: it has {axis.value} slices "
                f"0 to {count - 1}"
            )
        moved = sorted(source.map_to(target).slices((self.first, self.last), source.dim_of(axis)))
        first, last = max(moved[0], 0), min(moved[1], target.shape[target.dim_of(axis)] - 1)
        if first > last:
            raise BadInput(f"extent {self.describe()} lies outside of what was marked: widen it")
        return replace(self, first=first, last=last)

    def describe(self) -> str:
        """The text that `parse` turns back into this value."""
        if self.rule is ExtentRule.RANGE:
            return f"{self.first}-{self.last}"
        return self.rule.value


@dataclass(frozen=True)
class SliceSignals:
    """What one tracked slice says about whether the object is still there.

    Attributes:
        t: slice index in the pseudo-video.
        object_score: logit of the object being on the slice.
        empty: the mask has no voxel.
    """

    t: int
    object_score: float
    empty: bool = False


@dataclass(frozen=True)
class End:
    """Where an object ends, and why, in words for the user.

    Attributes:
        last: the outermost slice that still belongs to the object.
        reason: a clause for the user, the end of the sentence "ends at slice N: …".
    """

    last: int
    reason: str


class EndDetector(Protocol):
    """Judges one end of one object."""

    def __call__(
        self, outward: Sequence[SliceSignals], inner: Sequence[SliceSignals], final: bool
    ) -> End | None:
        """Whether the object has ended.

        Args:
            outward: slices tracked beyond the outermost prompt so far, nearest first.
            inner: slices tracked between prompts so far, in any order; empty with one prompt.
            final: there are no more slices, so an answer is due.

        Returns:
            None: go on. Otherwise the object ends, possibly at an earlier slice than the last
            one told of (down to the prompted slice itself): what lies beyond is no part of it.
        """
        ...
