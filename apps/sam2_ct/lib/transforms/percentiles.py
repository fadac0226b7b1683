"""Percentiles of large arrays of integers, by counting: no copy, and no other thread waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_VALUES = 1 << 20
"""Of a wider range of integers, and of floats, numpy sorts a copy."""

_SLAB = 1 << 16  # voxels


def percentiles(values: NDArray[Any], wanted: Sequence[float]) -> list[float]:
    """What `np.percentile(values, wanted)` gives (linear interpolation), to the last bit.

    Args:
        values: any shape and real type, not empty.
        wanted: percentages, 0 to 100.
    """
    if values.dtype.kind not in "iu":
        return [float(v) for v in np.percentile(values, wanted)]
    low, high = int(values.min()), int(values.max())
    if high - low >= _MOST_VALUES:
        return [float(v) for v in np.percentile(values, wanted)]
    counts = np.zeros(high - low + 1, dtype=np.int64)
    for slab in slabs(values, _SLAB):
        above = np.subtract(slab, low, dtype=np.int64)
        counts += np.bincount(above.ravel(order="K"), minlength=len(counts))
    upto = counts.cumsum()

    def at(rank: int) -> float:
        """The value of that rank, from 0, among all in ascending order."""
        return float(low + int(np.searchsorted(upto, rank, side="right")))

    found = []
    for percentage in wanted:
        place = (values.size - 1) * (percentage / 100)
        rank = int(place)
        share = place - rank
        a, b = at(rank), at(min(rank + 1, values.size - 1))
        # from the nearer end, as numpy does
        found.append(a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share))
    return found


def slabs(values: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """Views that together are the array, in the order of its memory, of about `size` elements."""
    turned = values.transpose(np.argsort([-abs(s) for s in values.strides], kind="stable"))
    step = max(1, size * len(turned) // turned.size)
    for start in range(0, len(turned), step):
        yield turned[start : start + step]
