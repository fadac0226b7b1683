"""Mask prompts through Slicer's Scribbles panel: paint some slices, press Update."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.configs.options import Settings
from lib.engine.pipeline import Case
from lib.engine.recipe import Recipe
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.infers.base import Order, PromptTask
from lib.infers.request import ViewerRequest
from lib.prompts.axis import narrowest, painted_axis
from lib.prompts.boxes import where
from lib.prompts.types import PromptSet
from lib.prompts.viewers import from_scribbles
from lib.prompts.wiped import Wiped
from lib.transforms.load import load_labelmap, read_grid


@dataclass(frozen=True)
class Before:
    """The last run of a segment.

    Attributes:
        labels: (X, Y, Z) bool, what it gave.
        prompts: what it was given, under today's label value.
        wiped: slices the segment was not to be on.
    """

    labels: np.ndarray
    prompts: PromptSet
    wiped: tuple[Wiped, ...]

    def wiped_along(self, axis: Axis) -> frozenset[int]:
        """Slices of `axis` on which the segment was not to be at all."""
        return frozenset().union(*(w.slices for w in self.wiped if w.axis is axis))


class MaskTask(PromptTask):
    """The selected segment's painted slices, through the volume; other segments are left alone."""

    name = "sam2_ct_masks"
    kind = InferType.SCRIBBLES
    about = "SAM 2 on CT: paint a segment on a few slices, then Update"
    extra_options = ("prompt_slices",)

    def read(self, request: ViewerRequest, case: Case, settings: Settings) -> Order:
        """See `PromptTask.read`."""
        labels, grid = self._painted(request, case)
        segment = request.marks.segment()
        name, value = segment.name, segment.value
        before = self._before(request, name, value, labels.shape)
        painted = where(lambda v: v == value, labels)
        axis = stacked_along(settings.axis, painted, before, grid)
        marked = from_scribbles(
            request.marks,
            labels,
            grid,
            choice=request.options.prompt_slices,
            axis=axis,
            previous=None if before is None else before.labels,
            earlier=None if before is None else before.prompts,
            wiped=frozenset() if before is None else before.wiped_along(axis),
        )
        wiped = sorted(marked.wiped)
        taken = where(lambda v: (v != 0) & (v != value), labels)
        slices = (p.index for p in marked.prompts.prompts)
        decided = [f"prompts of {name!r}: {axis.value} slices {', '.join(map(str, slices))}"]
        if wiped:
            left = ", ".join(map(str, wiped))
            decided.append(f"left empty, since you wiped them: {axis.value} slices {left}")
        recipe = Recipe(
            prompts=marked.prompts.renamed({value: 1}),
            settings=replace(settings, axis=axis),
            roi=marked.roi,
            taken=taken if taken.any() else None,
            wiped=(Wiped(1, axis, frozenset(wiped)),) if wiped else (),
            decided=tuple(decided),
        )
        return Order(recipe, label_names={name: 1}, label=name)

    def _painted(self, request: ViewerRequest, case: Case) -> tuple[np.ndarray, Grid]:
        """The uploaded label map, checked against the volume; on exactly the volume's grid."""
        path = request.label_file
        if path is None:
            raise BadInput("no label map came with the request: paint in the Scribbles panel first")
        grid = read_grid(path)  # before anything is decompressed
        if not grid.same_as(case.source_grid):
            raise BadInput(
                f"the painted label map lies on another grid than the volume ({grid.shape} against "
                f"{case.source_grid.shape}, or moved): use the volume as the segmentation's "
                "source geometry"
            )
        return load_labelmap(path)[0], case.source_grid

    def _before(
        self, request: ViewerRequest, name: str, value: int, shape: tuple[int, ...]
    ) -> Before | None:
        """The last run of this segment; None if there was none, or on another volume."""
        last = self.services.results.last(self.key(request, name), self.name)
        if last is None or (labels := last.labels()).shape != shape:
            return None
        recipe = last.read().recipe
        found = where(lambda v: v != 0, labels)
        return Before(found, recipe.prompts.renamed({1: value}), recipe.wiped)


def stacked_along(
    asked: Axis | None, painted: np.ndarray, before: Before | None, grid: Grid
) -> Axis:
    """The axis whose slices the annotator painted: a few in an empty segment, or on a result.

    Raises:
        BadInput: another axis was asked for.
    """
    if before is None:
        return painted_axis(asked, painted, grid)
    changed = where(lambda a, b: a != b, painted, before.labels)
    if asked is not None or not changed.any():
        return asked or before.prompts.prompts[0].axis
    return narrowest(grid, painted, changed)
