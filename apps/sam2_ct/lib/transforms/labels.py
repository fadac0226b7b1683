"""Label maps in the smallest type that holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput


def narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Labels as uint8, or uint16 if there are larger ones; the array itself if it is that already.

    A copy takes memory only where there are labels.

    Args:
        values: (X, Y, Z) whole numbers of any type, 0 where nothing is.

    Raises:
        BadInput: fractional, negative or too large values.
    """
    if values.dtype.kind == "f" and not all(_is_whole(plane) for plane in _planes(values)):
        raise BadInput("it has fractional values, give whole numbers")
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise BadInput(f"it has the negative value {low}")
    if high > np.iinfo(np.uint16).max:
        raise BadInput(f"it has the label {high}: use labels up to 65535")
    dtype = np.dtype(np.uint8 if high < 256 else np.uint16)
    if values.dtype == dtype:
        return values
    if values.dtype == bool:
        return values.view(np.uint8)
    labels = np.zeros(values.shape, dtype, order="F")
    for plane, own in zip(_planes(values), _planes(labels), strict=True):
        if plane.any():
            own[...] = plane
    return labels


def _planes(values: NDArray[Any]) -> NDArray[Any]:
    """Slices that follow each other in a file."""
    return np.moveaxis(values, 2, 0)


def _is_whole(plane: NDArray[Any]) -> bool:
    return bool(np.isfinite(plane).all() and (plane == np.rint(plane)).all())
