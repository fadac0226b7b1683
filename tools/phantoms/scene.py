"""A CT under construction: a grid in mm, its HU and its labels, and how a body is painted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import zoom

from lib.sample import shapes

Solid = Callable[[shapes.Points], shapes.Distance]


@dataclass(frozen=True)
class Tissue:
    """What a body is filled with, in HU: ``core`` inside, ``cortex`` in the outer ``wall`` mm.

    ``grain`` is the standard deviation of a coarse random texture of the core.
    """

    core: float
    cortex: float | None = None
    wall: float = 0.0
    grain: float = 0.0


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], knots: ArrayLike
) -> NDArray[np.float32]:
    """Random field of ``shape``, about unit variance, varying over ``shape / knots`` voxels."""
    coarse = [
        max(2, min(int(k), n))
        for k, n in zip(np.broadcast_to(knots, len(shape)), shape, strict=True)
    ]
    field_ = rng.standard_normal(coarse).astype(np.float32)
    return zoom(
        field_,
        [n / k for n, k in zip(shape, coarse, strict=True)],
        order=1,
        grid_mode=True,
        mode="nearest",
    )


@dataclass
class Scene:
    """A grid of ``shape`` voxels with ``spacing`` mm; the origin is the middle of the volume.

    Attributes:
        hu: (X, Y, Z) float32, starts as air.
        labels: (X, Y, Z) uint8, 0 is background.
        points: (X, Y, Z, 3) float32 voxel centres in mm, bent by `bend`.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    rng: np.random.Generator
    hu: NDArray[np.float32] = field(init=False)
    labels: NDArray[np.uint8] = field(init=False)
    points: NDArray[np.float32] = field(init=False)
    slack: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * s
            for n, s in zip(self.shape, self.spacing, strict=True)
        ]
        self.axes = axes
        self.points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
        self.hu = np.full(self.shape, -1000, np.float32)
        self.labels = np.zeros(self.shape, np.uint8)

    @property
    def size(self) -> NDArray[np.float64]:
        """(3,) extent of the volume in mm."""
        return np.array(self.shape) * np.array(self.spacing)

    @property
    def voxel(self) -> float:
        """Width in mm over which a surface is blurred by the voxels."""
        return float(np.mean(self.spacing))

    def bend(self, amplitude: float, length: float) -> None:
        """Bends space by up to about ``amplitude`` mm, smoothly over ``length`` mm."""
        knots = np.maximum(2, self.size / length)
        for axis in range(3):
            self.points[..., axis] += amplitude * smooth_noise(self.rng, self.shape, knots)
        self.slack += 3 * amplitude

    def window(self, lo: ArrayLike, hi: ArrayLike) -> tuple[slice, slice, slice]:
        """The voxels that can see something between the corners ``lo`` and ``hi`` (3,), in mm."""
        reach = self.slack + 2 * self.voxel
        out = []
        for axis, a, b in zip(
            self.axes, np.asarray(lo) - reach, np.asarray(hi) + reach, strict=True
        ):
            out.append(slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b))))
        return tuple(out)

    def add(
        self,
        solid: Solid,
        lo: ArrayLike,
        hi: ArrayLike,
        tissue: Tissue,
        *,
        label: int = 0,
        rough: float = 0.0,
    ) -> int:
        """Paints a body; what is labelled already keeps its voxels. Returns how many it got.

        Args:
            solid: points (..., 3) in mm → signed distance (...) in mm.
            lo: (3,) lower corner of a box around the body, mm.
            hi: (3,) upper corner.
            tissue: what it is made of.
            label: number in the label map; 0 paints HU only.
            rough: standard deviation in mm of bumps on the surface.
        """
        at = self.window(lo, hi)
        points = self.points[at]
        if points.size == 0:
            return 0
        distance = solid(points).astype(np.float32)
        if rough > 0:
            knots = np.maximum(2, np.array(distance.shape) * self.spacing / (8 * rough + 3))
            distance = distance + rough * smooth_noise(self.rng, distance.shape, knots)
        taken = self.labels[at] > 0
        cover = np.where(taken, 0, shapes.coverage(distance, self.voxel))
        value = np.float32(tissue.core)
        if tissue.grain > 0:
            knots = np.maximum(2, np.array(distance.shape) * self.spacing / 6)
            value = value + tissue.grain * smooth_noise(self.rng, distance.shape, knots)
        if tissue.cortex is not None:
            # Share of the voxel that the wall fills: a ramp in, a ramp out.
            wall = np.clip((distance + tissue.wall) / self.voxel + 0.5, 0, 1)
            value = value + (tissue.cortex - tissue.core) * wall
        hu = self.hu[at]
        hu += cover * (value - hu)
        inside = (distance < 0) & ~taken
        if label:
            self.labels[at][inside] = label
        return int(inside.sum())
