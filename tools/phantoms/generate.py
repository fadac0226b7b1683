"""From a seed to a labelled CT-like volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.phantoms import body, clutter, limbs, plates, spine
from tools.phantoms.scanner import scan
from tools.phantoms.scene import Scene

KINDS = ("spine", "thorax", "limb", "plates", "skull", "lumps", "rods", "trees", "mixed")
WEIGHTS = (0.24, 0.16, 0.15, 0.12, 0.03, 0.1, 0.08, 0.04, 0.08)
MAX_VOXELS = 700_000


@dataclass(frozen=True)
class Phantom:
    """A made-up CT and what is in it.

    Attributes:
        hu: (X, Y, Z) int16.
        labels: (X, Y, Z) uint8; every object has its own number, 0 is background.
        spacing: (3,) mm.
        kind: one of `KINDS`.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    kind: str


def random_grid(
    rng: np.random.Generator, extent: float
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """A shape and a spacing: pixels of 0.7–3 mm, slices of 1–5 mm, about ``extent`` mm wide."""
    pixel = float(np.exp(rng.uniform(np.log(0.8), np.log(3.0))))
    layer = float(np.clip(pixel * np.exp(rng.uniform(np.log(0.8), np.log(4))), 1.0, 5.0))
    if rng.random() < 0.25:
        pixel = layer = 3.0  # what public low-resolution sets have
    width = int(np.clip(extent * rng.uniform(0.8, 1.3) / pixel, 40, 150))
    depth = int(np.clip(extent * rng.uniform(0.7, 1.2) / pixel, 40, 150))
    slices = int(np.clip(extent * rng.uniform(0.5, 1.1) / layer, 20, 72))
    excess = (width * depth * slices / MAX_VOXELS) ** 0.5
    if excess > 1:
        width, depth = int(width / excess), int(depth / excess)
    return (width, depth, slices), (pixel, pixel, layer)


def generate(seed: int, kind: str | None = None) -> Phantom:
    """One phantom; the same seed and kind give the same voxels."""
    rng = np.random.default_rng([20260323, seed])
    drawn = str(rng.choice(KINDS, p=WEIGHTS))
    kind = kind or drawn
    extent = {"thorax": 200, "spine": 130, "skull": 150}.get(kind, rng.uniform(80, 160))
    shape, spacing = random_grid(rng, extent)
    scene = Scene(shape, spacing, rng)
    if rng.random() < 0.7:
        scene.bend(rng.uniform(0.5, 5), rng.uniform(30, 90))
    body.add_body(scene)
    body.add_organs(scene, int(rng.integers(0, 9)))
    if kind in ("spine", "thorax"):
        spine.add_spine(scene, ribs=kind == "thorax")
    elif kind == "limb":
        limbs.add_limb(scene)
    elif kind == "plates":
        plates.add_plates(scene)
    elif kind == "skull":
        plates.add_skull(scene, 1)
        clutter.add_lumps(scene, 2)
    elif kind == "lumps":
        clutter.add_lumps(scene)
    elif kind == "rods":
        clutter.add_rods(scene)
    elif kind == "trees":
        for label in range(1, 4):
            clutter.add_tree(scene, label)
    else:
        label = plates.add_plates(scene)
        label = limbs.add_limb(scene, label)
        clutter.add_rods(scene, label)
    body.add_vessels(scene, int(rng.integers(0, 5)))
    return Phantom(scan(scene), scene.labels, spacing, kind)
