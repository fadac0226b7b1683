"""Clicks and boxes through Slicer's SmartEdit and OHIF's point panel, in 3-D and on one slice."""

from __future__ import annotations

from dataclasses import replace

from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.configs.options import Settings
from lib.engine.pipeline import Case
from lib.engine.recipe import Recipe
from lib.infers.base import Order, PromptTask
from lib.infers.request import ViewerRequest
from lib.prompts.viewers import from_clicks


class PointTask(PromptTask):
    """Clicks, or a region of interest as a box, through the volume."""

    name = "sam2_ct_points"
    kind = InferType.DEEPGROW
    about = "SAM 2 on CT: click on a bone, it is followed through the volume"
    extra_options = ("object",)
    each_slice_alone = False

    def read(self, request: ViewerRequest, case: Case, settings: Settings) -> Order:
        """See `PromptTask.read`."""
        axis = settings.axis or case.source_grid.axis_of(2)
        marked = from_clicks(request.marks, case.source_grid, axis=axis)
        name = self.object_name(request)
        recipe = Recipe(
            prompts=marked.prompts,
            settings=replace(settings, axis=axis),
            roi=marked.roi,
            each_slice_alone=self.each_slice_alone,
        )
        return Order(recipe, label_names={name: 1}, label=name)


class SliceTask(PointTask):
    """Clicks on slices, each segmented on its own and kept for `sam2_ct_propagate`."""

    name = "sam2_ct_slice"
    dimensions = 2
    about = "SAM 2 on CT: click on one slice; kept as a prompt of sam2_ct_propagate"
    each_slice_alone = True
    hidden_options = frozenset({"policy", "propagation"})
