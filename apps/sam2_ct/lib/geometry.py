"""Voxel grids and anatomical axes: where a voxel of one array lies in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.choice import Choice
from lib.errors import BadInput

Bounds = tuple[NDArray[Any], NDArray[Any]]
"""First voxel and the one after the last, (3,) int each."""

# Half a voxel is where an index would be rounded to its neighbour. Affines stored as quaternions
# or text are off by a few hundredths at the far corner.
_TOLERANCE = 0.25


class Axis(Choice):
    """The direction slices are stacked in; `dim` is its array dimension in a RAS volume."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"

    @property
    def dim(self) -> int:
        """Dimension of a RAS array: 0 left→right, 1 posterior→anterior, 2 foot→head."""
        return {"sagittal": 0, "coronal": 1, "axial": 2}[self.value]

    @property
    def letters(self) -> tuple[str, str]:
        """What lies at the first and at the last slice of a RAS volume."""
        return {"sagittal": ("L", "R"), "coronal": ("P", "A"), "axial": ("I", "S")}[self.value]


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape (3,) of a volume and its (4, 4) float64 affine, voxel index → world mm (RAS+)."""

    shape: tuple[int, int, int]
    affine: NDArray[Any]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.asarray(self.affine, dtype=np.float64)
        if len(shape) != 3 or affine.shape != (4, 4):
            raise BadInput(f"a volume has three dimensions, this one has shape {shape}")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise BadInput("the volume's affine is singular or not finite: repair its header")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along each array dimension."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def bounds(self) -> Bounds:
        """All of it."""
        return np.zeros(3, dtype=int), np.array(self.shape)

    def slab(self, axis: Axis, index: int) -> Bounds:
        """One slice, counted along `axis`."""
        first, stop = self.bounds
        dim = self.dim_of(axis)
        first[dim], stop[dim] = index, index + 1
        return first, stop

    def dim_of(self, axis: Axis) -> int:
        """Array dimension that runs most nearly along `axis`."""
        return int(np.flatnonzero(self._orientation[:, 0] == axis.dim)[0])

    def axis_of(self, dim: int) -> Axis:
        """Inverse of `dim_of`."""
        world = int(self._orientation[dim, 0])
        return next(a for a in Axis if a.dim == world)

    def sign_of(self, axis: Axis) -> int:
        """1 where indices along `axis` grow to the right, the front or the head, else −1."""
        return int(self._orientation[self.dim_of(axis), 1])

    def upright(self) -> Grid:
        """The grid of the same voxels permuted and flipped to run right, forward and up (RAS)."""
        import nibabel as nib

        turned = nib.orientations.inv_ornt_aff(self._orientation, self.shape)
        a, b, c = (self.shape[self.dim_of(axis)] for axis in Axis)
        return Grid((a, b, c), self.affine @ turned)

    def same_as(self, other: Grid) -> bool:
        """Whether both grids put every voxel in the same place, to a quarter of a voxel."""
        return self.shape == other.shape and self._drift(other, np.eye(4)) <= _TOLERANCE

    def map_to(self, other: Grid) -> VoxelMap:
        """How voxel indices here become indices of `other`, a flip, permutation or crop of this.

        Raises:
            BadInput: the grids are not related by whole voxels.
        """
        whole = np.rint(np.linalg.inv(other.affine) @ self.affine)
        linear = np.abs(whole[:3, :3])
        is_permutation = (linear.sum(0) == 1).all() and (linear.sum(1) == 1).all()
        if not is_permutation or self._drift(other, whole) > _TOLERANCE:
            raise BadInput(
                "prompts and volume lie on different grids: resample the prompts onto the CT first"
            )
        return VoxelMap(whole.astype(int))

    @cached_property
    def _orientation(self) -> NDArray[Any]:
        """For each array dimension, the world's nearest and the direction."""
        import nibabel as nib  # costs more than all that a command's options need

        return nib.io_orientation(self.affine)

    def _drift(self, other: Grid, expected: NDArray[Any]) -> float:
        """Voxels of `other` by which a corner at most misses where `expected` (4, 4) puts it."""
        off = np.linalg.inv(other.affine) @ self.affine - expected
        last = np.asarray(self.shape, dtype=float) - 1
        corners = np.array(np.meshgrid(*zip(np.zeros(3), last, strict=True))).reshape(3, -1)
        return float(np.abs(off[:3, :3] @ corners + off[:3, 3:]).max())


@dataclass(frozen=True, eq=False)
class VoxelMap:
    """(4, 4) integer matrix from one grid's indices to another's: permutation, flips, shift."""

    matrix: NDArray[Any]

    def points(self, ijk: NDArray[Any]) -> NDArray[Any]:
        """Move (n, 3) voxel indices, whole or fractional."""
        ijk = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
        return ijk @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def dim(self, dim: int) -> int:
        """The dimension that `dim` becomes."""
        return int(np.flatnonzero(self.matrix[:3, dim])[0])

    def slices(self, indices: Sequence[int], dim: int) -> list[int]:
        """Move slice indices along `dim`; they may come to lie outside the other grid."""
        ijk = np.zeros((len(indices), 3))
        ijk[:, dim] = indices
        return np.rint(self.points(ijk)[:, self.dim(dim)]).astype(int).tolist()

    def view(self, values: NDArray[Any]) -> NDArray[Any]:
        """A 3-D array permuted and flipped, a view; not cropped."""
        moved = np.transpose(values, self._order)
        flips = [self.matrix[row, dim] < 0 for row, dim in enumerate(self._order)]
        return moved[tuple(slice(None, None, -1 if flip else None) for flip in flips)]

    def array(
        self, values: NDArray[Any], shape: tuple[int, int, int], fill: float = 0
    ) -> NDArray[Any]:
        """Carry a 3-D array over: permute, flip, then crop or pad with `fill` to `shape`."""
        moved = self.view(values)
        start = self.matrix[:3, 3].copy()
        for row, dim in enumerate(self._order):
            if self.matrix[row, dim] < 0:
                start[row] -= moved.shape[row] - 1
        # of zeros, what is not written takes no memory
        out = np.zeros(shape, values.dtype) if fill == 0 else np.full(shape, fill, values.dtype)
        low = np.maximum(start, 0)
        high = np.minimum(start + moved.shape, shape)
        if (high > low).all():
            into = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            src = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            out[into] = moved[src]
        return out

    @property
    def _order(self) -> list[int]:
        """The dimension that each of the other grid's comes from."""
        return [int(np.flatnonzero(self.matrix[row, :3])[0]) for row in range(3)]
