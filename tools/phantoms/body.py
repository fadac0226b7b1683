"""The soft tissue that bones lie in: skin, fat, muscle, organs, lungs, vessels."""

from __future__ import annotations

import numpy as np

from lib.sample import shapes
from tools.phantoms import tissues
from tools.phantoms.scene import Scene, Tissue


def add_body(scene: Scene) -> None:
    """Fat, with muscle inside, as an elliptic column that may be wider than the volume."""
    rng = scene.rng
    half = scene.size / 2
    if rng.random() < 0.3:  # the volume lies wholly inside the body
        scene.hu[:] = rng.uniform(-120, 70)
        radii = half * 3
    else:
        radii = half * rng.uniform(0.85, 1.5, 3)
    center = [*rng.uniform(-0.15, 0.15, 2) * half[:2], 0.0]
    height = half[2] * 2
    wall = rng.uniform(0.05, 0.3) * radii.min()

    def column(points: shapes.Points, shrink: float = 0.0) -> shapes.Distance:
        sides = (float(radii[0] - shrink), float(radii[1] - shrink))
        return shapes.elliptic_cylinder(points, center, sides, height)

    scene.add(column, -half, half, Tissue(tissues.FAT + rng.normal(0, 15), grain=8))
    scene.add(
        lambda p: column(p, wall),
        -half,
        half,
        Tissue(tissues.MUSCLE + rng.normal(0, 20), grain=12),
        rough=wall / 6,
    )


def add_organs(scene: Scene, count: int) -> None:
    """Ellipsoids of soft tissue, fat, gas and lung, rough and overlapping."""
    rng = scene.rng
    for _ in range(count):
        center = rng.uniform(-0.5, 0.5, 3) * scene.size
        radii = np.exp(rng.uniform(np.log(5), np.log(60), 3))
        draw = rng.random()
        tissue = tissues.soft(rng)
        if draw < 0.15:
            tissue = tissues.lung(rng)
        elif draw < 0.35:
            tissue = Tissue(rng.uniform(-130, -60), grain=10)
        scene.add(
            lambda p, c=center, r=radii: shapes.ellipsoid(p, c, r),
            center - radii,
            center + radii,
            tissue,
            rough=rng.uniform(0, 0.12) * radii.min(),
        )


def add_vessels(scene: Scene, count: int) -> None:
    """Wandering tubes along z; three of ten carry contrast agent."""
    rng = scene.rng
    for _ in range(count):
        path = _wander(rng, scene.size)
        radius = rng.uniform(1.5, 11)
        level = rng.uniform(150, 420) if rng.random() < 0.3 else rng.uniform(20, 80)
        scene.add(
            lambda p, way=path, r=radius: shapes.tube(p, way, r),
            path.min(0) - radius,
            path.max(0) + radius,
            Tissue(level),
        )


def _wander(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """(6, 3) a path from below to above the volume, in mm."""
    z = np.linspace(-0.6, 0.6, 6) * size[2]
    start = rng.uniform(-0.4, 0.4, 2) * size[:2]
    steps = np.cumsum(rng.normal(0, 0.06, (6, 2)) * size[2], axis=0)
    return np.column_stack([start + steps, z])
