"""A simulated annotator: prompts taken from a ground-truth mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, PromptSet

STRATEGIES = ("middle", "first-last", "first-middle-last", "uniform-N", "inner-N")


def positions(occupied: NDArray[Any], strategy: str) -> list[int]:
    """The slices a strategy marks, ascending, without duplicates.

    Args:
        occupied: (n,) bool, the slices the object is on.
        strategy: `middle` (of the range), `first-last`, `first-middle-last`, `uniform-N`: N
            positions evenly spaced over the range, both ends included (1 is the middle), or
            `inner-N`: N evenly spaced inside it, at 25, 50 and 75 % for three. A position on an
            empty slice moves to the nearest one that is not, the lower if two are.

    Raises:
        BadInput: unknown strategy, or the object is on no slice.
    """
    named = {"middle": "inner-1", "first-last": "uniform-2", "first-middle-last": "uniform-3"}
    kind, _, number = named.get(strategy, str(strategy)).rpartition("-")
    if kind not in ("uniform", "inner") or not number.isdecimal() or int(number) < 1:
        raise BadInput(f"unknown prompt strategy {strategy!r}: use {', '.join(STRATEGIES)}")
    count = int(number)
    slices = np.flatnonzero(occupied)
    if len(slices) == 0:
        raise BadInput("the mask is empty: there is nothing to take prompts from")
    first, last = slices[0], slices[-1]
    # halves round down, so that the middle is (first + last) // 2
    if kind == "inner" or count == 1:
        wanted = np.linspace(first, last, count + 2)[1:-1]
    else:
        wanted = np.linspace(first, last, count)
    wanted = np.ceil(wanted - 0.5).astype(int)
    return sorted({int(slices[np.abs(slices - w).argmin()]) for w in wanted})


def mask_prompts(
    truth: NDArray[Any],
    grid: Grid,
    strategy: str = "first-middle-last",
    axis: Axis = Axis.AXIAL,
) -> PromptSet:
    """Slices of the ground truth (X, Y, Z) as masks of object 1.

    Raises:
        BadInput: empty mask, unknown strategy.
    """
    return PromptSet(grid, tuple(_masks(truth, grid, strategy, axis)))


def _masks(truth: NDArray[Any], grid: Grid, strategy: str, axis: Axis) -> list[Mask]:
    stack = np.moveaxis(np.asarray(truth, dtype=bool), grid.dim_of(axis), 0)
    return [
        Mask(axis, index, 1, stack[index].copy())
        for index in positions(stack.any((1, 2)), strategy)
    ]


def box_prompts(
    truth: NDArray[Any],
    grid: Grid,
    strategy: str = "first-middle-last",
    axis: Axis = Axis.AXIAL,
) -> PromptSet:
    """The tight boxes around the slices that `mask_prompts` would give.

    Raises:
        BadInput: empty mask, unknown strategy.
    """
    masks = _masks(truth, grid, strategy, axis)
    return PromptSet(grid, tuple(Box(axis, m.index, 1, *box_around(m.mask)) for m in masks))


def point_prompts(
    truth: NDArray[Any],
    grid: Grid,
    strategy: str = "first-middle-last",
    axis: Axis = Axis.AXIAL,
) -> PromptSet:
    """One click at the centre of each slice that `mask_prompts` would give.

    Raises:
        BadInput: empty mask, unknown strategy.
    """
    masks = _masks(truth, grid, strategy, axis)
    return PromptSet(grid, tuple(click_prompt(m, 1) for m in masks))


def click_prompt(
    truth: Mask, n: int, predict: Callable[[Points], NDArray[np.bool_]] | None = None
) -> Points:
    """`n` clicks on one slice, as the interactive paper makes them.

    Args:
        truth: the slice's ground truth.
        n: how many; fewer come back if the prediction becomes perfect.
        predict: `Points` → (rows, columns) bool, the model's answer to the clicks so far; needed
            from the second click on.
    """
    foreground, background = np.empty((0, 2)), np.empty((0, 2))
    predicted = np.zeros_like(truth.mask)
    points = None
    for _ in range(n):
        if points is not None:
            if predict is None:
                raise ValueError("clicks after the first need the model's answer")
            predicted = predict(points)
            if (predicted == truth.mask).all():
                break
        at, is_foreground = next_click(truth.mask, predicted)
        if is_foreground:
            foreground = np.vstack([foreground, at])
        else:
            background = np.vstack([background, at])
        points = Points(truth.axis, truth.index, truth.object_id, foreground, background)
    if points is None:
        raise ValueError(f"{n} clicks")
    return points


def next_click(truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Where an annotator clicks next: the middle of the largest error.

    The middle is the maximum of the Euclidean distance transform (the edge of the image counts
    as an edge); missing and superfluous pixels make separate components.

    Args:
        truth: (rows, columns) bool.
        predicted: (rows, columns) bool; all false before the first click.

    Returns:
        (2,) int row and column, and whether the click is a foreground one.

    Raises:
        ValueError: there is no error left to click on.
    """
    truth, predicted = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    largest, size = None, 0
    for error in (truth & ~predicted, predicted & ~truth):
        components, count = ndimage.label(error)
        sizes = np.bincount(components.ravel())[1:]
        if count and sizes.max() > size:
            largest, size = components == sizes.argmax() + 1, sizes.max()
    if largest is None:
        raise ValueError("the prediction equals the truth")
    depth = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    at = np.array(np.unravel_index(depth.argmax(), depth.shape))
    return at, bool(truth[tuple(at)])


def box_around(mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """First and last pixel, (2,) int each, inclusive, of a mask that is not empty."""
    marked = np.argwhere(mask)
    return marked.min(0), marked.max(0)
