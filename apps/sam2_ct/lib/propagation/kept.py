"""Finished work of earlier requests, found again by everything that decides its bits.

A correction re-tracks a stretch only if its key has changed; what is found is what tracking would
have said, bit for bit, because the key holds all that it depends on.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DEFAULT_STORE_BYTES = 512 << 20


class Held(Protocol):
    """Something that is kept."""

    @property
    def num_bytes(self) -> int:
        """Bytes it takes."""
        ...


@dataclass(frozen=True)
class Tracked:
    """What tracking says of the slices of a stretch, in the order they were tracked.

    A stretch that was seen to end is shorter than it was asked for.

    Attributes:
        slices: (n,) slice numbers.
        voxels: (n, X, Y) float16 logits in the slices' two dimensions.
        predicted_iou: (n,) float32, the network's estimate of its own IoU, 0 to 1.
        object_score: (n,) float32, logit of the object being on the slice.
    """

    slices: tuple[int, ...]
    voxels: NDArray[np.float16]
    predicted_iou: NDArray[np.float32]
    object_score: NDArray[np.float32]

    @property
    def num_bytes(self) -> int:
        """Bytes held."""
        return self.voxels.nbytes + self.predicted_iou.nbytes + self.object_score.nbytes

    def first(self, count: int) -> Tracked:
        """The first `count` slices."""
        return Tracked(
            self.slices[:count],
            self.voxels[:count],
            self.predicted_iou[:count],
            self.object_score[:count],
        )


class Store:
    """Values by key, least recently used first out, never above `max_bytes`.

    Safe to use from several threads.
    """

    def __init__(self, max_bytes: int = DEFAULT_STORE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: str) -> Held | None:
        """What was put under `key`, or None if it is not held."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
            return held

    def put(self, key: str, value: Held) -> None:
        """Hold a value unless it alone is too large; the oldest make room."""
        with self._lock:
            replaced = self._held.pop(key, None)
            self._bytes -= replaced.num_bytes if replaced else 0
            if value.num_bytes > self.max_bytes:
                return
            self._held[key] = value
            self._bytes += value.num_bytes
            while self._bytes > self.max_bytes:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= oldest.num_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


def digest_of(*parts: object) -> str:
    """Identity of a sequence of values; arrays count by shape, type and content."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape} {part.dtype} ".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part!r} ".encode())
    return digest.hexdigest()
