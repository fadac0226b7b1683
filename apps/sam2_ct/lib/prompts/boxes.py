"""Label maps are empty but for a small box: what is done to them is done there.

Arrays that are made here take memory only inside the box: pages of zeros that nobody has written
are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
"""A part of an array."""


def box_of(*arrays: NDArray[Any]) -> Box | None:
    """The least box that holds everything but zeros of arrays of one shape; None: all zeros."""
    boxes = [box for box in map(_box_of, arrays) if box is not None]
    if not boxes:
        return None
    return tuple(
        slice(min(s.start for s in sides), max(s.stop for s in sides))
        for sides in zip(*boxes, strict=True)
    )


def empty_like_file(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros, (…, X, Y, Z), in the order of files: slices along Z follow each other."""
    *more, x, y, z = shape
    return np.moveaxis(np.zeros((*more, z, y, x), dtype), (-1, -3), (-3, -1))


def where(test: Callable[..., NDArray[np.bool_]], *volumes: NDArray[Any]) -> NDArray[np.bool_]:
    """(X, Y, Z) bool: `test` of some arrays of that shape, asked where they are not all zero."""
    found = empty_like_file(volumes[0].shape, bool)
    box = box_of(*volumes)
    if box is not None:
        found[box] = test(*(volume[box] for volume in volumes))
    return found


def _box_of(array: NDArray[Any]) -> Box | None:
    box = [slice(0, n) for n in array.shape]
    for dim in np.argsort([-abs(s) for s in array.strides]):  # in the order of the memory
        others = tuple(d for d in range(array.ndim) if d != dim)
        filled = np.flatnonzero(array[tuple(box)].any(axis=others))
        if len(filled) == 0:
            return None
        start = box[dim].start
        box[dim] = slice(start + int(filled[0]), start + int(filled[-1]) + 1)
    return tuple(box)
