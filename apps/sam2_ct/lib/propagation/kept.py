"""Finished work of earlier requests, found again by everything that decides its bits.

A correction re-tracks a stretch only if its key has changed; what is found is what tracking would
have said, bit for bit, because the key holds all that it depends on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.propagation.bounded import Bounded, Sized

DEFAULT_STORE_BYTES = 512 << 20


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


class Store(Bounded[str, Sized]):
    """Finished stretches and what goes with them, by their `digest_of`."""

    def __init__(self, max_bytes: int = DEFAULT_STORE_BYTES) -> None:
        super().__init__(max_bytes)


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
