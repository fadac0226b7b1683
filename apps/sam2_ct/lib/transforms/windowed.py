"""A volume through a window, of which only what is looked at is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis, Bounds, Grid
from lib.transforms.volume import Volume
from lib.transforms.window import Window, equalise, scale


class Windowed:
    """Grey values in [0, 1].

    Args:
        volume: upright (RAS).
        window: its percentiles are those of the whole volume.

    Attributes:
        volume: as given.
        window: as given.
        limits: grey values that become 0 and 1.

    Raises:
        BadInput: the percentiles coincide.
    """

    def __init__(self, volume: Volume, window: Window) -> None:
        self.volume = volume
        self.window = window
        self.limits = window.limits(volume)
        self._equalised: dict[tuple[Axis, int], NDArray[np.float32]] = {}

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return self.volume.grid

    def part(self, bounds: Bounds, axis: Axis) -> NDArray[np.float32]:
        """A part of the volume as slices of `axis` show it: CLAHE sees whole slices.

        Args:
            bounds: first voxel and the one after the last, on the volume's grid.
            axis: the direction slices are stacked in.
        """
        if not self.window.clahe:
            return scale(self.volume.part(bounds), self.limits)
        first, stop = bounds
        part = np.empty([b - a for a, b in zip(first, stop, strict=True)], dtype=np.float32)
        dim = self.grid.dim_of(axis)
        in_plane = tuple(slice(first[d], stop[d]) for d in range(3) if d != dim)
        for plane, t in zip(np.moveaxis(part, dim, 0), range(first[dim], stop[dim]), strict=True):
            plane[...] = self._slice(axis, t)[in_plane]
        return part

    def _slice(self, axis: Axis, t: int) -> NDArray[np.float32]:
        """A whole slice, equalised; kept, since that takes longer than tracking it."""
        if (axis, t) not in self._equalised:
            dim = self.grid.dim_of(axis)
            whole = scale(self.volume.part(self.grid.slab(axis, t)), self.limits)
            equalise(whole, dim)
            self._equalised[axis, t] = np.take(whole, 0, axis=dim)
        return self._equalised[axis, t]


def unlike_ct(volume: Volume, window: Window) -> tuple[str, ...]:
    """A warning if a window in HU meets a volume that has no negative value."""
    if not window.is_ct or volume.extremes[0] < 0:
        return ()
    return (
        "the volume has no negative values, so it is probably not CT in Hounsfield "
        f"units and the window {window.describe()} may not fit it: try mr or none",
    )
