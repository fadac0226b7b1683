"""Slices an annotator emptied: the object is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis, Grid
from lib.prompts.boxes import empty_like_file


@dataclass(frozen=True)
class Wiped:
    """Slices of one axis, counted as on the grid of the prompts, that one object is not on."""

    object_id: int
    axis: Axis
    slices: frozenset[int]

    def on(self, source: Grid, target: Grid) -> Wiped:
        """The same slices counted on another orientation or crop; those outside it are left out.

        Args:
            source: the grid they are counted on now.
            target: the other.
        """
        moved = source.map_to(target).slices(sorted(self.slices), source.dim_of(self.axis))
        length = target.shape[target.dim_of(self.axis)]
        return replace(self, slices=frozenset(t for t in moved if 0 <= t < length))


def as_voxels(wiped: Iterable[Wiped], grid: Grid) -> NDArray[Any]:
    """(X, Y, Z) bool: every voxel of the slices that were wiped."""
    voxels = empty_like_file(grid.shape, bool)
    for one in wiped:
        np.moveaxis(voxels, grid.dim_of(one.axis), 0)[sorted(one.slices)] = True
    return voxels
