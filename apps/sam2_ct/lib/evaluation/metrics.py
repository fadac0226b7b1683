"""How good a mask is: overlap, distances, and both on the part that was not painted.

Definitions (paper B-B; where it is silent, the reading is ours):

- Dice and IoU over voxels.
- Hausdorff distance as the paper writes it, between **voxel sets**: the largest distance from a
  voxel of either mask to the nearest voxel of the other. Exact, by Euclidean distance transform.
  The paper does not give the unit, so both: mm (`hd_mm`) and voxels (`hd_voxels`).
- The same between **edges** (`hd_edge_mm`), as MONAI and most tools compute it: a hollow shell
  against a solid ball is far from it in the first sense, near in the second.
- `hd95_mm`: the 95th percentile of edge distances, the larger of both directions (MONAI).
- `nsd_2mm`: normalised surface Dice with 2 mm tolerance over surface elements (MONAI with
  subvoxels, which follows the definition of the public `surface-distance` code).

Empty masks: both empty is perfect agreement (overlaps 1, distances 0). If just one is empty,
overlaps are 0, and distances are the diagonal of the compared volume: finite, and the worst there
can be, so that a method cannot gain by finding nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

NSD_TOLERANCE_MM = 2.0

#: What "salient" means to the interactive paper: slices with more foreground pixels than this.
SALIENT_PIXELS = 256


@dataclass(frozen=True)
class Scores:
    """Figures of one prediction; distances in mm but for `hd_voxels`.

    `dice_unpainted` leaves out the slices the annotator painted, `dice_salient` all slices with
    256 or fewer true pixels; NaN where nothing is left.
    """

    dice: float
    iou: float
    hd_mm: float
    hd_voxels: float
    hd_edge_mm: float
    hd95_mm: float
    nsd_2mm: float
    dice_unpainted: float
    dice_salient: float


@dataclass(frozen=True)
class Reach:
    """Whether a result ends where the object does, along the axis slices are stacked in.

    Attributes:
        object_slices: slices the object is on.
        slices_beyond: slices beyond its first and last one that the result is on.
        ml_beyond: volume of the result there.
        slices_missed: slices of the object that the result is not on.
    """

    object_slices: int
    slices_beyond: int
    ml_beyond: float
    slices_missed: int


def reach(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], dim: int) -> Reach:
    """How far a result reaches beyond an object, or not far enough.

    Args:
        prediction: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, not empty.
        spacing: (3,) mm.
        dim: the dimension slices are stacked in.
    """
    found, there = (np.moveaxis(m, dim, 0).sum((1, 2)) for m in (prediction, truth))
    present = np.flatnonzero(there)
    beyond = found.copy()
    beyond[present[0] : present[-1] + 1] = 0
    return Reach(
        object_slices=len(present),
        slices_beyond=int(np.count_nonzero(beyond)),
        ml_beyond=round(float(beyond.sum() * np.prod(spacing)) / 1000, 6),
        slices_missed=int(np.count_nonzero((there > 0) & (found == 0))),
    )


def overlap(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Dice and IoU of two bool arrays of one shape; 1 if both are empty."""
    both = int(np.count_nonzero(prediction & truth))
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return 1.0, 1.0
    return 2 * both / total, both / (total - both)


def hausdorff(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float:
    """Hausdorff distance between the voxel sets, in the unit of `spacing` (paper B-B).

    Args:
        prediction: (X, Y, Z) bool.
        truth: (X, Y, Z) bool.
        spacing: (3,) voxel size; ones for voxels.
    """
    ends = _without_one(prediction, truth, spacing)
    if ends is not None:
        return ends
    prediction, truth = _tight(prediction, truth)
    return max(
        float(ndimage.distance_transform_edt(~b, sampling=spacing)[a].max())
        for a, b in ((prediction, truth), (truth, prediction))
    )


def edge_hausdorff(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    percentile: float | None = None,
) -> float:
    """Hausdorff distance between edge voxels, or a percentile of it, in the unit of `spacing`."""
    ends = _without_one(prediction, truth, spacing)
    if ends is not None:
        return ends
    a, b = (_as_batch(m) for m in _tight(prediction, truth))
    return float(
        compute_hausdorff_distance(
            a,
            b,
            include_background=True,
            percentile=percentile,
            spacing=[float(s) for s in spacing],
        )
    )


def surface_dice(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    tolerance: float = NSD_TOLERANCE_MM,
) -> float:
    """Share of both surfaces that lies within `tolerance` mm of the other, 0 to 1."""
    if _without_one(prediction, truth, spacing) is not None:
        return float(prediction.any() == truth.any())
    a, b = (_as_batch(m) for m in _tight(prediction, truth))
    return float(
        compute_surface_dice(
            a,
            b,
            class_thresholds=[tolerance],
            include_background=True,
            spacing=[float(s) for s in spacing],
            use_subvoxels=True,
        )
    )


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    *,
    painted: Sequence[int] = (),
    dim: int = 2,
) -> Scores:
    """Every figure of one prediction.

    Args:
        prediction: (X, Y, Z) bool.
        truth: (X, Y, Z) bool.
        spacing: (3,) mm.
        painted: slices along `dim` that the annotator painted.
        dim: the dimension slices are stacked in.
    """
    prediction, truth = prediction.astype(bool), truth.astype(bool)
    dice, iou = overlap(prediction, truth)
    by_slice = [np.moveaxis(m, dim, 0) for m in (prediction, truth)]
    unpainted = np.setdiff1d(np.arange(prediction.shape[dim]), np.asarray(painted, dtype=int))
    salient = np.flatnonzero(by_slice[1].sum((1, 2)) > SALIENT_PIXELS)
    return Scores(
        dice=dice,
        iou=iou,
        hd_mm=hausdorff(prediction, truth, spacing),
        hd_voxels=hausdorff(prediction, truth, (1.0, 1.0, 1.0)),
        hd_edge_mm=edge_hausdorff(prediction, truth, spacing),
        hd95_mm=edge_hausdorff(prediction, truth, spacing, percentile=95),
        nsd_2mm=surface_dice(prediction, truth, spacing),
        dice_unpainted=_dice_on(*by_slice, unpainted),
        dice_salient=_dice_on(*by_slice, salient),
    )


def as_record(scores: Scores) -> dict[str, float | None]:
    """JSON-ready; NaN becomes null."""
    return {k: None if np.isnan(v) else round(float(v), 6) for k, v in asdict(scores).items()}


def _dice_on(prediction: np.ndarray, truth: np.ndarray, slices: np.ndarray) -> float:
    return overlap(prediction[slices], truth[slices])[0] if len(slices) else float("nan")


def _without_one(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> float | None:
    """The distance where a mask is empty, None where neither is."""
    if a.any() and b.any():
        return None
    if not a.any() and not b.any():
        return 0.0
    return float(np.linalg.norm(np.multiply(a.shape, spacing)))


def _tight(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to what either covers, with a voxel of background around."""
    (where,) = ndimage.find_objects((a | b).astype(np.uint8))
    return np.pad(a[where], 1), np.pad(b[where], 1)


def _as_batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
