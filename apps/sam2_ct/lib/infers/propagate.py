"""Automatic segmentation from what was marked before: accepted slices, or a submitted label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.configs.options import Settings
from lib.engine.log import Entry, Key
from lib.engine.pipeline import Case
from lib.engine.recipe import Recipe
from lib.errors import BadInput
from lib.geometry import Axis
from lib.infers.base import Order, PromptTask, Services
from lib.infers.points import SliceTask
from lib.infers.request import ViewerRequest
from lib.prompts.axis import painted_axis
from lib.prompts.boxes import box_of, empty_like_file, where
from lib.prompts.labelmap import from_labelmap
from lib.prompts.types import Mask, PromptSet
from lib.transforms.load import load_labelmap, read_grid

Submitted = Callable[[str], tuple[Path, dict[str, int]] | None]
"""Image id → its label file and the names in it, or None if nothing was submitted."""


class PropagateTask(PromptTask):
    """Every object with accepted slices (or in the submitted label), through the volume."""

    name = "sam2_ct_propagate"
    kind = InferType.SEGMENTATION
    about = "SAM 2 on CT: carries accepted slices, or a submitted label, through the volume"
    extra_options = ("prompt_slices", "source", "object")

    def __init__(self, services: Services, submitted: Submitted) -> None:
        super().__init__(services)
        self._submitted = submitted

    def read(self, request: ViewerRequest, case: Case, settings: Settings) -> Order:
        """See `PromptTask.read`."""
        source = request.options.source
        painted = None if source == "submitted" else self._accepted(request, case)
        origin = "slices accepted earlier"
        if painted is None and source != "accepted":
            painted, origin = self._from_submitted(request, case), "the submitted label"
        if painted is None:
            raise BadInput(
                "there is nothing to propagate: accept slices with sam2_ct_slice, "
                "or submit a label with a few painted slices"
            )
        labels, names, axis = painted
        if settings.axis is not None or axis is None:
            axis = painted_axis(settings.axis, where(lambda v: v != 0, labels), case.source_grid)
        choice = request.options.prompt_slices
        slices = None if isinstance(choice, str) else choice
        prompts = from_labelmap(labels, case.source_grid, axis, slices)
        found = prompts.object_ids
        label_names = {name: value for name, value in names.items() if value in found}
        told = ", ".join(
            f"{name}: {axis.value} {[p.index for p in prompts.select(value)]}"
            for name, value in label_names.items()
        )
        return Order(
            Recipe(
                prompts=prompts,
                settings=replace(settings, axis=axis),
                decided=(f"prompts from {origin} ({told})",),
            ),
            label_names=label_names,
            label="+".join(label_names),
        )

    def _accepted(
        self, request: ViewerRequest, case: Case
    ) -> tuple[np.ndarray, dict[str, int], Axis] | None:
        """Slices that `sam2_ct_slice` returned, the newest of each; None if there are none."""
        here = self.key(request, "")
        wanted = request.object_name
        found = [wanted] if wanted else self.services.results.labels(here.client, here.image)
        names: dict[str, int] = {}
        prompts: list[Mask] = []
        for name, value in _values(found, self.services.config.labels).items():
            masks = self._newest_slices(Key(here.client, here.image, name), case, value)
            if masks:
                names[name] = value
                prompts += masks
        if not prompts:
            return None
        axes = {p.axis for p in prompts}
        if len(axes) > 1:
            raise BadInput("slices were accepted on several axes: choose the axis to propagate on")
        (axis,) = axes
        labels = empty_like_file(case.source_grid.shape, np.uint16)
        view = np.moveaxis(labels, case.source_grid.dim_of(axis), 0)
        for prompt in PromptSet(case.source_grid, tuple(prompts)).prompts:
            view[prompt.index][prompt.mask] = prompt.object_id
        return labels, names, axis

    def _newest_slices(self, key: Key, case: Case, value: int) -> list[Mask]:
        masks: dict[tuple[Axis, int], Mask | None] = {}
        entry: Entry
        for entry in self.services.results.entries(key, SliceTask.name):
            prompts = entry.read().recipe.prompts
            if not prompts.grid.same_as(case.source_grid):
                continue  # another volume under the same name
            labels = entry.labels()
            for axis, index in {(p.axis, p.index) for p in prompts.prompts}:
                mask = np.take(labels, index, axis=case.source_grid.dim_of(axis)) > 0
                # an empty answer still hides what was accepted there before
                masks.setdefault(
                    (axis, index), Mask(axis, index, value, mask) if mask.any() else None
                )
        return [m for m in masks.values() if m is not None]

    def _from_submitted(
        self, request: ViewerRequest, case: Case
    ) -> tuple[np.ndarray, dict[str, int], None] | None:
        found = self._submitted(request.asker.image)
        if found is None:
            return None
        path, names = found
        grid = read_grid(path)
        if not grid.same_as(case.source_grid):
            raise BadInput(
                f"the submitted label lies on another grid than the volume ({grid.shape} against "
                f"{case.source_grid.shape}, or moved)"
            )
        labels, _ = load_labelmap(path)
        box = box_of(labels)
        values = [] if box is None else [int(v) for v in np.unique(labels[box]) if v]
        known = {value: name for name, value in names.items()}
        own = {value: name for name, value in self.services.config.labels.items()}
        return (
            labels,
            {known.get(v) or own.get(v) or f"label_{v}": v for v in values},
            None,
        )


def _values(names: Iterable[str], configured: Mapping[str, int]) -> dict[str, int]:
    """A value for each name: the configured one, else the lowest that is free.

    OHIF shows no values but the configured ones; a single object of any name has the first.
    """
    names = list(names)
    values = {name: configured[name] for name in names if name in configured}
    for name in names:
        if name not in values:
            values[name] = next(v for v in count(1) if v not in values.values())
    return {name: values[name] for name in names}
