"""What is said of an object's slices once its result is there: how wrong, and where it moves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.propagation.records import SliceRecord, Source
from lib.propagation.uncertainty import uncertainty


def judged(
    records: Sequence[SliceRecord],
    found: NDArray[np.floating[Any]],
    shapes: Mapping[int, float],
    passes: Mapping[int, float],
    axes: Mapping[int, float],
) -> list[SliceRecord]:
    """Records of one object on one axis, tracked slices with `uncertainty` and `moved`.

    Args:
        records: of every pass.
        found: (slices, rows, columns) logits of the result, as stacked along the axis.
        shapes: slice → disagreement with the shape interpolated between painted slices.
        passes: slice → disagreement of the two directions.
        axes: slice → disagreement of this axis with all three together.
    """
    sure: dict[int, list[float]] = {}
    for r in records:
        sure.setdefault(r.index, []).append(r.predicted_iou)
    moved = motion(found)
    done = []
    for r in records:
        if r.source is not Source.PROMPT:
            others = [voices[r.index] for voices in (passes, axes) if r.index in voices]
            said = uncertainty(
                fmean(sure[r.index]), shapes.get(r.index), max(others) if others else None
            )
            r = replace(r, uncertainty=round(said, 4), moved=round(float(moved[r.index]), 1))
        done.append(r)
    return done


def motion(found: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Voxels in which the mask of a slice differs from those before and after it, mean of the two.

    These are the nearest that are not empty: a slice on which the object was lost differs from
    both by all that they hold. An empty slice with the object on one side only does not move: the
    object has ended.

    Args:
        found: (slices, rows, columns) logits; > 0 is the object.

    Returns:
        (slices,); 0 where there is none on either side.
    """
    there = [t for t in range(len(found)) if (found[t] > 0).any()]
    moved = np.zeros(len(found))
    for t in range(len(found)):
        at = bisect_left(there, t)
        own = at < len(there) and there[at] == t
        beside = there[max(at - 1, 0) : at] + there[at + own : at + own + 1]
        if len(beside) == 2 or (own and beside):
            here = found[t] > 0  # slice by slice: of a large volume no copy
            moved[t] = fmean(np.count_nonzero((found[n] > 0) != here) for n in beside)
    return moved
