"""From a sample to what a method sees: the volume or a crop around the object, and the prompts.

`Scope.OBJECT` is paper II-C: the in-plane box of the ground truth plus the margin of a served
request, as the paper's "rough localisation"; along the axis from the first to the last slice of the
object. That crop is the same for every configuration, so that a slice is encoded once for all.
`Scope.VOLUME` cuts nothing: the engine does, by the prompts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lib.errors import BadInput
from lib.evaluation.configurations import Configuration, Scope
from lib.evaluation.dataset import mask_of, volume_of
from lib.evaluation.freehand import draw_freehand, seed_of
from lib.evaluation.split import Sample
from lib.geometry import Axis, Grid
from lib.prompts.simulated import box_prompts, mask_prompts
from lib.prompts.types import Mask, PromptSet, in_plane_dims
from lib.propagation.settings import Propagation
from lib.transforms.crop import bounds_for, part_of
from lib.transforms.load import load_labelmap, load_volume
from lib.transforms.volume import Volume
from lib.transforms.window import Window
from lib.transforms.windowed import Windowed


@dataclass(frozen=True)
class Scene:
    """A sample as a configuration sees it.

    Attributes:
        image: (X, Y, Z) float32 in [0, 1], windowed, RAS; equalised only if it is a crop.
        raw: (X, Y, Z) float32, the same in the file's unit (HU).
        truth: (X, Y, Z) bool.
        prompts: what was painted or boxed, on the same grid; clicks are made of its masks.
        path: of the whole volume.
        seed: of everything that is drawn by lot for this sample.
    """

    image: np.ndarray
    raw: np.ndarray
    truth: np.ndarray
    prompts: PromptSet
    path: Path
    seed: int

    @property
    def grid(self) -> Grid:
        """The volume's or the crop's grid."""
        return self.prompts.grid


_WINDOWS_HELD = 2


class SceneMaker:
    """Opens samples of a dataset; the last case, two windows of it and a mask stay in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._case: str | None = None
        self._raw: Volume | None = None
        self._source: Grid | None = None
        self._shown: OrderedDict[Window, Windowed] = OrderedDict()
        self._truth: tuple[str, np.ndarray] | None = None

    def __call__(self, sample: Sample, configuration: Configuration) -> Scene:
        """The scene of one sample for one configuration.

        Raises:
            BadInput: a file cannot be used, or mask and volume lie on different grids.
        """
        self._open(sample.case)
        whole = self._raw.grid
        truth = self._truth_of(sample, whole)
        seed = seed_of(sample.id)
        prompts = prompts_for(configuration, truth, whole, seed)
        window, path = configuration.settings.window, volume_of(self.root, sample.case)
        if configuration.scope is Scope.VOLUME:
            shown = self._through(replace(window, clahe=False))
            raw = self._raw.grey.astype(np.float32)
            return Scene(shown.part(whole.bounds, Axis.AXIAL), raw, truth, prompts, path, seed)
        marked = np.argwhere(truth)
        # the crop of a served request with the object as its region of interest, axial slices
        roi = marked.min(0), marked.max(0) + 1
        bounds = bounds_for(prompts, whole, (Axis.AXIAL,), roi)
        grid = part_of(whole, bounds)
        return Scene(
            self._through(window).part(bounds, configuration.settings.engine().axes[0]),
            self._raw.part(bounds).astype(np.float32),
            whole.map_to(grid).array(truth, grid.shape),
            prompts.on(grid),
            path,
            seed,
        )

    def _open(self, case: str) -> None:
        if case == self._case:
            return
        self._case = self._truth = None
        volume = load_volume(volume_of(self.root, case))
        self._case, self._raw, self._source = case, volume.upright(), volume.grid
        self._shown.clear()

    def _through(self, window: Window) -> Windowed:
        if window not in self._shown:
            self._shown[window] = Windowed(self._raw, window)
            while len(self._shown) > _WINDOWS_HELD:
                self._shown.popitem(last=False)
        return self._shown[window]

    def _truth_of(self, sample: Sample, whole: Grid) -> np.ndarray:
        if self._truth is None or self._truth[0] != sample.id:
            file = mask_of(self.root, sample.case, sample.structure)
            labels, grid = load_labelmap(file)
            if not grid.same_as(self._source):
                raise BadInput(f"{file} and its volume lie on different grids: resample the mask")
            self._truth = sample.id, grid.map_to(whole).array(labels > 0, whole.shape)
        return self._truth[1]


def prompts_for(
    configuration: Configuration, truth: np.ndarray, grid: Grid, seed: int
) -> PromptSet:
    """What a configuration's annotator marks: on one axis, or on all three.

    Args:
        configuration: which slices, and how.
        truth: (X, Y, Z) bool.
        grid: of the truth.
        seed: of the hand that draws `freehand`.
    """
    settings = configuration.settings
    axes = tuple(Axis) if settings.propagation is Propagation.THREE_AXIS else (settings.axis,)
    make = box_prompts if configuration.annotation == "box" else mask_prompts
    first, *more = (make(truth, grid, configuration.prompts, axis) for axis in axes)
    marked = first.merged(p for other in more for p in other.prompts)
    if configuration.annotation != "freehand":
        return marked
    return PromptSet(grid, tuple(m for axis in axes for m in _freehand(marked, truth, axis, seed)))


def _freehand(intended: PromptSet, truth: np.ndarray, axis: Axis, seed: int) -> list[Mask]:
    grid = intended.grid
    drawn = draw_freehand(
        np.moveaxis(truth, grid.dim_of(axis), 0),
        [p.index for p in intended.select(axis=axis)],
        [grid.spacing[d] for d in in_plane_dims(grid, axis)],
        seed,
    )
    return [Mask(axis, t, 1, mask) for t, mask in drawn.items()]
