"""Hypothesis strategies: grids in every orientation, crops of them, and prompts on them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, Prompt, PromptSet, in_plane_dims

SHAPES = st.tuples(*[st.integers(3, 9)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any shape, anisotropic spacing, up to 40 degrees oblique, anywhere in space."""
    shape = draw(SHAPES)
    spacing = [draw(st.floats(0.3, 6.0)) for _ in range(3)]
    angles = [draw(st.floats(-40, 40)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return _turned(Grid(shape, affine), draw(st.permutations(range(3))), draw(_flips()))


def turned(grid: Grid) -> st.SearchStrategy[Grid]:
    """The same voxels in another order: dimensions permuted and flipped."""
    return st.builds(_turned, st.just(grid), st.permutations(range(3)), _flips())


@st.composite
def crops(draw: st.DrawFn, grid: Grid) -> Grid:
    """A part of a grid, at least one voxel thick."""
    first = [draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [draw(st.integers(f + 1, n)) for f, n in zip(first, grid.shape, strict=True)]
    return _cropped(grid, first, stop)


@st.composite
def crops_around(draw: st.DrawFn, prompts: PromptSet) -> Grid:
    """A part of the prompts' grid that holds all of them."""
    low, high = (bound.tolist() for bound in prompts.bounds())
    first = [draw(st.integers(0, n)) for n in low]
    stop = [draw(st.integers(h + 1, n)) for h, n in zip(high, prompts.grid.shape, strict=True)]
    return _cropped(prompts.grid, first, stop)


@st.composite
def crops_off(draw: st.DrawFn, prompts: PromptSet) -> Grid:
    """A part of the prompts' grid that misses some of what they mark, along one dimension only."""
    low, high = (bound.tolist() for bound in prompts.bounds())
    dim = draw(st.integers(0, 2))
    first, stop = [0, 0, 0], list(prompts.grid.shape)
    ends = []
    if low[dim] + 1 < stop[dim]:
        ends.append((low[dim] + 1, stop[dim]))
    if high[dim] > 0:
        ends.append((0, high[dim]))
    first[dim], stop[dim] = draw(st.sampled_from(ends))
    return _cropped(prompts.grid, first, stop)


@st.composite
def prompt_sets(draw: st.DrawFn, grid: Grid) -> PromptSet:
    """One to four prompts of every kind."""
    return PromptSet(grid, tuple(draw(_prompt(grid)) for _ in range(draw(st.integers(1, 4)))))


@st.composite
def _prompt(draw: st.DrawFn, grid: Grid) -> Prompt:
    axis = draw(st.sampled_from(Axis))
    where = axis, draw(st.integers(0, grid.shape[grid.dim_of(axis)] - 1)), draw(st.integers(1, 3))
    rows, columns = (grid.shape[d] for d in in_plane_dims(grid, axis))
    inside = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    kind = draw(st.sampled_from(["mask", "points", "box"]))
    if kind == "mask":
        mask = np.zeros((rows, columns), dtype=bool)
        mask[tuple(np.array(draw(st.lists(inside, min_size=1, max_size=12))).T)] = True
        return Mask(*where, mask)
    if kind == "points":
        clicked = np.array(draw(st.lists(inside, min_size=1, max_size=4)), dtype=float)
        cut = draw(st.integers(0, len(clicked)))
        return Points(*where, clicked[:cut], clicked[cut:])
    corners = np.array([draw(inside), draw(inside)])
    return Box(*where, corners.min(0), corners.max(0))


def _cropped(grid: Grid, first: list[int], stop: list[int]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    x, y, z = (b - a for a, b in zip(first, stop, strict=True))
    return Grid((x, y, z), affine)


def _flips() -> st.SearchStrategy[tuple[bool, ...]]:
    return st.tuples(*[st.booleans()] * 3)


def _turned(grid: Grid, order: list[int], flips: tuple[bool, ...]) -> Grid:
    shape = [grid.shape[d] for d in order]
    move = np.zeros((4, 4))  # index of the turned grid → index of `grid`
    move[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        move[old, new] = -1 if flip else 1
        move[old, 3] = shape[new] - 1 if flip else 0
    x, y, z = shape
    return Grid((x, y, z), grid.affine @ move)
