"""Merging what several passes or axes say of a voxel, and keeping objects apart. Pure arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# SAM 2 writes −1024 where it thinks an object absent; in a mean that would be a veto. ±10 is what
# it gives a painted mask (`_use_mask_as_output`): a confident voice, not the only one.
LOGIT_LIMIT = 10.0
ABSENT = -LOGIT_LIMIT


def mean_logits(volumes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Mean of logit volumes of one shape, each limited to ±10 (paper II-E: averaged logits).

    Returns:
        float32 array of the same shape.
    """
    total = np.zeros(volumes[0].shape, dtype=np.float32)
    for volume in volumes:
        total += np.clip(volume, -LOGIT_LIMIT, LOGIT_LIMIT)
    return total / len(volumes)


def forward_share(t: int, prompted: Sequence[int]) -> float:
    """Weight of the forward pass on slice `t` when passes merge by distance.

    Between prompts a ≤ t ≤ b it is (b − t) / (b − a); outside the prompts the pass that leads
    away from them has all the weight.
    """
    before = [p for p in prompted if p <= t]
    after = [p for p in prompted if p >= t]
    if not before:
        return 0.0
    if not after:
        return 1.0
    a, b = max(before), min(after)
    return 0.5 if a == b else (b - t) / (b - a)


def separate(
    logits: Iterable[tuple[int, NDArray[Any]]], overlap: bool = False
) -> NDArray[np.uint16] | NDArray[np.bool_]:
    """Label map of the objects: each voxel to the object with the highest positive logit.

    Args:
        logits: object ids and their volumes of logits, all of one shape; read one at a time. Of
            equal logits the object that comes first has the voxel.
        overlap: allow overlap; then the result has one leading channel per object.

    Returns:
        (X, Y, Z) uint16 label map, or (objects, X, Y, Z) bool if `overlap`.
    """
    if overlap:
        return np.stack([said > 0 for _, said in logits])
    best = labels = None
    for object_id, said in logits:
        if best is None or labels is None:
            best, labels = np.zeros(said.shape, said.dtype), np.zeros(said.shape, np.uint16)
        labels[said > best] = object_id
        np.maximum(best, said, out=best)
    if labels is None:
        raise ValueError("no object")
    return labels
