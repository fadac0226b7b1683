"""Anything else a person may outline: lumps, branching trees, crowds of look-alikes."""

from __future__ import annotations

import numpy as np

from lib.sample import shapes
from tools.phantoms import tissues
from tools.phantoms.scene import Scene, Tissue


def _any_tissue(rng: np.random.Generator) -> Tissue:
    kind = rng.random()
    if kind < 0.45:
        return tissues.spongy_bone(rng)
    if kind < 0.7:
        return tissues.hollow_bone(rng)
    return tissues.soft(rng)


def add_lumps(scene: Scene, first_label: int = 1) -> int:
    """Rough ellipsoids joined in twos and threes; returns the next free label."""
    rng = scene.rng
    tissue = _any_tissue(rng)
    alike = rng.random() < 0.5
    for label in range(first_label, first_label + int(rng.integers(2, 12))):
        center = rng.uniform(-0.45, 0.45, 3) * scene.size
        size = np.exp(rng.uniform(np.log(5), np.log(30)))
        parts = [
            (center + rng.normal(0, 0.7, 3) * size, size * rng.uniform(0.4, 1.3, 3))
            for _ in range(int(rng.integers(1, 5)))
        ]

        def solid(points: shapes.Points, parts=parts, size=size) -> shapes.Distance:
            out = shapes.ellipsoid(points, *parts[0])
            for at, radii in parts[1:]:
                out = shapes.smooth_union(out, shapes.ellipsoid(points, at, radii), size / 3)
            return out

        lo = np.min([a - r for a, r in parts], axis=0)
        hi = np.max([a + r for a, r in parts], axis=0)
        scene.add(
            solid,
            lo,
            hi,
            tissue if alike else _any_tissue(rng),
            label=label,
            rough=rng.uniform(0, 0.12) * size,
        )
    return first_label + 12


def add_tree(scene: Scene, label: int) -> None:
    """A branching tube: it splits and joins when seen slice by slice."""
    rng = scene.rng
    ends = [(rng.uniform(-0.3, 0.3, 3) * scene.size, rng.normal(size=3), rng.uniform(4, 11))]
    rods = []
    for _ in range(3):
        grown = []
        for at, towards, radius in ends:
            for _ in range(int(rng.integers(1, 3))):
                direction = towards / np.linalg.norm(towards) + rng.normal(0, 0.5, 3)
                tip = at + direction * radius * rng.uniform(2, 5)
                rods.append((at, tip, radius, radius * 0.8))
                grown.append((tip, direction, radius * 0.8))
        ends = grown

    def solid(points: shapes.Points) -> shapes.Distance:
        return shapes.union(*(shapes.capsule(points, *rod) for rod in rods))

    corners = np.array([end for rod in rods for end in rod[:2]])
    scene.add(solid, corners.min(0) - 12, corners.max(0) + 12, _any_tissue(rng), label=label)


def add_rods(scene: Scene, first_label: int = 1) -> int:
    """A row of parallel, leaning rods, all alike (ribs, fingers); returns the next free label."""
    rng = scene.rng
    tissue = tissues.thin_bone(rng)
    radius = rng.uniform(2.5, 7)
    lean = rng.normal(0, 1.0, 3) + np.array([0, 0, 0.5])
    lean = lean / np.linalg.norm(lean)
    step = rng.normal(0, 1, 3)
    step = step / np.linalg.norm(step) * radius * rng.uniform(2.1, 6)
    start = rng.uniform(-0.2, 0.2, 3) * scene.size
    half = rng.uniform(20, 90)
    label = first_label
    bow = np.cross(lean, rng.normal(size=3)) * rng.uniform(0, 0.7)
    t = np.linspace(-1, 1, 7)[:, None]
    for k in range(-4, 5):
        path = start + k * step + t * lean * half + (t**2 - 0.5) * bow * half
        path = path + rng.normal(0, 0.5, 3)
        flat = rng.uniform(1.05, 2.0)
        scene.add(
            lambda p, way=path, f=flat: shapes.band(p, way, 2 * radius / f, 2 * radius, step),
            path.min(0) - radius,
            path.max(0) + radius,
            tissue,
            label=label,
        )
        label += 1
    return label
