"""What the painted slices say of the others, as a weak prior on the network's logits.

Two voices that SAM 2 does not hear:

- shape: between two painted slices a, b the signed distance (mm) to the interpolated outline
  (Raya and Udupa, 1990; centroids aligned), in units that grow with the gap to the nearest painted
  slice, and weighed by how far interpolation can be trusted there;
- density: how much likelier a grey value is just inside the painted outlines than just outside.

They are added to the network's logits:

    0.5 · logit  +  (2 · D⁴ + exp(−gap / 10 mm)) · clip(d / (2 mm + near / 4), ±6)  +  0.5 · density

with D the Dice of the two painted masks once their centroids are aligned, gap the distance between
a and b, near that to the nearer one. The surer the network is, and the better two directions agree,
the larger its logit and the less the prior changes. The weights are those of a logistic regression
on phantoms (.5, 1.5, .15 and .42), rounded and checked on real bones; `sam2-ct evaluate run
--table extent` has the figures. Pure arrays: no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.propagation.fusion import LOGIT_LIMIT
from lib.propagation.uncertainty import disagreement

NETWORK_WEIGHT = 0.5
SHAPE_LIMIT = 6.0
DENSITY_WEIGHT = 0.5
DENSITY_LIMIT = 2.0

BAND_MM = 6.0
"""Voxels this near to a painted outline, inside and outside, teach the density."""

_BINS = 24  # of the window's range; blurred by 1.5 bins, so a few dozen voxels are enough
_BIN_BLUR = 1.5
_RARE = 0.01  # share of voxels that a bin without any is taken to have


Logit = TypeVar("Logit", bound=np.floating[Any])


@dataclass(frozen=True)
class Between:
    """Shape interpolation on one slice between two painted ones.

    Attributes:
        t: the slice.
        distance: (rows, columns) float, mm to the interpolated outline, positive inside.
        likeness: Dice of the two painted masks once their centroids are aligned, 0 to 1.
        gap: mm between the two painted slices.
        near: mm to the nearer one.
    """

    t: int
    distance: NDArray[np.floating[Any]]
    likeness: float
    gap: float
    near: float


def with_prior(
    logits: NDArray[Logit],
    image: NDArray[np.floating[Any]],
    painted: Mapping[int, NDArray[np.bool_]],
    dim: int,
    spacing: Sequence[float],
) -> tuple[NDArray[Logit], dict[int, float]]:
    """Logits of one object, the prior added; and how far the shape still disagrees with them.

    Args:
        logits: (X, Y, Z) of the network, directions merged.
        image: (X, Y, Z) windowed volume, 0 to 1.
        painted: slice along `dim` → (rows, columns) mask, not empty.
        dim: the dimension slices are stacked in.
        spacing: voxel size in mm per dimension.

    Returns:
        (X, Y, Z) of the type of `logits`, `NETWORK_WEIGHT` times these where nothing is painted;
        and for each slice between painted ones `disagreement` of what is found and the
        interpolated shape.
    """
    in_plane = [s for d, s in enumerate(spacing) if d != dim]
    ratios = density(image, painted, dim, in_plane) if painted else None
    shapes = between(painted, in_plane, spacing[dim])
    here = next(shapes, None)
    out = np.empty_like(logits)
    apart: dict[int, float] = {}
    # slice by slice: of a large volume, a whole one in float32 more would be felt
    for t, (said, grey, spoken) in enumerate(
        zip(*(np.moveaxis(volume, dim, 0) for volume in (logits, image, out)), strict=True)
    ):
        plane = NETWORK_WEIGHT * np.clip(said, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float32)
        if ratios is not None:
            plane += DENSITY_WEIGHT * ratios[bins(grey)]
        if here is not None and here.t == t:
            unit = 2.0 + here.near / 4
            plane += trust(here) * np.clip(here.distance / unit, -SHAPE_LIMIT, SHAPE_LIMIT)
            apart[t] = disagreement(plane > 0, here.distance > 0)
            here = next(shapes, None)
        spoken[...] = plane
    return out, apart


def trust(here: Between) -> float:
    """Weight of the shape: high where the neighbours are alike, or so near that it hardly matters.

    The first term keeps three painted slices of an oblique rib from being spoilt, the second lets
    seven of a vertebra, unlike as they are, still say where its outline runs.
    """
    return 2.0 * here.likeness**4 + float(np.exp(-here.gap / 10.0))


def between(
    painted: Mapping[int, NDArray[np.bool_]],
    spacing: Sequence[float],
    thickness: float,
    *,
    align: bool = True,
) -> Iterator[Between]:
    """Shape interpolation for every slice between painted ones.

    Args:
        painted: slice → (rows, columns) mask; empty ones are ignored.
        spacing: (2,) voxel size in the slice, mm.
        thickness: mm between slices.
        align: shift both masks so that their centroids meet on the straight line between them,
            without which a structure that runs obliquely, such as a rib, vanishes in between.
    """
    drawn = [t for t in sorted(painted) if painted[t].any()]
    for a, b in pairwise(drawn):
        if b - a < 2:
            continue
        first, last = (signed_distance(painted[t], spacing) for t in (a, b))
        centre_a, centre_b = (np.array(ndimage.center_of_mass(painted[t])) for t in (a, b))
        way = (centre_b - centre_a) if align else np.zeros(2)
        likeness = _dice(_moved(painted[a], way), painted[b])
        for t in range(a + 1, b):
            share = (t - a) / (b - a)
            distance = (1 - share) * _shifted(first, share * way)
            distance += share * _shifted(last, (share - 1) * way)
            near = min(t - a, b - t) * thickness
            yield Between(t, distance, likeness, (b - a) * thickness, near)


def density(
    image: NDArray[np.floating[Any]],
    painted: Mapping[int, NDArray[np.bool_]],
    dim: int,
    spacing: Sequence[float],
) -> NDArray[np.float32]:
    """Log-likelihood ratios of grey values, object against what surrounds it.

    Args:
        image: (X, Y, Z) windowed volume, 0 to 1.
        painted: slice along `dim` → (rows, columns) mask, at least one not empty.
        dim: the dimension slices are stacked in.
        spacing: (2,) voxel size in the slice, mm.

    Returns:
        (bins,) float32 within ±`DENSITY_LIMIT`, for equal parts of the range from 0 to 1; 0 where
        the painted slices have no surroundings.
    """
    stack = np.moveaxis(image, dim, 0)
    inside, outside = np.zeros(_BINS), np.zeros(_BINS)
    for t, mask in painted.items():
        if mask.any():
            distance = signed_distance(mask, spacing)
            inside += _histogram(stack[t][mask & (distance <= BAND_MM)])
            outside += _histogram(stack[t][~mask & (distance >= -BAND_MM)])
    if not inside.any() or not outside.any():
        return np.zeros(_BINS, dtype=np.float32)
    shares = [ndimage.gaussian_filter1d(h, _BIN_BLUR, mode="constant") for h in (inside, outside)]
    of_object, of_rest = (h / h.sum() + _RARE for h in shares)
    ratio = np.clip(np.log(of_object / of_rest), -DENSITY_LIMIT, DENSITY_LIMIT)
    return ratio.astype(np.float32)


def signed_distance(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.floating[Any]]:
    """Distance in mm to the outline of a (rows, columns) mask, positive inside."""
    # a frame of background, so that a mask that fills the slice has an outside
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=spacing)
    outside = ndimage.distance_transform_edt(~padded, sampling=spacing)
    return (inside - outside)[1:-1, 1:-1]


def bins(values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """The part of the range that each grey value, 0 to 1, lies in."""
    return np.clip((values * _BINS).astype(np.intp), 0, _BINS - 1)


def _histogram(values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    return np.bincount(bins(values), minlength=_BINS)


def _shifted(
    distance: NDArray[np.floating[Any]], by: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    return ndimage.shift(distance, by, order=1, mode="nearest") if by.any() else distance


def _moved(mask: NDArray[np.bool_], by: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """The mask shifted by whole voxels; what leaves the slice is lost."""
    moved = np.zeros_like(mask)
    to = np.argwhere(mask) + np.rint(by).astype(int)
    moved[tuple(to[((to >= 0) & (to < mask.shape)).all(axis=1)].T)] = True
    return moved


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))
