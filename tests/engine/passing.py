"""Time that passes only where a test says so."""

from __future__ import annotations

from collections.abc import Callable


class Time:
    """Seconds since whenever."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def of(self, work: Callable, seconds: float = 1.0) -> Callable:
        """The same work, which takes so long."""

        def slow(*args: object, **kwargs: object) -> object:
            self.passes(seconds)
            return work(*args, **kwargs)

        return slow
