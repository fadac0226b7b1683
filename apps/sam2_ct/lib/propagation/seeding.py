"""Cross-axis seeding: prompts for the axes nobody painted on, cut from a result of the one painted.

Our addition to the paper's three-axis propagation, whose prompts lie on every axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis, Grid
from lib.prompts.types import Mask

#: Masks wanted; fewer where the object is thinner than that.
_COUNT = 3


def cross_axis_masks(
    logits: NDArray[np.floating[Any]], grid: Grid, axis: Axis, object_id: int
) -> list[Mask]:
    """The most trustworthy cut of each of three equal parts of the object's extent along `axis`.

    A cut is trusted by its area times the mean certainty |2p − 1| of its object voxels.

    Args:
        logits: (X, Y, Z) of the object, from another axis.
        grid: their grid.
        axis: the axis to seed.
        object_id: object the masks are for.

    Returns:
        In slice order; none if the object is empty.
    """
    dim = grid.dim_of(axis)
    inside = logits > 0
    certainty = np.where(inside, np.tanh(logits.astype(np.float32) / 2), 0)
    trust = certainty.sum(axis=tuple(d for d in range(3) if d != dim))
    present = np.flatnonzero(trust)
    if len(present) == 0:
        return []
    parts = np.array_split(np.arange(present[0], present[-1] + 1), _COUNT)
    chosen = [
        int(part[np.argmax(trust[part])]) for part in parts if len(part) and trust[part].any()
    ]
    return [Mask(axis, t, object_id, np.take(inside, t, axis=dim)) for t in chosen]
