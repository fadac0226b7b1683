"""Signed distance functions (SDFs) of simple solids, in millimetres.

Every function takes ``points``: (..., 3) float, in mm, and returns (...) float: negative
inside, zero on the surface, positive outside. Solids are combined by taking minima
(union), maxima (intersection) or their smooth kin, so a bone is a short formula.

Distances are exact for `ball`, `box`, `capsule`, `tube` and `cylinder`; for `ellipsoid` and
after blending they are close near the surface only, which is where they are read: a
voxel's coverage is `coverage(distance, voxel size)`.

Computations keep the dtype of ``points``: pass float32 to halve time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.floating]
Distance = NDArray[np.floating]


def _like(values: ArrayLike, points: Points) -> Points:
    return np.asarray(values, dtype=points.dtype)


def _norm(vectors: Points) -> Distance:
    # einsum is several times faster than np.linalg.norm over a short last axis.
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


# --- solids -----------------------------------------------------------------------------


def ball(points: Points, center: ArrayLike, radius: float) -> Distance:
    """A ball around ``center`` (3,)."""
    return _norm(points - _like(center, points)) - points.dtype.type(radius)


def ellipsoid(points: Points, center: ArrayLike, radii: ArrayLike) -> Distance:
    """An axis-aligned ellipsoid with half axes ``radii`` (3,).

    First-order distance k0 (k0 − 1) / k1 (Inigo Quilez): exact on the surface and right to
    first order near it.
    """
    radii = _like(radii, points)
    scaled = (points - _like(center, points)) / radii
    k0 = _norm(scaled)
    k1 = _norm(scaled / radii)
    # At the very centre both vanish; the distance there is minus the shortest half axis.
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = k0 * (k0 - 1) / k1
    return np.where(k1 > 0, distance, -radii.min())


def box(points: Points, center: ArrayLike, half: ArrayLike, rounding: float = 0.0) -> Distance:
    """An axis-aligned box with half edges ``half`` (3,), its edges rounded by ``rounding`` mm.

    The outer size stays 2 · half; ``rounding`` must not exceed the smallest half edge.
    """
    q = np.abs(points - _like(center, points)) - (_like(half, points) - points.dtype.type(rounding))
    outside = _norm(np.maximum(q, 0))
    inside = np.minimum(q.max(axis=-1), 0)
    return outside + inside - points.dtype.type(rounding)


def capsule(
    points: Points, start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None = None
) -> Distance:
    """A rod from ``start`` to ``end`` (3,) with round ends.

    ``end_radius`` lets it taper linearly (then the distance is approximate by the cosine of
    the taper, which for the slender rods used here is 1 to a percent).
    """
    start, end = _like(start, points), _like(end, points)
    axis = end - start
    length2 = max(float(axis @ axis), 1e-12)
    t = np.clip(((points - start) @ axis) / points.dtype.type(length2), 0, 1)
    distance = _norm(points - start - t[..., None] * axis)
    last = radius if end_radius is None else end_radius
    return distance - (points.dtype.type(radius) + t * points.dtype.type(last - radius))


def tube(points: Points, path: ArrayLike, radius: float | Sequence[float]) -> Distance:
    """A round tube along the polyline ``path`` (K, 3); ``radius`` one number or one per vertex."""
    path = _like(path, points)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(path),))
    if len(path) < 2:
        raise ValueError(f"a path needs at least two points, got {len(path)}")
    distance = capsule(points, path[0], path[1], float(radii[0]), float(radii[1]))
    for k in range(1, len(path) - 1):
        segment = capsule(points, path[k], path[k + 1], float(radii[k]), float(radii[k + 1]))
        np.minimum(distance, segment, out=distance)
    return distance


def band(
    points: Points,
    path: ArrayLike,
    thickness: float,
    width: float,
    across: ArrayLike,
) -> Distance:
    """A flat band along ``path`` (K, 3): ``thickness`` thin, ``width`` wide along ``across``.

    The cross-section is an ellipse with half axes ``thickness / 2`` and ``width / 2``; ``across``
    is one direction (3,) for the whole band. Made by squeezing space along ``across`` so that
    the band becomes a tube; distances are a lower bound of the true ones along ``across`` and
    exact through the thickness.
    """
    direction = _like(across, points)
    direction = direction / np.sqrt(direction @ direction)
    squeeze = points.dtype.type(1 - thickness / width)
    path = _like(path, points)
    thin_points = points - squeeze * (points @ direction)[..., None] * direction
    thin_path = path - squeeze * (path @ direction)[:, None] * direction
    return tube(thin_points, thin_path, thickness / 2)


def cylinder(
    points: Points, center: ArrayLike, radius: float, half_height: float, rounding: float = 0.0
) -> Distance:
    """An upright cylinder (axis along z) with edges rounded by ``rounding`` mm."""
    local = points - _like(center, points)
    r = points.dtype.type(rounding)
    radial = np.sqrt(local[..., 0] ** 2 + local[..., 1] ** 2) - points.dtype.type(radius) + r
    axial = np.abs(local[..., 2]) - points.dtype.type(half_height) + r
    outside = np.sqrt(np.maximum(radial, 0) ** 2 + np.maximum(axial, 0) ** 2)
    return outside + np.minimum(np.maximum(radial, axial), 0) - r


def elliptic_cylinder(
    points: Points,
    center: ArrayLike,
    radii: tuple[float, float],
    half_height: float,
    rounding: float = 0.0,
) -> Distance:
    """An upright cylinder of elliptic cross-section with half axes ``radii`` along x and y."""
    local = points - _like(center, points)
    a, b = (points.dtype.type(v - rounding) for v in radii)
    u, v = local[..., 0] / a, local[..., 1] / b
    k0 = np.sqrt(u * u + v * v)
    k1 = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        radial = np.where(k1 > 0, k0 * (k0 - 1) / k1, -min(a, b))
    axial = np.abs(local[..., 2]) - points.dtype.type(half_height - rounding)
    outside = np.sqrt(np.maximum(radial, 0) ** 2 + np.maximum(axial, 0) ** 2)
    inside = np.minimum(np.maximum(radial, axial), 0)
    return outside + inside - points.dtype.type(rounding)


def triangle(points: Points, corners: ArrayLike) -> Distance:
    """Distance (never negative) to the flat triangle ``corners`` (3, 3)."""
    a, b, c = _like(corners, points)
    normal = np.cross(b - a, c - a)
    inside = np.ones(points.shape[:-1], dtype=bool)
    nearest_edge = np.full(points.shape[:-1], np.inf, dtype=points.dtype)
    for start, end in ((a, b), (b, c), (c, a)):
        inward = np.cross(normal, end - start)
        inside &= (points - start) @ inward >= 0
        np.minimum(nearest_edge, capsule(points, start, end, 0.0), out=nearest_edge)
    to_plane = np.abs((points - a) @ (normal / np.sqrt(normal @ normal)))
    return np.where(inside, to_plane, nearest_edge)


def ruled_sheet(points: Points, first: ArrayLike, second: ArrayLike, thickness: float) -> Distance:
    """A curved plate of even ``thickness`` spanned between two polylines of (K, 3) points each."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or len(first) < 2:
        raise ValueError(f"two paths of equal length are needed, got {first.shape}, {second.shape}")
    distance = np.full(points.shape[:-1], np.inf, dtype=points.dtype)
    for k in range(len(first) - 1):
        for corners in (
            (first[k], second[k], first[k + 1]),
            (first[k + 1], second[k], second[k + 1]),
        ):
            np.minimum(distance, triangle(points, corners), out=distance)
    return distance - points.dtype.type(thickness / 2)


