"""The volume while it is being painted, and the scanner that looks at it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.sample import shapes as sdf
from lib.sample.patient import Array, Bone, Box, Patient

Slices = tuple[slice, slice, slice]

#: Smaller pieces at the edge of the field of view get no mask of their own.
FEWEST_VOXELS = 50
#: Side of the blocks, in voxels, that are looked at before each of their voxels is.
BLOCK = 4


class Canvas:
    """The volume while it is being painted.

    Attributes:
        points: (X, Y, Z, 3) float32, each voxel's centre in the body frame.
        hu: (X, Y, Z) float32.
        labels: (X, Y, Z) uint8.
    """

    def __init__(
        self, shape: tuple[int, int, int], spacing: tuple[float, float, float], patient: Patient
    ) -> None:
        self.spacing = np.array(spacing)
        self.scale = patient.size
        # Voxel → body frame: centred in x and y, z from the bottom, turned about the middle.
        self.turn = sdf.rotation(*patient.turn)
        self.pivot = np.array([0.0, 0.0, 190.0])
        extent = (np.array(shape) - 1) * self.spacing
        self.start = np.array([-extent[0] / 2, -extent[1] / 2, 0.0])
        grid = np.indices(shape, dtype=np.float32)
        world = np.moveaxis(grid, 0, -1) * np.float32(self.spacing) + np.float32(self.start)
        middle = self.pivot * self.scale
        self.points = sdf.to_local(world, middle, self.turn) / np.float32(self.scale)
        self.points += np.float32(self.pivot)
        self.width = float(np.prod(self.spacing) ** (1 / 3)) / self.scale
        self.hu = np.full(shape, -1000, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.nearest_bone = np.full(self.hu.size, np.inf, dtype=np.float32)
        self.flat_points = self.points.reshape(-1, 3)
        self.flat_hu = self.hu.reshape(-1)
        self._everywhere = tuple(slice(0, size) for size in shape)

    def paint(self, distance: Array, hu: float) -> None:
        """Fill a solid given over the whole grid."""
        self.hu += sdf.coverage(distance, self.width) * (hu - self.hu)

    def paint_in(self, solid: Callable[..., Array], *arguments: object, hu: float) -> None:
        """Fill ``solid(points, *arguments)``, evaluated only near it."""
        where = self._near(lambda p: solid(p, *arguments), self._everywhere)
        cover = sdf.coverage(solid(self.flat_points[where], *arguments), self.width)
        self.flat_hu[where] += cover * (hu - self.flat_hu[where])

    def paint_bone(self, bone: Bone, label: int, patient: Patient) -> bool:
        """Fill a bone and label it; False if (almost) nothing of it is in the field of view."""
        box = self._box(bone.bounds)
        if box is None:
            return False
        where = self._near(bone.distance, box)
        distance = bone.distance(self.flat_points[where])
        # A millimetre of joint to bones painted before.
        distance = np.maximum(distance, 1 - self.nearest_bone[where])
        cover = sdf.coverage(distance, self.width)
        dense = sdf.coverage(-(distance + np.float32(bone.cortex)), self.width)
        density = patient.spongy + (patient.cortical - patient.spongy) * dense
        self.flat_hu[where] += cover * (density - self.flat_hu[where])
        self.nearest_bone[where] = np.minimum(self.nearest_bone[where], distance)
        inside = where[distance < 0]
        if len(inside) < FEWEST_VOXELS:
            return False
        self.labels.reshape(-1)[inside] = label
        return True

    def _near(self, distance: Callable[[Array], Array], box: Slices) -> NDArray[np.intp]:
        """Flat indices of the voxels of ``box`` in blocks that the solid may touch.

        The solid is looked at in one voxel per block first; for a thin rib in its wide box
        that saves nine tenths of the work.
        """
        step = BLOCK
        coarse = distance(self.points[box][::step, ::step, ::step])
        # From a block's first corner to its last, and a half more for distances that are only
        # approximate.
        near = coarse < 1.5 * step * float(np.linalg.norm(self.spacing)) / self.scale
        blocks = np.argwhere(near)[:, None, :] * step
        voxels = blocks + np.indices((step, step, step)).reshape(3, -1).T
        voxels = voxels.reshape(-1, 3) + [s.start for s in box]
        voxels = voxels[(voxels < [s.stop for s in box]).all(axis=1)]
        return np.ravel_multi_index(tuple(voxels.T), self.hu.shape)

    def _box(self, bounds: Box) -> Slices | None:
        """The voxels that hold a box of the body frame; None if it is out of sight."""
        corners = np.array(np.meshgrid(*np.transpose(bounds), indexing="ij")).reshape(3, -1).T
        world = (corners - self.pivot) * self.scale @ self.turn.T + self.pivot * self.scale
        index = (world - self.start) / self.spacing
        low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.hu.shape)
        return None if (low >= high).any() else tuple(map(slice, low, high))


def scan(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> NDArray[np.int16]:
    """What the scanner makes of it: spongy texture, blur, correlated noise."""
    shape = canvas.hu.shape
    bone = canvas.labels > 0
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.5)
    canvas.hu[bone] += 45 / texture.std() * texture[bone]
    blurred = ndimage.gaussian_filter(canvas.hu, (0.5, 0.5, 0.3))
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.6, 0.6, 0))
    blurred += np.float32(patient.noise / noise.std()) * noise
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)
