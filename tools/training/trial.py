"""The engine on one known object: simulated prompts in, mask out. For validation and reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis, Grid
from lib.prompts.simulated import box_prompts, mask_prompts, point_prompts
from lib.prompts.types import PromptSet
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.policy import parse_policy
from lib.propagation.settings import Propagation, PropagationSettings
from lib.transforms.window import PRESETS
from tools.phantoms.generate import generate

UNSEEN = 10_000_000  # seeds from here on are never trained on
FEWEST_SLICES = 7  # the paper's: more than six
MARKS = {"masks": mask_prompts, "boxes": box_prompts, "clicks": point_prompts}


@dataclass(frozen=True)
class Object:
    """One structure with its surroundings, cut as in the paper's rough localisation.

    Attributes:
        name: case and structure.
        hu: (X, Y, Z) float32.
        truth: (X, Y, Z) bool, on every end of Z at least one voxel.
        grid: of both, RAS.
    """

    name: str
    hu: NDArray[np.float32]
    truth: NDArray[np.bool_]
    grid: Grid

    @property
    def slices(self) -> int:
        """Axial slices from the first to the last of the object."""
        return self.truth.shape[2]


def around(name: str, hu: NDArray, truth: NDArray[np.bool_], spacing: NDArray) -> Object:
    """Cuts to the object's box plus 25 % or 16 mm; along z to its range."""
    where = np.argwhere(truth)
    low, high = where.min(0), where.max(0) + 1
    margin = np.ceil(np.maximum(0.25 * (high - low), 16.0 / spacing)).astype(int)
    margin[2] = 0
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, truth.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = Grid(truth[box].shape, np.diag([*spacing, 1.0]))
    return Object(name, hu[box].astype(np.float32), truth[box], grid)


def phantom_objects(count: int) -> Iterator[Object]:
    """Objects of more than six slices of ``count`` unseen phantoms, at most three of one."""
    for seed in range(UNSEEN, UNSEEN + count):
        phantom = generate(seed)
        spacing = np.array(phantom.spacing)
        labels = [k for k in np.unique(phantom.labels) if k]
        np.random.default_rng(seed).shuffle(labels)
        taken = 0
        for label in labels:
            truth = phantom.labels == label
            if np.count_nonzero(truth.any((0, 1))) < FEWEST_SLICES or truth.sum() < 100:
                continue
            yield around(f"{seed - UNSEEN}-{phantom.kind}-{label}", phantom.hu, truth, spacing)
            taken += 1
            if taken == 3:
                break


def real_objects(root: Path) -> Iterator[Object]:
    """Structures of more than six slices of a data set in TotalSegmentator's layout."""
    for case in sorted(p.parent for p in root.glob("*/ct.nii.gz")):
        image = nib.as_closest_canonical(nib.load(case / "ct.nii.gz"))
        hu, spacing = np.asarray(image.dataobj), np.array(image.header.get_zooms()[:3])
        for path in sorted((case / "segmentations").glob("*.nii.gz")):
            truth = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj) > 0
            if np.count_nonzero(truth.any((0, 1))) >= FEWEST_SLICES:
                yield around(f"{case.name}-{path.name[:-7]}", hu, truth, spacing.astype(float))


def segment(
    inferer: PseudoVideoInferer,
    thing: Object,
    *,
    strategy: str = "first-middle-last",
    marks: str = "masks",
    policy: str = "baseline",
    propagation: str = "single",
    axes: tuple[Axis, ...] = (Axis.AXIAL,),
) -> NDArray[np.bool_]:
    """The engine's (X, Y, Z) mask from ``marks`` on the slices that ``strategy`` names."""
    image = PRESETS["bone"].apply(thing.hu)
    prompts: list = []
    for axis in axes:
        prompts += MARKS[marks](thing.truth, thing.grid, strategy, axis).prompts
    settings = PropagationSettings(
        policy=parse_policy(policy), propagation=Propagation.parse(propagation), axis=axes[0]
    )
    found = inferer(image, PromptSet(thing.grid, tuple(prompts)), settings)
    return found.logits[1] > 0
