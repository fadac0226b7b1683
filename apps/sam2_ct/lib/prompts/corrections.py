"""Which painted slices of a segment count as prompts, decided on sets of slice numbers alone."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from lib.errors import BadInput

Choice = str | tuple[int, ...]
"""The option `prompt_slices`: `auto`, `changed`, `all`, or slice numbers."""

_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Canvas:
    """What is known of a segment's slices, numbers along one axis.

    Attributes:
        painted: slices that are not empty now.
        filled: slices the last run returned filled; None: there was no run.
        prompted: slices that were prompts of that run.
        differs: slices that are not as that run returned them.
        wiped: slices that were wiped before that run.
    """

    painted: Set[int]
    filled: Set[int] | None = None
    prompted: Set[int] = _NONE
    differs: Set[int] = _NONE
    wiped: Set[int] = _NONE

    @property
    def tracked(self) -> Set[int]:
        """What the run added to its prompts."""
        return (self.filled or _NONE) - self.prompted

    @property
    def is_its_result(self) -> bool:
        """Some tracked slice is as it was: this is that result, corrected."""
        return bool(self.tracked - self.differs)


@dataclass(frozen=True)
class Decision:
    """What becomes of the slices.

    Attributes:
        kept: earlier prompts that stay, as they were given.
        new: slices whose painting is a prompt.
        wiped: slices the annotator emptied: the object is not there. Beyond the outermost prompt
            they end it, between prompts they stay empty.
    """

    kept: frozenset[int] = _NONE
    new: frozenset[int] = _NONE
    wiped: frozenset[int] = _NONE


def decide(canvas: Canvas, choice: Choice) -> Decision:
    """Which slices are prompts.

    - `all`: every painted one;
    - `changed`: those that differ from the last result, together with its prompts on the others
      (a segment that a run has filled keeps what was drawn before). A prompt that was emptied is
      withdrawn; any other slice that was is wiped;
    - `auto`: `changed` if the segment is the last result, corrected; `all` if there was no run, or
      if the annotator began anew;
    - numbers: these.

    Raises:
        BadInput: nothing that counts is painted.
    """
    if choice == "auto":
        return _auto(canvas)
    if choice == "changed":
        return _changed(canvas)
    if choice == "all":
        return Decision(new=frozenset(canvas.painted))
    return _listed(canvas, {int(number) for number in choice})


def _auto(canvas: Canvas) -> Decision:
    begun_anew = bool(canvas.tracked) and not canvas.is_its_result
    if canvas.filled is None or begun_anew:
        return Decision(new=frozenset(canvas.painted))
    return _changed(canvas)


def _changed(canvas: Canvas) -> Decision:
    if canvas.filled is None:
        raise BadInput("no earlier result to compare with: set prompt_slices to all or auto")
    kept = (canvas.prompted - canvas.differs) & canvas.painted
    new = canvas.painted & canvas.differs
    if not kept and not new:
        raise BadInput("nothing was painted since the last result: paint or correct a slice")
    emptied = ((canvas.differs - canvas.prompted) | canvas.wiped) - canvas.painted
    return Decision(
        frozenset(kept), frozenset(new), frozenset(emptied) if canvas.is_its_result else _NONE
    )


def _listed(canvas: Canvas, wanted: Set[int]) -> Decision:
    blank = wanted - canvas.painted
    if blank:
        raise BadInput(f"it is empty on slice {min(blank)}: paint it there")
    return Decision(new=frozenset(wanted))
