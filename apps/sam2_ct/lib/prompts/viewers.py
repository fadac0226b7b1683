"""What 3D Slicer and OHIF send, as prompts. See their plugins' requests in MONAI Label.

All voxel indices are those of the image file, in the order of its array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Axis, Bounds, Grid
from lib.prompts.boxes import where
from lib.prompts.corrections import Canvas, Choice, decide
from lib.prompts.files import corners, group_points, voxels
from lib.prompts.labelmap import changed_slices, filled_slices, painted
from lib.prompts.types import Box, Prompt, PromptSet, in_plane_dims


@dataclass(frozen=True)
class Segment:
    """A segment of the viewer: its name and its value in the label map."""

    name: str
    value: int


@dataclass(frozen=True, eq=False)
class Marks:
    """What a viewer's parameters say of marks, before they meet a volume.

    Attributes:
        foreground: (n, 3) voxel indices.
        background: (m, 3) voxel indices.
        roi: first and last voxel, (3,) each, or None.
        segments: of the uploaded label map.
        selected: name of the segment that is to be segmented, or None.
    """

    foreground: NDArray[Any]
    background: NDArray[Any]
    roi: Bounds | None = None
    segments: tuple[Segment, ...] = ()
    selected: str | None = None

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> Marks:
        """Read a viewer's parameters.

        `foreground` and `background` are lists of [i, j, k], as lists or as JSON text, and may be
        absent or empty. `roi` is [i0, i1, j0, j1, k0, k1], each pair in either order.
        `label_info` is a list of {name, id}. `slice` is ignored: Slicer sends the offset in mm
        there when only an ROI is placed, and leaves out slice 0.

        Raises:
            BadInput: malformed.
        """
        roi = _listed(said, "roi")
        selected = first_item(said.get("selected_label_name"))
        return cls(
            voxels(_listed(said, "foreground"), "foreground"),
            voxels(_listed(said, "background"), "background"),
            corners(roi, "roi") if roi else None,
            tuple(
                Segment(str(info["name"]), _whole(info["id"], "the id of a segment"))
                for info in _listed(said, "label_info")
                if isinstance(info, Mapping)
                and info.get("name") is not None
                and info.get("id") is not None
            ),
            None if selected in (None, "") else str(selected),
        )

    def within(self, grid: Grid) -> Bounds | None:
        """The region of interest, clipped to the volume; None if there is none.

        Raises:
            BadInput: it misses the volume.
        """
        if self.roi is None:
            return None
        first, last = self.roi
        first, stop = np.maximum(first, 0), np.minimum(last + 1, grid.shape)
        if (stop <= first).any():
            asked = np.stack(self.roi, axis=1).ravel().tolist()
            raise BadInput(f"the region of interest {asked} lies outside the volume {grid.shape}")
        return first, stop

    def segment(self) -> Segment:
        """The selected segment.

        Raises:
            BadInput: it is not among those sent.
        """
        for segment in self.segments:
            if segment.name == self.selected:
                return segment
        known = [segment.name for segment in self.segments]
        raise BadInput(
            f"the selected segment {self.selected!r} is not among the segments sent: {known}"
        )


@dataclass(frozen=True)
class Marked:
    """What a request marks.

    Attributes:
        prompts: on the grid of the image.
        roi: region of interest on the same grid, if any.
        wiped: slices that runs had filled and the annotator emptied.
    """

    prompts: PromptSet
    roi: Bounds | None = None
    wiped: frozenset[int] = frozenset()


def first_item(value: object) -> object:
    """An option as the viewers send it: OHIF's lists stand for their first item."""
    if isinstance(value, list | tuple):
        return value[0] if value else None
    return value


def from_clicks(marks: Marks, grid: Grid, *, axis: Axis | None = None) -> Marked:
    """Points and region of interest of a SmartEdit (deepgrow) request, 2-D or 3-D.

    Points are grouped by slice. Without any point, the ROI is a box on its middle slice.

    Args:
        marks: of the request.
        grid: of the image file.
        axis: the direction of the slices; by default the third dimension of the file.

    Returns:
        Prompts of object 1.

    Raises:
        BadInput: nothing marked, or outside the volume.
    """
    axis = grid.axis_of(2) if axis is None else axis
    roi = marks.within(grid)
    prompts: list[Prompt] = [*group_points(marks.foreground, marks.background, grid, axis, 1)]
    if not prompts:
        if roi is None:
            raise BadInput("no point and no region of interest: click on the object first")
        first, last = roi[0], roi[1] - 1
        dim, plane = grid.dim_of(axis), list(in_plane_dims(grid, axis))
        middle = int(first[dim] + last[dim]) // 2
        prompts = [Box(axis, middle, 1, first[plane], last[plane])]
    return Marked(PromptSet(grid, tuple(prompts)), roi)


def from_scribbles(
    marks: Marks,
    labels: NDArray[Any],
    grid: Grid,
    *,
    choice: Choice = "auto",
    axis: Axis | None = None,
    previous: NDArray[Any] | None = None,
    earlier: PromptSet | None = None,
    wiped: Set[int] = frozenset(),
) -> Marked:
    """Painted slices of a Scribbles request, of the selected segment, as `decide` chooses them.

    Args:
        marks: of the request.
        labels: (X, Y, Z) uploaded label map of all segments.
        grid: of the label map.
        choice: the option `prompt_slices`.
        axis: the direction of the slices; by default the third dimension of the file.
        previous: (X, Y, Z) bool, what the last run returned for this segment.
        earlier: the prompts of that run, on the same grid.
        wiped: slices that were wiped before that run.

    Raises:
        BadInput: no such segment, or nothing that counts is painted.
    """
    axis = grid.axis_of(2) if axis is None else axis
    dim, segment = grid.dim_of(axis), marks.segment()
    masks = {m.index: m for m in painted(labels, grid, axis, [segment.value])}
    if not masks:
        raise BadInput(f"the segment {segment.name!r} is empty: paint it on at least one slice")
    given = () if earlier is None else earlier.select(segment.value, axis)
    canvas = Canvas(painted=masks.keys())
    if previous is not None:
        if previous.shape != labels.shape:
            raise BadInput(
                f"the earlier result has shape {previous.shape}, the label map {labels.shape}"
            )
        canvas = Canvas(
            painted=masks.keys(),
            filled=filled_slices(previous, dim),
            prompted={p.index for p in given},
            differs=changed_slices(where(lambda v: v == segment.value, labels), previous, dim),
            wiped=wiped,
        )
    try:
        decision = decide(canvas, choice)
    except BadInput as error:
        raise BadInput(f"segment {segment.name!r}: {error}") from None
    prompts = (
        *(p for p in given if p.index in decision.kept),
        *(masks[index] for index in decision.new),
    )
    return Marked(PromptSet(grid, prompts), marks.within(grid), decision.wiped)


def _whole(value: object, what: str) -> int:
    """A whole number; viewers send some as text.

    Raises:
        BadInput: it is none.
    """
    text = str(value).strip() if isinstance(value, int | str) else ""
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise BadInput(f"{what} must be a whole number, got {str(value)[:60]!r}")
    return int(text)


def _listed(said: Mapping[str, object], field: str) -> list[object]:
    """A list-valued field: absent, None, "", [] and [[]] are empty; text is read as JSON."""
    value = said.get(field)
    if isinstance(value, str):
        text = value
        try:
            value = json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise BadInput(f"{field} is not a list: {text[:60]!r}") from None
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise BadInput(f"{field} is not a list: {value!r}")
    return [] if list(value) in ([], [[]], [None]) else list(value)
