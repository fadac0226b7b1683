"""Seconds of named stages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Adds up the seconds spent in each named stage, in the order stages first come."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside, also if it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self._spent[stage] = self._spent.get(stage, 0.0) + seconds

    @property
    def seconds(self) -> Mapping[str, float]:
        """Stage → seconds so far, to the millisecond."""
        return {stage: round(spent, 3) for stage, spent in self._spent.items()}
