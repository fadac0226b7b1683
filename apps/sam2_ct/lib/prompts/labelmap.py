"""Painted slices of a label map as mask prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.boxes import box_of, where
from lib.prompts.types import Mask, PromptSet


def from_labelmap(
    labels: NDArray[Any],
    grid: Grid,
    axis: Axis = Axis.AXIAL,
    slices: Sequence[int] | None = None,
    object_ids: Sequence[int] | None = None,
) -> PromptSet:
    """Every non-empty slice along `axis` is a mask; every value is an object.

    Args:
        labels: (X, Y, Z) whole numbers, 0 = nothing marked.
        grid: where the voxels lie, any orientation.
        axis: the anatomical direction slices are stacked in.
        slices: only these, counted along that direction of the array.
        object_ids: only these values.

    Raises:
        BadInput: nothing painted, on a listed slice or for a listed object either.
    """
    masks = list(painted(labels, grid, axis, object_ids))
    if not masks:
        raise BadInput("the label map is empty: paint at least one slice")
    if slices is not None:
        wanted = {int(s) for s in slices}
        blank = wanted - {m.index for m in masks}
        if blank:
            raise BadInput(
                f"nothing is painted on {axis.value} slice {', '.join(map(str, sorted(blank)))}: "
                f"painted are {ranges({m.index for m in masks})}"
            )
        masks = [m for m in masks if m.index in wanted]
    absent = set(object_ids or ()) - {m.object_id for m in masks}
    if absent:
        raise BadInput(f"no slice of label {', '.join(map(str, sorted(absent)))} is painted")
    return PromptSet(grid, tuple(masks))


def painted(
    labels: NDArray[Any], grid: Grid, axis: Axis, object_ids: Sequence[int] | None = None
) -> Iterable[Mask]:
    """The masks of a label map, lazily; the volume is read once, then each object in its box."""
    dim = grid.dim_of(axis)
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    whole = box_of(labels)
    if whole is None:
        return
    marked = labels[whole]
    corner = [s.start for s in whole]
    for number, box in enumerate(ndimage.find_objects(marked), start=1):
        if box is None or (object_ids is not None and number not in object_ids):
            continue
        inside = np.moveaxis(marked[box] == number, dim, 0)
        box = [slice(c + s.start, c + s.stop) for c, s in zip(corner, box, strict=True)]
        plane = [s for d, s in enumerate(box) if d != dim]
        shape = tuple(n for d, n in enumerate(labels.shape) if d != dim)
        for offset in np.flatnonzero(inside.any((1, 2))):
            mask = np.zeros(shape, dtype=bool)
            mask[tuple(plane)] = inside[offset]
            yield Mask(axis, box[dim].start + int(offset), number, mask)


def filled_slices(mask: NDArray[Any], dim: int) -> set[int]:
    """Slices along `dim` on which an (X, Y, Z) mask is not empty."""
    others = tuple(d for d in range(3) if d != dim)
    return set(np.flatnonzero(mask.any(others)).tolist())


def changed_slices(current: NDArray[Any], previous: NDArray[Any], dim: int) -> set[int]:
    """Slices along `dim` on which two (X, Y, Z) masks differ."""
    return filled_slices(where(lambda a, b: (a != 0) != (b != 0), current, previous), dim)


def ranges(numbers: Iterable[int]) -> str:
    """`3, 7-9` for {3, 7, 8, 9}."""
    ordered = np.array(sorted(numbers))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)