# --- combining --------------------------------------------------------------------------


def union(*distances: Distance) -> Distance:
    """All of the solids together."""
    return np.minimum.reduce(distances)


def intersection(*distances: Distance) -> Distance:
    """What the solids have in common."""
    return np.maximum.reduce(distances)


def subtract(solid: Distance, hole: Distance) -> Distance:
    """``solid`` without ``hole``."""
    return np.maximum(solid, -hole)


def smooth_union(a: Distance, b: Distance, blend: float) -> Distance:
    """Union whose crease is filled over about ``blend`` mm (polynomial smooth minimum)."""
    h = np.maximum(blend - np.abs(a - b), 0) / blend
    return np.minimum(a, b) - (h * h * (blend / 4)).astype(a.dtype)


def smooth_subtract(solid: Distance, hole: Distance, blend: float) -> Distance:
    """``solid`` without ``hole``, the rim rounded over about ``blend`` mm."""
    return -smooth_union(-solid, hole, blend)


def shell(distance: Distance, thickness: float) -> Distance:
    """The outermost ``thickness`` mm of a solid: its cortex."""
    return np.maximum(distance, -(distance + distance.dtype.type(thickness)))


def coverage(distance: Distance, width: float) -> Distance:
    """How much of a voxel the solid covers, 0 to 1: a linear ramp ``width`` mm wide.

    This is the partial volume of a flat surface through a voxel of that size.
    """
    return np.clip(0.5 - distance / distance.dtype.type(width), 0, 1)


# --- placing ----------------------------------------------------------------------------


def rotation(degrees_x: float = 0.0, degrees_y: float = 0.0, degrees_z: float = 0.0) -> Points:
    """(3, 3) float64 matrix turning about x, then y, then z (column vectors)."""
    x, y, z = np.deg2rad([degrees_x, degrees_y, degrees_z])
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def to_local(points: Points, center: ArrayLike, turn: ArrayLike | None = None) -> Points:
    """``points`` seen from a frame at ``center`` (3,) turned by the matrix ``turn`` (3, 3).

    A solid built at the origin is so placed at ``center`` and turned by ``turn``.
    """
    local = points - _like(center, points)
    # Rows times a rotation matrix are columns times its inverse.
    return local if turn is None else local @ _like(turn, points)
