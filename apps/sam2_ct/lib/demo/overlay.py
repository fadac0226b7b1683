"""A picture of a segmentation: slices of the three planes with the mask's outline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from lib.geometry import Axis, Grid
from lib.prompts.types import in_plane_dims
from lib.transforms.window import PRESETS, Window

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def draw_overlay(
    path: Path,
    ct: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    prompted: Sequence[int],
    *,
    axis: Axis = Axis.AXIAL,
    truth: np.ndarray | None = None,
    window: Window = PRESETS["bone"],
    title: str = "",
) -> None:
    """Write a PNG: prompted and unprompted slices of the axis above, the two other planes below.

    Args:
        path: where to.
        ct: (X, Y, Z) grey values on `grid`, RAS.
        mask: (X, Y, Z) bool result.
        grid: RAS grid of all arrays.
        prompted: slices along `axis` that were painted.
        axis: the axis of propagation.
        truth: (X, Y, Z) bool, drawn dashed where given.
        window: grey values to [0, 1].
        title: a line above everything.
    """
    grey = window.apply(ct)
    present = np.flatnonzero(mask.any(axis=in_plane_dims(grid, axis)))
    if len(present) == 0:
        present = np.asarray(prompted)
    between = [t for t in np.linspace(present[0], present[-1], 9).astype(int) if t not in prompted]
    between = [between[len(between) // 4], between[3 * len(between) // 4]] if between else []
    shown = sorted({*prompted, *between})
    others = [a for a in Axis if a is not axis]
    columns = max(len(shown), 4)
    figure, frames = plt.subplots(2, columns, figsize=(3 * columns, 6.6), squeeze=False)
    for frame in frames.flat:
        frame.axis("off")
    for frame, t in zip(frames[0], shown, strict=False):
        what = "prompt" if t in prompted else "propagated"
        _slice(frame, grey, mask, truth, grid, axis, t, f"{axis.value} {t} ({what})")
    cuts = [(a, t) for a in others for t in _cuts(mask, grid, a)]
    for frame, (a, t) in zip(frames[1], cuts, strict=False):
        _slice(frame, grey, mask, truth, grid, a, t, f"{a.value} {t}")
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=90, format="png")
    plt.close(figure)


def _cuts(mask: np.ndarray, grid: Grid, axis: Axis) -> list[int]:
    """Two slices of `axis` through the object, at a third and two thirds of its voxels."""
    area = mask.sum(axis=in_plane_dims(grid, axis)).cumsum()
    if area[-1] == 0:
        return [len(area) // 2]
    return sorted({int(np.searchsorted(area, area[-1] * f)) for f in (1 / 3, 2 / 3)})


def _slice(frame, grey, mask, truth, grid: Grid, axis: Axis, t: int, title: str) -> None:
    dim = grid.dim_of(axis)
    wide, high = (grid.spacing[d] for d in in_plane_dims(grid, axis))
    frame.imshow(
        np.take(grey, t, dim).T, cmap="gray", origin="lower", aspect=high / wide, vmin=0, vmax=1
    )
    for array, style in (
        (truth, {"colors": "lime", "linestyles": "dashed"}),
        (mask, {"colors": "red"}),
    ):
        if array is not None and np.take(array, t, dim).any():
            outline = np.take(array, t, dim).T.astype(float)
            frame.contour(outline, levels=[0.5], linewidths=1, **style)
    frame.set_title(title, fontsize=9)
