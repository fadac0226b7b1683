"""Which slice a simulated annotator corrects next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lib.choice import Choice


class Following(Choice):
    """How the slice is chosen."""

    WORST = "worst"
    """The one with the most wrong voxels, which only somebody who has the truth can choose."""
    SUGGESTED = "suggested"
    """The first that the result's report suggests."""
    MIDDLE = "middle"
    """The middle of the largest gap between marked slices."""
    RANDOM = "random"
    """Any slice between the outermost marked ones that is not marked."""


def following(
    choice: Following,
    *,
    wrong: NDArray[np.int_],
    marked: Sequence[int],
    corrected: Collection[int],
    suggested: Sequence[int],
    seed: int,
) -> int | None:
    """The slice to correct, or None where the choice names none.

    Args:
        choice: how to choose.
        wrong: (n,) wrong voxels of every slice.
        marked: slices that carry a prompt, ascending.
        corrected: slices that were corrected; the worst is another, unless every wrong one was.
        suggested: by the result's report, best first.
        seed: of the random choice; the same slices then give the same choice.
    """
    if choice is Following.SUGGESTED:
        return next(iter(suggested), None)
    if choice is Following.WORST:
        found = np.flatnonzero(wrong)
        fresh = [t for t in found if t not in corrected]
        return max(map(int, fresh or found), key=lambda t: wrong[t], default=None)
    if choice is Following.MIDDLE:
        a, b = max(pairwise(marked), key=lambda gap: gap[1] - gap[0], default=(0, 0))
        return (a + b) // 2 if b - a > 1 else None
    free = sorted(set(range(marked[0], marked[-1])) - set(marked))
    return int(np.random.default_rng([seed, *marked]).choice(free)) if free else None
