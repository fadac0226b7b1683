"""Masks as people draw them: an outline not quite the object's, a slice not quite the intended one.

Every figure with masks cut from the truth flatters: a person's outline wanders, and whoever means
"the first slice" or "a third of the way" stops a slice away. Both are drawn from a seed and the
number of the slice alone, so that every method gets the same drawing, in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.propagation.prior import signed_distance

#: Standard deviation of an outline from the true one: this, or `WANDER_PIXELS` where that is more.
WANDER_MM = 1.0
WANDER_PIXELS = 0.5

#: Blur of the noise that moves it: the hand wanders over millimetres, not from pixel to pixel.
SMOOTH_MM = 5.0


def draw_freehand(
    truth: NDArray[np.bool_], intended: Sequence[int], spacing: Sequence[float], seed: int
) -> dict[int, NDArray[np.bool_]]:
    """What somebody draws who means to paint some slices of an object.

    Args:
        truth: (n, rows, columns) bool, slices first.
        intended: slices of the object.
        spacing: (2,) mm, of rows and columns.
        seed: of the person.

    Returns:
        Painted slice → (rows, columns) bool, never empty; two intentions may meet on one slice.
    """
    occupied = truth.any(axis=(1, 2))
    drawn = {}
    for index in intended:
        rng = np.random.default_rng([seed, index])
        near = [t for t in (index - 1, index + 1) if 0 <= t < len(truth) and occupied[t]]
        t = int(rng.choice(near)) if near else int(index)
        drawn[t] = wander(truth[t], spacing, np.random.default_rng([seed, t, 1]))
    return drawn


def wander(
    mask: NDArray[np.bool_], spacing: Sequence[float], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """A (rows, columns) mask that is not empty, its outline moved by smooth noise.

    What would vanish (a rib of two pixels) moves less: whoever sees it paints it.
    """
    distance = signed_distance(mask, spacing)
    # to the edge between pixels, not to the next pixel's centre
    distance -= np.sign(distance) * min(spacing) / 2
    noise = ndimage.gaussian_filter(
        rng.standard_normal(mask.shape), [SMOOTH_MM / s for s in spacing]
    )
    by = noise / (noise.std() or 1.0) * max(WANDER_MM, WANDER_PIXELS * max(spacing))
    moved = (distance + share * by > 0 for share in (1.0, 0.5, 0.25, 0.0))
    return next(m for m in moved if m.any())


def seed_of(sample: str) -> int:
    """A seed from a sample's name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(sample.encode()).digest()[:8], "big")
