"""What a scanner does to the picture: blur, noise, streaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from tools.phantoms.scene import Scene


def scan(scene: Scene) -> NDArray[np.int16]:
    """(X, Y, Z) int16 HU of the scene as a random scanner and kernel would show it."""
    rng = scene.rng
    hu = scene.hu
    blur = rng.uniform(0.2, 0.9)
    hu = gaussian_filter1d(gaussian_filter1d(hu, blur, axis=0), blur, axis=1)
    hu = gaussian_filter1d(hu, rng.uniform(0.1, 0.8), axis=2)
    if rng.random() < 0.12:
        hu = hu + streaks(rng, scene)
    noise = rng.standard_normal(hu.shape).astype(np.float32)
    grain = rng.uniform(0, 0.9)
    if grain > 0.3:
        noise = gaussian_filter(noise, (grain, grain, 0))
        noise /= noise.std()
    hu = hu + noise * np.exp(rng.uniform(np.log(3), np.log(70)))
    return np.clip(hu, -1024, 3071).astype(np.int16)


def streaks(rng: np.random.Generator, scene: Scene) -> NDArray[np.float32]:
    """(X, Y, Z) bright and dark rays from a point of metal, over some slices."""
    x, y, z = (scene.points[..., k] for k in range(3))
    at = rng.uniform(-0.4, 0.4, 3) * scene.size
    angle = np.arctan2(y - at[1], x - at[0])
    distance = np.hypot(x - at[0], y - at[1])
    rays = sum(np.cos(k * angle + rng.uniform(0, 6.3)) for k in rng.integers(3, 18, 4))
    fade = np.exp(-distance / rng.uniform(20, 80) - ((z - at[2]) / rng.uniform(5, 20)) ** 2)
    metal = np.where((distance < 4) & (np.abs(z - at[2]) < 8), 2500, 0)
    return (rays * fade * rng.uniform(50, 300) + metal).astype(np.float32)
