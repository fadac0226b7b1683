"""Who lies on the table: what differs from case to case, and what a bone is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]
Box = tuple[Vector, Vector]


@dataclass(frozen=True)
class Patient:
    """What differs from case to case; lengths in mm, angles in degrees, densities in HU."""

    size: float  # 1 is a small adult
    turn: Vector  # how the body lies: rotation about x, y, z
    fat: float  # thickness of the layer under the skin
    bend: float  # sideways bow of the spine
    lordosis: float  # forward bow of the lumbar spine
    spongy: float
    cortical: float
    noise: float  # standard deviation
    origin: Vector  # of the scanner's coordinates


def draw_patient(rng: np.random.Generator) -> Patient:
    """A random patient within the range of adults that fit the default field of view."""
    return Patient(
        size=rng.uniform(0.94, 1.03),
        turn=(rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(-5, 5)),
        fat=rng.uniform(6, 15),
        bend=rng.uniform(-6, 6),
        lordosis=rng.uniform(8, 16),
        spongy=rng.uniform(200, 280),
        cortical=rng.uniform(950, 1250),
        noise=rng.uniform(14, 28),
        origin=(rng.uniform(-190, -150), rng.uniform(-160, -120), rng.uniform(-900, -300)),
    )


@dataclass(frozen=True)
class Bone:
    """One labelled solid.

    Attributes:
        name: TotalSegmentator's name.
        bounds: Box in the body frame that holds it.
        distance: SDF over body-frame points.
        cortex: Thickness of its dense shell, mm.
    """

    name: str
    bounds: Box
    distance: Callable[[Array], Array]
    cortex: float = 1.8
