"""The runs of the network that a recipe needs: which objects share a crop, what stands alone.

Small objects lose their pixels in a crop that holds large ones: a rib that fills a crop of 30 × 50
voxels alone is four pixels wide among the mask logits of one of 122 × 101. So objects share a crop,
and with it the encoded slices, only where that costs no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lib.configs.options import Settings
from lib.engine.recipe import Recipe
from lib.geometry import Axis, Bounds, Grid
from lib.prompts.types import Points, PromptSet, in_plane_dims
from lib.propagation.extent import Extent, ExtentRule
from lib.propagation.inferer import Progress
from lib.propagation.input_size import MASK_STRIDE
from lib.propagation.settings import Propagation
from lib.transforms.crop import bounds_for, move_bounds


@dataclass(frozen=True)
class Piece:
    """A part of a recipe that is one run of the network.

    Attributes:
        prompts: on the file's grid.
        settings: what to do with them.
        roi: first voxel and the one after the last, or None.
        crop: exactly this part is seen; None: what prompts or `roi` say.
    """

    prompts: PromptSet
    settings: Settings
    roi: Bounds | None
    crop: Bounds | None = None


def pieces_of(recipe: Recipe, volume: Grid, image_size: int) -> list[Piece]:
    """The runs of a recipe.

    Args:
        recipe: what is to be done.
        volume: the oriented volume that crops are cut from.
        image_size: side of the network's input, pixels.

    Raises:
        BadInput: a prompt lies outside the region of interest or the volume.
    """
    if recipe.each_slice_alone:
        return _slices_alone(recipe)
    if recipe.crop is not None:
        return [Piece(recipe.prompts, recipe.settings, None, recipe.crop)]
    grid, axes = recipe.prompts.grid, recipe.settings.engine().axes
    alone = {
        i: bounds_for(recipe.prompts.only(i), volume, axes, recipe.roi)
        for i in recipe.prompts.object_ids
    }

    def pixel(ids: Sequence[int]) -> float:
        return logit_pixel(_hull([alone[i] for i in ids]), volume, axes, image_size)

    voxel = min(volume.spacing[d] for axis in axes for d in in_plane_dims(volume, axis))
    pieces = []
    for group in share_crops(recipe.prompts.object_ids, pixel, voxel):
        own = recipe.prompts.only(*group)
        clicked = any(isinstance(p, Points) for p in own.prompts)
        crop = None
        # the crop around a click is known only once it was looked at closer
        if len(group) > 1 and recipe.roi is None and not clicked:
            crop = move_bounds(_hull([alone[i] for i in group]), volume, grid)
        pieces.append(Piece(own, recipe.settings, recipe.roi, crop))
    return pieces


def _hull(boxes: Sequence[Bounds]) -> Bounds:
    """The smallest crop that holds them all: what each needs, and little that is new to it."""
    return np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)


def share_crops(
    ids: Sequence[int], pixel: Callable[[Sequence[int]], float], voxel: float
) -> list[tuple[int, ...]]:
    """Objects that share a crop, each group as large as it may be, in the order they are named.

    The rule: on the shared crop the pixel of the mask logits is no coarser than a voxel, or than
    it is on the crop of the object alone.

    Args:
        ids: the objects.
        pixel: objects → mm of a logit pixel on the crop that holds them all.
        voxel: mm of the finest voxel side in the slices.
    """
    alone = {i: pixel([i]) for i in ids}
    groups: list[tuple[int, ...]] = []
    for i in ids:
        for n, group in enumerate(groups):
            together = (*group, i)
            if pixel(together) <= max(voxel, min(alone[j] for j in together)) + 1e-9:
                groups[n] = together
                break
        else:
            groups.append((i,))
    return groups


def logit_pixel(box: Bounds, grid: Grid, axes: Sequence[Axis], image_size: int) -> float:
    """Side in mm of a pixel of the mask logits on a crop; the coarsest of the axes.

    Args:
        box: first voxel and the one after the last of the crop, on `grid`.
        grid: of the volume.
        axes: the directions slices are stacked in.
        image_size: side of the network's input, pixels.
    """
    extent = (np.asarray(box[1]) - box[0]) * np.array(grid.spacing)
    side = max(float(extent[list(in_plane_dims(grid, axis))].max()) for axis in axes)
    return side * MASK_STRIDE / image_size


class ProgressOfAll:
    """Progress of pieces that run one after the other, told as that of one run.

    Args:
        progress: told of the whole.
        pieces: how many there are.
    """

    def __init__(self, progress: Progress, pieces: int) -> None:
        self.progress = progress
        self.left = pieces
        self._before = 0
        self._last = 0

    def next(self) -> Progress:
        """Progress of the next piece; those to come are taken to be as long."""
        self._before += self._last
        self._last = 0
        self.left -= 1
        return self._told

    def _told(self, done: int, expected: int) -> None:
        self._last = done
        self.progress(self._before + done, self._before + expected * (1 + self.left))


def _slices_alone(recipe: Recipe) -> list[Piece]:
    """A run for each prompted slice, on that slice only; in plane the ROI, or everything."""
    grid = recipe.prompts.grid
    settings = replace(
        recipe.settings,
        propagation=Propagation.SINGLE,
        carry=False,
        extent=Extent(ExtentRule.WHOLE),
    )
    where = sorted({(p.axis, p.index) for p in recipe.prompts.prompts}, key=lambda w: w[1])
    pieces = []
    for axis, index in where:
        here = tuple(p for p in recipe.prompts.prompts if (p.axis, p.index) == (axis, index))
        first, stop = recipe.roi or grid.bounds
        first, stop = np.array(first), np.array(stop)
        dim = grid.dim_of(axis)
        first[dim], stop[dim] = index, index + 1
        pieces.append(Piece(PromptSet(grid, here), replace(settings, axis=axis), (first, stop)))
    return pieces
