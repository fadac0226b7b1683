"""Telling whoever listens that something changed, without knowing who that is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Bell(Generic[T]):
    """Rung from any thread; a listener runs in the one that rings, so it must be quick.

    A listener takes no lock of whoever rings, who may hold it.

    Attributes:
        rung: how often.
    """

    def __init__(self) -> None:
        self.rung = 0
        self._listeners: dict[int, Callable[[T], None]] = {}
        self._lock = threading.Lock()

    def ring(self, what: T) -> None:
        """Tell every listener of `what`."""
        with self._lock:
            self.rung += 1
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener(what)

    @contextmanager
    def heard_by(self, listener: Callable[[T], None]) -> Iterator[None]:
        """Within, `listener` is told."""
        with self._lock:
            self._listeners[id(listener)] = listener
        try:
            yield
        finally:
            with self._lock:
                del self._listeners[id(listener)]
