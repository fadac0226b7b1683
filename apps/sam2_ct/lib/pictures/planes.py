"""Planes of a volume and of a result, turned as radiologists look at them.

To the right and downwards go the patient's left, back and feet: an axial plane has the patient's
right on the left and the front on top, a coronal one the head on top, a sagittal one the front on
the left. Slices are named by their index in the result's grid, which is the file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis, Grid
from lib.transforms.crop import part_of
from lib.transforms.windowed import Windowed

#: Axis of a plane → the axes along which its columns and its rows are counted.
_SEEN_ALONG = {
    Axis.AXIAL: (Axis.SAGITTAL, Axis.CORONAL),
    Axis.CORONAL: (Axis.SAGITTAL, Axis.AXIAL),
    Axis.SAGITTAL: (Axis.CORONAL, Axis.AXIAL),
}


@dataclass(frozen=True, eq=False)
class Pose:
    """How slices of `axis` of a grid are turned.

    Attributes:
        grid: of the slices.
        axis: which slices.
    """

    grid: Grid
    axis: Axis

    @property
    def across(self) -> Axis:
        """The axis that columns are counted along."""
        return _SEEN_ALONG[self.axis][0]

    @property
    def down(self) -> Axis:
        """The axis that rows are counted along."""
        return _SEEN_ALONG[self.axis][1]

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """What lies to the left, right, top and bottom: R and L, A and P, S and I."""
        # a picture begins where RAS ends
        (right, left), (bottom, top) = self.across.letters, self.down.letters
        return left, right, top, bottom

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel, mm."""
        spacing = self.grid.spacing
        return spacing[self.grid.dim_of(self.across)], spacing[self.grid.dim_of(self.down)]

    def take(self, volume: NDArray[Any], index: int) -> NDArray[Any]:
        """Slice `index` of a (X, Y, Z) volume as (rows, columns); a view."""
        dims = [self.grid.dim_of(axis) for axis in (self.axis, self.down, self.across)]
        flat = np.transpose(volume, dims)[index]
        rows, columns = (self.grid.sign_of(axis) for axis in (self.down, self.across))
        turned: NDArray[Any] = flat[::-rows, ::-columns]
        return turned

    def place(self, axis: Axis, index: float) -> float:
        """The row or column at which slice `index` of another axis lies; it may be a fraction."""
        if self.grid.sign_of(axis) < 0:
            return index
        return self.grid.shape[self.grid.dim_of(axis)] - 1 - index


def plane_of(shown: Windowed, axis: Axis, index: int, of: Grid) -> NDArray[np.float32]:
    """Slice `index` of `axis`, counted on the grid `of`: (rows, columns) in [0, 1].

    Args:
        shown: the volume, RAS; nothing but the slice becomes floating point.
        axis: which slices.
        index: which of them.
        of: the result's grid, any flip or permutation of the volume's.
    """
    (own,) = of.map_to(shown.grid).slices([index], of.dim_of(axis))
    slab = shown.grid.slab(axis, own)
    return Pose(part_of(shown.grid, slab), axis).take(shown.part(slab, axis), 0)


@dataclass(frozen=True, eq=False)
class Found:
    """The objects of a result.

    Attributes:
        labels: (X, Y, Z) label map, or (objects, X, Y, Z) bool of objects that share voxels.
        grid: the file's.
        ids: the objects; of a label map its values, else in the order of the first dimension.
    """

    labels: NDArray[Any]
    grid: Grid
    ids: Sequence[int]

    def plane(self, axis: Axis, index: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Each object on a slice: its id, and (rows, columns)."""
        pose = Pose(self.grid, axis)
        for n, object_id in enumerate(self.ids):
            if self.labels.ndim == 4:
                yield object_id, pose.take(self.labels[n], index) != 0
            else:
                yield object_id, pose.take(self.labels, index) == object_id

    @cached_property
    def areas(self) -> dict[Axis, NDArray[np.int64]]:
        """Voxels of all objects on each slice of each axis."""
        counts = tuple(np.zeros(n, dtype=np.int64) for n in self.grid.shape)
        for volume in self.labels if self.labels.ndim == 4 else (self.labels,):
            for k in range(self.grid.shape[2]):  # slice by slice: no second copy of a large map
                there = volume[..., k] != 0
                counts[0][:] += there.sum(1)
                counts[1][:] += there.sum(0)
                counts[2][k] += there.sum()
        return {axis: counts[self.grid.dim_of(axis)] for axis in Axis}


@dataclass(frozen=True)
class View:
    """A plane to be shown: slice `index` of `axis`."""

    axis: Axis
    index: int


@dataclass(frozen=True)
class Marked:
    """Slices to be pointed out, by axis."""

    prompted: Mapping[Axis, Sequence[int]] = field(default_factory=dict)
    suggested: Mapping[Axis, Sequence[int]] = field(default_factory=dict)


def cuts(found: Found, axis: Axis, *shares: float) -> list[int]:
    """Slices of `axis` up to which these shares of the objects' voxels lie; each holds some.

    Of a result without a voxel: the middle one.
    """
    area = found.areas[axis].cumsum()
    if area[-1] == 0:
        return [len(area) // 2]
    return sorted({int(np.searchsorted(area, max(1, area[-1] * share))) for share in shares})


def three_planes(found: Found) -> list[View]:
    """An axial, a coronal and a sagittal plane through the middle of the objects."""
    return [
        View(axis, cuts(found, axis, 0.5)[0]) for axis in (Axis.AXIAL, Axis.CORONAL, Axis.SAGITTAL)
    ]


def field_of_view(found: Found, least: float = 80.0) -> tuple[dict[Axis, float], float]:
    """The cube that planes show, so that all have one scale.

    Args:
        found: objects in its middle; without a voxel the whole volume.
        least: side, mm.

    Returns:
        Its middle as an index along each axis, and its side in mm: a third more than the object.
    """
    grid = found.grid
    middle, extents = {}, []
    for axis in Axis:
        dim = grid.dim_of(axis)
        there = np.flatnonzero(found.areas[axis])
        first, last = (there[0], there[-1]) if len(there) else (0, grid.shape[dim] - 1)
        middle[axis] = float(first + last) / 2
        extents.append((last + 1 - first) * grid.spacing[dim])
    return middle, max(least, 4 / 3 * float(max(extents)))
