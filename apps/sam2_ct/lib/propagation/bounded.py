"""A store that never grows beyond a number of bytes: least recently used first out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that is kept."""

    @property
    def num_bytes(self) -> int:
        """Bytes it takes."""
        ...


K = TypeVar("K")
V = TypeVar("V", bound=Sized)


class Bounded(Generic[K, V]):
    """Values by key, never above `max_bytes`. Safe to use from several threads.

    Args:
        max_bytes: bound of all values together.
        keep_newest: the value last put is held even if it alone is larger; else it is not taken.
    """

    def __init__(self, max_bytes: int, *, keep_newest: bool = False) -> None:
        self.max_bytes = max_bytes
        self.keep_newest = keep_newest
        self._held: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """What was put under `key`, or None if it is not held."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
            return held

    def put(self, key: K, value: V) -> None:
        """Hold a value; the oldest make room."""
        with self._lock:
            replaced = self._held.pop(key, None)
            self._bytes -= replaced.num_bytes if replaced is not None else 0
            if value.num_bytes > self.max_bytes and not self.keep_newest:
                return
            self._held[key] = value
            self._bytes += value.num_bytes
            while self._bytes > self.max_bytes and len(self._held) > self.keep_newest:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= oldest.num_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
