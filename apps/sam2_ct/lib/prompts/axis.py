"""The axis that slices were painted on, where nobody names it; and a check where somebody does."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.labelmap import filled_slices, ranges


def narrowest(grid: Grid, *marked: NDArray[Any]) -> Axis:
    """The axis along which one of some (X, Y, Z) masks marks the fewest slices.

    If that is even, the third dimension of the file wins, then the second.
    """
    counts = {dim: min(len(filled_slices(m, dim)) for m in marked) for dim in (2, 1, 0)}
    return grid.axis_of(min(counts, key=lambda dim: counts[dim]))


def painted_axis(asked: Axis | None, painted: NDArray[Any], grid: Grid) -> Axis:
    """The axis of painted slices: the one that was asked for, or that they were painted on.

    Args:
        asked: None: find out.
        painted: (X, Y, Z) bool, everything that was painted.
        grid: of `painted`.

    Raises:
        BadInput: single slices were painted on another axis than the one asked for, on which they
            are mere lines.
    """
    found = narrowest(grid, painted)
    if asked is None or found is asked:
        return found
    slices = sorted(filled_slices(painted, grid.dim_of(found)))
    others = filled_slices(painted, grid.dim_of(asked))
    single = len(slices) == 1 or slices[-1] - slices[0] >= len(slices)
    if single and len(others) > len(slices):
        raise BadInput(
            f"what is painted are {found.value} slices ({ranges(slices)}), and on the "
            f"{asked.value} axis mere lines: choose the axis {found.value}, or auto"
        )
    return asked
