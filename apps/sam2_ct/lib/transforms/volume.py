"""A volume as its file holds it: numbers of the file's own type, and where they lie.

A CT of 800 slices is 400 MB in the int16 of its file and 800 in float32. So nothing is converted
but the part that somebody looks at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Bounds, Grid
from lib.transforms.percentiles import percentiles


@dataclass(frozen=True, eq=False)
class Volume:
    """Grey values: `slope` times what is stored, plus `intercept`.

    Attributes:
        stored: (X, Y, Z) of the file's integer type, or float32.
        grid: where the voxels lie.
        slope: 1 unless the file says otherwise.
        intercept: 0 unless the file says otherwise.
        warnings: sentences for the user.
        unturned: the same voxels in another order, if they were turned: extremes, which take a
            while, are found once for both.
    """

    stored: NDArray[Any]
    grid: Grid
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()
    unturned: Volume | None = None

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest grey value; NaN if there is one."""
        if self.unturned is not None:
            return self.unturned.extremes
        return self._ascending(float(self.stored.min()), float(self.stored.max()))

    def percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Two percentiles (0 to 100, ascending) of the grey values."""
        wanted = (low, high) if self.slope > 0 else (100 - high, 100 - low)
        return self._ascending(*percentiles(self.stored, wanted))

    def part(self, bounds: Bounds) -> NDArray[Any]:
        """Grey values of a part: a view of what is stored, or float32 where that is scaled."""
        first, stop = bounds
        return self._grey(self.stored[tuple(map(slice, first, stop))])

    @property
    def grey(self) -> NDArray[Any]:
        """All grey values; of a scaled volume this is a copy."""
        return self._grey(self.stored)

    def upright(self) -> Volume:
        """The same volume in RAS order; its voxels are a view."""
        grid = self.grid.upright()
        turned = self.grid.map_to(grid).view(self.stored)
        return replace(self, stored=turned, grid=grid, unturned=self)

    @property
    def _is_scaled(self) -> bool:
        return (self.slope, self.intercept) != (1.0, 0.0)

    def _grey(self, stored: NDArray[Any]) -> NDArray[Any]:
        if not self._is_scaled:
            return stored
        grey = stored.astype(np.float64)
        grey *= self.slope
        grey += self.intercept
        return grey.astype(np.float32)

    def _ascending(self, a: float, b: float) -> tuple[float, float]:
        if self._is_scaled:
            a, b = a * self.slope + self.intercept, b * self.slope + self.intercept
        return (b, a) if b < a else (a, b)
