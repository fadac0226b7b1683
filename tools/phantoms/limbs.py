"""Long bones: a cortical shaft with marrow, swelling into spongy ends, beside others like it."""

from __future__ import annotations

import numpy as np

from lib.sample import shapes
from tools.phantoms import tissues
from tools.phantoms.scene import Scene, Tissue


def add_long_bone(scene: Scene, label: int, center: np.ndarray, length: float) -> None:
    """One bone along a leaning, bowed axis through ``center`` (3,), ``length`` mm long.

    A long bone is often longer than the volume: then only its shaft is seen.
    """
    rng = scene.rng
    radius = rng.uniform(5, 17)
    t = np.linspace(-0.5, 0.5, 9)
    lean = rng.normal(0, 0.22, 2)
    if rng.random() < 0.15:
        lean = rng.normal(0, 1.2, 2)  # lying across
    bow = rng.normal(0, 0.04, 2)
    path = (
        np.column_stack(
            [
                t * length * lean[0] + (t**2 - 0.08) * length * bow[0],
                t * length * lean[1] + (t**2 - 0.08) * length * bow[1],
                t * length,
            ]
        )
        + center
    )
    swell = 1 + rng.uniform(0.1, 1.2) * np.abs(2 * t) ** rng.uniform(2, 6)
    radii = radius * swell
    flat = rng.uniform(0.65, 1.0)
    across = np.append(rng.normal(size=2), 0)
    across /= np.linalg.norm(across)

    def solid(points: shapes.Points) -> shapes.Distance:
        squeeze = points.dtype.type(1 - flat)
        direction = across.astype(points.dtype)
        squeezed = points - squeeze * (points @ direction)[..., None] * direction
        thin = path - (1 - flat) * (path @ across)[:, None] * across
        return shapes.tube(squeezed, thin, radii)

    reach = radii.max() / flat
    tissue = tissues.hollow_bone(rng) if rng.random() < 0.75 else tissues.spongy_bone(rng)
    if rng.random() < 0.4:  # spongy towards the ends: marrow gets bone beams there
        tissue = Tissue(tissue.core + rng.uniform(0, 200), tissue.cortex, tissue.wall, 50)
    scene.add(
        solid,
        path.min(0) - reach,
        path.max(0) + reach,
        tissue,
        label=label,
        rough=rng.uniform(0, 0.6),
    )


def add_limb(scene: Scene, first_label: int = 1) -> int:
    """One to five long bones side by side and end to end; returns the next free label."""
    rng = scene.rng
    label = first_label
    for _ in range(int(rng.integers(1, 6))):
        center = rng.uniform(-0.35, 0.35, 3) * scene.size
        length = scene.size[2] * rng.uniform(0.3, 2.2)
        add_long_bone(scene, label, center, length)
        label += 1
    return label
