"""What the painted slices say of the others, as a weak prior on the network's logits.

Two voices that SAM 2 does not hear:

- shape: between two painted slices a, b the signed distance (mm) to the interpolated outline
  (Raya and Udupa, 1990; centroids aligned), in units that grow with the gap to the nearest painted
  slice, and weighed by how far interpolation can be trusted there;
- density: how much likelier a grey value is just inside the painted outlines than just outside.

They are added to the network's logits:

    w · logit  +  (2 · D⁴ + exp(−gap / 10 mm)) · clip(d / (2 mm + near / 4), ±6)  +  0.5 · density

with D the Dice of the two painted masks once their centroids are aligned, gap the distance between
a and b, near that to the nearer one. The surer the network is, and the better two directions agree,
the larger its logit and the less the prior changes. The weights are those of a logistic regression
on phantoms (.5, 1.5, .15 and .42), rounded and checked on real bones; `sam2-ct evaluate run
--table extent` has the figures.

w is 0.5, and less where interpolation has proved itself on this very object: leave a painted slice
out, fill it in from its painted neighbours, and L is the Dice of that with what was painted (one
voxel of doubt added, so that a few voxels prove nothing). From L = 0.93 on, as in the shaft of a
femur, no network this coarse draws the better outline: w = 0.5 / (1 + (L / 0.93)⁶⁴), L the lower of
a's and b's. Pure arrays: no torch.
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
FORETOLD = 0.93
"""Dice of left-out painted slices at which the network counts half …"""

FORETOLD_POWER = 64
"""… and how sharply it does so: at 0.90 it counts 0.9, at 0.97 0.06 of its weight."""

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
        foretold: how well interpolation foretells the two painted masks from their own neighbours,
            the lower Dice of both; 0 where neither has two at least as far off as `near`.
        gap: mm between the two painted slices.
        near: mm to the nearer one.
    """

    t: int
    distance: NDArray[np.floating[Any]]
    likeness: float
    foretold: float
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
        (X, Y, Z) of the type of `logits`, `NETWORK_WEIGHT` times these if nothing is painted;
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
        shape = here if here is not None and here.t == t else None
        weight = NETWORK_WEIGHT if shape is None else network_weight(shape)
        plane = weight * np.clip(said, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float32)
        if ratios is not None:
            plane += DENSITY_WEIGHT * ratios[bins(grey)]
        if shape is not None:
            unit = 2.0 + shape.near / 4
            plane += trust(shape) * np.clip(shape.distance / unit, -SHAPE_LIMIT, SHAPE_LIMIT)
            apart[t] = disagreement(plane > 0, shape.distance > 0)
            here = next(shapes, None)
        spoken[...] = plane
    return out, apart


def trust(here: Between) -> float:
    """Weight of the shape: high where the neighbours are alike, or so near that it hardly matters.

    The first term keeps three painted slices of an oblique rib from being spoilt, the second lets
    seven of a vertebra, unlike as they are, still say where its outline runs.
    """
    return 2.0 * here.likeness**4 + float(np.exp(-here.gap / 10.0))


def network_weight(here: Between) -> float:
    """Weight of the network's logits: little where interpolation has proved itself."""
    return NETWORK_WEIGHT / (1 + (here.foretold / FORETOLD) ** FORETOLD_POWER)


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
    drawn = {t: _outline(painted[t], spacing) for t in sorted(painted) if painted[t].any()}
    proofs = dict(_left_out(painted, drawn, align))
    for a, b in pairwise(drawn):
        if b - a < 2:
            continue
        way = drawn[b].centre - drawn[a].centre if align else np.zeros(2)
        likeness = _dice(_moved(painted[a], way), painted[b])
        for t in range(a + 1, b):
            distance = _blend(drawn[a], drawn[b], (t - a) / (b - a), align)
            near = min(t - a, b - t)
            # what lay nearer to its neighbours than this slice proves nothing here
            proved = [proofs[e][1] for e in (a, b) if e in proofs and proofs[e][0] >= near]
            foretold = min(proved, default=0.0)
            gap = (b - a) * thickness
            yield Between(t, distance, likeness, foretold, gap, near * thickness)


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


@dataclass(frozen=True)
class _Outline:
    """Of a painted mask: (rows, columns) signed distance in mm, and (2,) centroid."""

    distance: NDArray[np.floating[Any]]
    centre: NDArray[np.floating[Any]]


def _outline(mask: NDArray[np.bool_], spacing: Sequence[float]) -> _Outline:
    return _Outline(signed_distance(mask, spacing), np.array(ndimage.center_of_mass(mask)))


def _left_out(
    painted: Mapping[int, NDArray[np.bool_]], drawn: Mapping[int, _Outline], align: bool
) -> Iterator[tuple[int, tuple[int, float]]]:
    """Slices between two others: how many to the nearer one, and Dice with what they make of it."""
    slices = list(drawn)
    for a, b, c in zip(slices, slices[1:], slices[2:], strict=False):
        made = _blend(drawn[a], drawn[c], (b - a) / (c - a), align) > 0
        yield b, (min(b - a, c - b), _dice(made, painted[b], doubt=1))


def _blend(first: _Outline, last: _Outline, share: float, align: bool) -> NDArray[np.floating[Any]]:
    """Signed distance to the outline at `share` of the way from one to the other."""
    way = last.centre - first.centre if align else np.zeros(2)
    distance = (1 - share) * _shifted(first.distance, share * way)
    distance += share * _shifted(last.distance, (share - 1) * way)
    return distance


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


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_], doubt: int = 0) -> float:
    """Dice of two masks, `doubt` voxels of each taken to be wrong."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum() + 2 * doubt))
