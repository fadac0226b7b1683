"""What a person marked, in one vocabulary: a mask, points or a box on one slice of one axis.

A slice of `axis` at `index` is the 2-D array left when that dimension of the volume is fixed;
its two coordinates are the remaining array dimensions in ascending order. Everything is in whole
voxels of `PromptSet.grid`; `PromptSet.on` moves a set to another orientation or crop exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Axis, Grid, VoxelMap

_MOST_POINTS = 1000
"""On a slice: the network compares each with each, and nobody clicks that often."""


@dataclass(frozen=True)
class Mask:
    """A painted slice: `mask` (rows, columns) bool over the whole slice, at least one voxel set.

    `drawn` is False for what the network made of clicks within a request: it steers tracking as a
    painted mask does, but is not sacred. Such masks are never logged.
    """

    axis: Axis
    index: int
    object_id: int
    mask: NDArray[Any]
    drawn: bool = True


@dataclass(frozen=True)
class Points:
    """Clicks on a slice: `foreground` (n, 2) and `background` (m, 2) float voxel coordinates."""

    axis: Axis
    index: int
    object_id: int
    foreground: NDArray[Any]
    background: NDArray[Any]


@dataclass(frozen=True)
class Box:
    """A rectangle on a slice: first corner `low` and last corner `high`, inclusive, (2,) voxels."""

    axis: Axis
    index: int
    object_id: int
    low: NDArray[Any]
    high: NDArray[Any]


Prompt = Mask | Points | Box


@dataclass(frozen=True)
class PromptSet:
    """All prompts of a request on one voxel grid, sorted by object, axis and slice.

    Raises:
        BadInput: empty set, a prompt outside the grid, an empty mask.
    """

    grid: Grid
    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if not self.prompts:
            raise BadInput("no prompt: mark at least one slice with a mask, points or a box")
        for prompt in self.prompts:
            _check(prompt, self.grid)
        order = {a: n for n, a in enumerate((Axis.AXIAL, Axis.CORONAL, Axis.SAGITTAL))}
        ordered = sorted(self.prompts, key=lambda p: (p.object_id, order[p.axis], p.index))
        object.__setattr__(self, "prompts", tuple(ordered))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in ascending order."""
        return tuple(sorted({p.object_id for p in self.prompts}))

    def select(self, object_id: int | None = None, axis: Axis | None = None) -> tuple[Prompt, ...]:
        """Prompts of one object and/or one axis, in slice order; may be empty."""
        return tuple(
            p
            for p in self.prompts
            if (object_id is None or p.object_id == object_id) and (axis is None or p.axis is axis)
        )

    def only(self, *object_ids: int) -> PromptSet:
        """The prompts of some objects.

        Raises:
            BadInput: they have none.
        """
        return replace(self, prompts=tuple(p for p in self.prompts if p.object_id in object_ids))

    def bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """First and last voxel, (3,) int each, inclusive, of everything that was marked."""
        lows, highs = zip(*(_bounds(p, self.grid) for p in self.prompts), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def on(self, grid: Grid) -> PromptSet:
        """The same prompts on another orientation or crop of the volume.

        Raises:
            BadInput: the grids differ by more than whole voxels, or a prompt falls outside.
        """
        voxels = self.grid.map_to(grid)
        return PromptSet(grid, tuple(_move(p, self.grid, grid, voxels) for p in self.prompts))

    def renamed(self, ids: Mapping[int, int]) -> PromptSet:
        """These prompts, objects under other ids; those not named keep theirs."""
        renamed = (replace(p, object_id=ids.get(p.object_id, p.object_id)) for p in self.prompts)
        return replace(self, prompts=tuple(renamed))

    def merged(self, more: Iterable[Prompt]) -> PromptSet:
        """This set and `more` prompts on the same grid."""
        return replace(self, prompts=(*self.prompts, *more))


def in_plane_dims(grid: Grid, axis: Axis) -> tuple[int, int]:
    """The two array dimensions of a slice of `axis`, ascending."""
    first, second = (d for d in range(3) if d != grid.dim_of(axis))
    return first, second


def lift(coordinates: NDArray[Any], grid: Grid, axis: Axis, index: int) -> NDArray[Any]:
    """(n, 2) slice coordinates → (n, 3) voxel indices of the volume."""
    coordinates = np.asarray(coordinates, dtype=np.float64).reshape(-1, 2)
    ijk = np.empty((len(coordinates), 3))
    ijk[:, grid.dim_of(axis)] = index
    ijk[:, list(in_plane_dims(grid, axis))] = coordinates
    return ijk


def _check(prompt: Prompt, grid: Grid) -> None:
    count = grid.shape[grid.dim_of(prompt.axis)]
    if not 0 <= prompt.index < count:
        raise BadInput(
            f"a prompt lies outside the volume: {prompt.axis.value} slice {prompt.index}, "
            f"the volume has slices 0 to {count - 1}"
        )
    plane = tuple(grid.shape[d] for d in in_plane_dims(grid, prompt.axis))
    where = f"{prompt.axis.value} slice {prompt.index}"
    if isinstance(prompt, Mask):
        if prompt.mask.shape != plane:
            raise BadInput(f"the mask on {where} has shape {prompt.mask.shape}, expected {plane}")
        if not prompt.mask.any():
            raise BadInput(f"the mask on {where} is empty: paint it or leave it out")
        return
    marked = (
        np.concatenate([prompt.foreground, prompt.background])
        if isinstance(prompt, Points)
        else np.stack([prompt.low, prompt.high])
    )
    if len(marked) == 0:
        raise BadInput(f"no point on {where}: click at least once")
    if len(marked) > _MOST_POINTS:
        raise BadInput(f"{len(marked)} points on {where}: give {_MOST_POINTS} at most")
    if not np.isfinite(marked).all() or (marked < 0).any() or (marked > np.array(plane) - 1).any():
        raise BadInput(
            f"a prompt lies outside the volume: {marked.tolist()} on {where} of size {plane}"
        )
    if isinstance(prompt, Box) and (prompt.high < prompt.low).any():
        raise BadInput(f"the box on {where} has no extent: {marked.tolist()}")


def _bounds(prompt: Prompt, grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(prompt, Mask):
        marked = np.argwhere(prompt.mask)
    elif isinstance(prompt, Points):
        marked = np.concatenate([prompt.foreground, prompt.background])
    else:
        marked = np.stack([prompt.low, prompt.high])
    ijk = lift(marked, grid, prompt.axis, prompt.index)
    return np.floor(ijk.min(0)).astype(int), np.ceil(ijk.max(0)).astype(int)


def _move(prompt: Prompt, source: Grid, target: Grid, voxels: VoxelMap) -> Prompt:
    dim = target.dim_of(prompt.axis)
    plane = list(in_plane_dims(target, prompt.axis))

    def move(coordinates: NDArray[Any]) -> NDArray[Any]:
        return voxels.points(lift(coordinates, source, prompt.axis, prompt.index))[:, plane]

    anchor = voxels.points(lift(np.zeros((1, 2)), source, prompt.axis, prompt.index))[0]
    index = round(float(anchor[dim]))
    if isinstance(prompt, Points):
        fore, back = move(prompt.foreground), move(prompt.background)
        return replace(prompt, index=index, foreground=fore, background=back)
    if isinstance(prompt, Box):
        corners = move(np.stack([prompt.low, prompt.high]))
        return replace(prompt, index=index, low=corners.min(0), high=corners.max(0))
    marked = np.rint(move(np.argwhere(prompt.mask))).astype(int)
    shape = tuple(target.shape[d] for d in plane)
    if not ((marked >= 0) & (marked < shape)).all():
        raise BadInput(f"the mask on {prompt.axis.value} slice {prompt.index} leaves the volume")
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(marked.T)] = True
    return replace(prompt, index=index, mask=mask)
