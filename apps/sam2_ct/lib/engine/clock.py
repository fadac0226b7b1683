"""Seconds of named stages, of which every second lies in exactly one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class _Open:
    """A stage at work: when it began, and what of the time since belongs to stages within it."""

    stage: str
    began: float
    others: float = 0.0


class Clock:
    """Adds up the seconds spent in each named stage, in the order stages first end.

    A stage within a stage has its seconds for itself, so the sum is the time that passed.

    Args:
        now: seconds since whenever.
        began: when the first stage did; None: now.
    """

    def __init__(
        self, now: Callable[[], float] = time.perf_counter, began: float | None = None
    ) -> None:
        self._now = now
        self._began = now() if began is None else began
        self._spent: dict[str, float] = {}
        self._open: list[_Open] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside, also if it fails."""
        self._open.append(_Open(stage, self._now()))
        try:
            yield
        finally:
            done = self._open.pop()
            took = self._now() - done.began
            self._count(done.stage, took - done.others)
            if self._open:
                self._open[-1].others += took

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere; a stage that is open lasted less for them."""
        self._count(stage, seconds)
        if self._open:
            self._open[-1].others += seconds

    def rest(self, stage: str) -> None:
        """Count what has passed since the clock began and lies in no stage, while none is open.

        For waiting, which begins in one place and ends in another.
        """
        self._count(stage, self._now() - self._began - sum(self._spent.values()))

    @property
    def seconds(self) -> Mapping[str, float]:
        """Stage → seconds so far, to the millisecond; stages that are open count, too."""
        spent = dict(self._spent)
        until = self._now()
        for one in reversed(self._open):
            spent[one.stage] = spent.get(one.stage, 0.0) + until - one.began - one.others
            until = one.began
        return {stage: round(seconds, 3) for stage, seconds in spent.items()}

    def _count(self, stage: str, seconds: float) -> None:
        self._spent[stage] = self._spent.get(stage, 0.0) + seconds
