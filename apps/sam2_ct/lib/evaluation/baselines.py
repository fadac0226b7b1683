"""What an annotator has today with the same painted slices, without a network.

Fill between slices, the same within a HU threshold, and the random walker: the comparators that
stand in the tables beside SAM 2. All work on arrays of one RAS crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker

from lib.propagation.prior import between
from lib.transforms.window import PRESETS

#: Least dense bone worth keeping: fatty marrow is darker, but it is enclosed and filled in.
BONE_HU = 150.0

#: How far an outline by threshold may lie outside the interpolated one, in the slice.
REACH_MM = 3.0

#: Bound on time and memory of the random walker.
MOST_VOXELS = 1_500_000


def interpolate_slices(
    labels: np.ndarray,
    dim: int,
    painted: Sequence[int],
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Fill between painted slices by shape-based interpolation.

    Between two painted slices the signed distance maps are blended linearly (Raya and Udupa,
    1990), both shifted first so that their centroids meet on the straight line between them,
    without which a structure that runs obliquely, such as a rib, vanishes between its prompts.
    Beyond the outermost painted slices nothing is filled.

    Args:
        labels: (X, Y, Z) bool; only the painted slices are read.
        dim: the dimension slices are stacked in.
        painted: slice indices along `dim`; empty ones are ignored.
        spacing: voxel size in mm per dimension.

    Returns:
        (X, Y, Z) bool; painted slices as they were painted.
    """
    stack = np.moveaxis(np.asarray(labels, dtype=bool), dim, 0)
    in_plane = [s for d, s in enumerate(spacing) if d != dim]
    filled = np.zeros_like(stack)
    drawn = {t: stack[t] for t in painted if stack[t].any()}
    for t, mask in drawn.items():
        filled[t] = mask
    for here in between(drawn, in_plane, spacing[dim]):
        filled[here.t] = here.distance > 0
    return np.moveaxis(filled, 0, dim)


def interpolate_and_threshold(
    ct_hu: np.ndarray,
    labels: np.ndarray,
    dim: int,
    painted: Sequence[int],
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Fill between slices, then keep what is dense enough within `REACH_MM` of it.

    The usual way with an editable intensity range: the interpolation says where, the threshold
    draws the outline, and holes of each slice (marrow) are filled.

    Args:
        ct_hu: (X, Y, Z) in Hounsfield units.
        labels: as in `interpolate_slices`.
        dim: as there.
        painted: as there.
        spacing: as there.

    Returns:
        (X, Y, Z) bool; painted slices as they were painted.
    """
    rough = np.moveaxis(interpolate_slices(labels, dim, painted, spacing=spacing), dim, 0)
    dense = np.moveaxis(np.asarray(ct_hu) >= BONE_HU, dim, 0)
    stack = np.moveaxis(np.asarray(labels, dtype=bool), dim, 0)
    in_plane = [s for d, s in enumerate(spacing) if d != dim]
    found = np.zeros_like(rough)
    for t in np.flatnonzero(rough.any((1, 2))):
        near = ndimage.distance_transform_edt(~rough[t], sampling=in_plane) <= REACH_MM
        found[t] = ndimage.binary_fill_holes(near & dense[t])
    drawn = list(painted)
    found[drawn] = stack[drawn]
    return np.moveaxis(found, 0, dim)


def walk_randomly(
    ct_hu: np.ndarray,
    labels: np.ndarray,
    dim: int,
    painted: Sequence[int],
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Random walker (Grady, 2006) seeded by the painted slices: inside object, outside background.

    Runs on the bone window, with scikit-image's default penalty on contrast. A crop larger than
    `MOST_VOXELS` is halved in the slice's plane until it fits, and the probabilities are brought
    back linearly.

    Args:
        ct_hu: (X, Y, Z) in Hounsfield units (MR: any unit, then the window is its own range).
        labels: as in `interpolate_slices`.
        dim: as there.
        painted: as there.
        spacing: as there.

    Returns:
        (X, Y, Z) bool; painted slices as they were painted.
    """
    stack = np.moveaxis(np.asarray(labels, dtype=bool), dim, 0)
    drawn = [t for t in sorted(set(painted)) if stack[t].any()]
    scaled = np.moveaxis(PRESETS["bone" if np.min(ct_hu) < 0 else "none"].apply(ct_hu), dim, 0)
    steps = [spacing[dim], *(s for d, s in enumerate(spacing) if d != dim)]

    factor = 1
    while scaled[:, ::factor, ::factor].size > MOST_VOXELS:
        factor *= 2
    values = scaled[:, ::factor, ::factor].astype(np.float64)
    seeds = np.zeros(values.shape, dtype=np.int32)
    for t in drawn:
        seeds[t] = np.where(stack[t, ::factor, ::factor], 1, 2)
    if not (seeds == 1).any():
        return interpolate_slices(labels, dim, painted, spacing=spacing)
    probability = random_walker(
        values,
        seeds,
        mode="cg_j",
        tol=1e-3,
        prob_tol=0.1,  # only the side of one half matters
        spacing=[steps[0], steps[1] * factor, steps[2] * factor],
        return_full_prob=True,
    )[0]
    if factor > 1:
        probability = ndimage.zoom(
            probability,
            np.divide(stack.shape, probability.shape),
            order=1,
            grid_mode=True,
            mode="nearest",
        )
    found = probability > 0.5
    found[drawn] = stack[drawn]
    return np.moveaxis(found, 0, dim)
