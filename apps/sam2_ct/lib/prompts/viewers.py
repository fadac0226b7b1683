"""What 3D Slicer and OHIF send, as prompts. See their plugins' requests in MONAI Label.

All voxel indices are those of the image file, in the order of its array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from lib.configs.options import parse_prompt_slices
from lib.errors import BadInput
from lib.geometry import Axis, Bounds, Grid
from lib.prompts.files import corners, group_points, voxels
from lib.prompts.labelmap import changed_slices, filled_slices, painted
from lib.prompts.types import Box, Prompt, PromptSet, in_plane_dims

Request = Mapping[str, object]


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


def from_clicks(
    request: Request, grid: Grid, *, axis: Axis | None = None, object_id: int = 1
) -> Marked:
    """Points and region of interest of a SmartEdit (deepgrow) request, 2-D or 3-D.

    `foreground` and `background` are lists of [i, j, k], as lists or as JSON text, and may be
    absent or empty; points are grouped by slice. `roi` is [i0, i1, j0, j1, k0, k1]. Without any
    point, the ROI is a box on its middle slice. `slice` is ignored: Slicer sends the offset in
    mm there when only an ROI is placed, and leaves out slice 0.

    Args:
        request: the viewer's parameters.
        grid: of the image file.
        axis: the direction of the slices; by default the third dimension of the file.
        object_id: the object all of this is about.

    Raises:
        BadInput: malformed, nothing marked, or outside the volume.
    """
    axis = grid.axis_of(2) if axis is None else axis
    foreground = voxels(_listed(request, "foreground"), "foreground")
    background = voxels(_listed(request, "background"), "background")
    roi = region_of_interest(request, grid)
    prompts: list[Prompt] = list(group_points(foreground, background, grid, axis, object_id))
    if not prompts:
        if roi is None:
            raise BadInput("no point and no region of interest: click on the object first")
        first, last = roi[0], roi[1] - 1
        dim, plane = grid.dim_of(axis), list(in_plane_dims(grid, axis))
        middle = int(first[dim] + last[dim]) // 2
        prompts = [Box(axis, middle, object_id, first[plane], last[plane])]
    return Marked(PromptSet(grid, tuple(prompts)), roi)


def region_of_interest(request: Request, grid: Grid) -> Bounds | None:
    """The request's `roi`, pairs sorted and clipped to the volume; None if absent or empty.

    Raises:
        BadInput: malformed, or it misses the volume.
    """
    value = _listed(request, "roi")
    if not value:
        return None
    first, last = corners(value, "roi")
    first, stop = np.maximum(first, 0), np.minimum(last + 1, grid.shape)
    if (stop <= first).any():
        raise BadInput(f"the region of interest {value} lies outside the volume {grid.shape}")
    return first, stop


def selected_value(request: Request) -> int:
    """The label map value of the segment a Scribbles request is about.

    Raises:
        BadInput: `label_info` and `selected_label_name` do not name one.
    """
    infos = _listed(request, "label_info")
    name = first_item(request.get("selected_label_name"))
    for info in infos:
        if isinstance(info, Mapping) and info.get("name") == name and info.get("id") is not None:
            return _whole(info["id"], "the id of a segment")
    known = [info.get("name") for info in infos if isinstance(info, Mapping)]
    raise BadInput(f"the selected segment {name!r} is not among the segments sent: {known}")


def from_scribbles(
    request: Request,
    labels: np.ndarray,
    grid: Grid,
    *,
    axis: Axis | None = None,
    previous: np.ndarray | None = None,
    earlier: PromptSet | None = None,
    wiped: Set[int] = frozenset(),
) -> Marked:
    """Painted slices of a Scribbles request, of the selected segment.

    The option `prompt_slices` says which slices count as painted by the annotator:

    - `all`: every non-empty one;
    - `changed`: those that differ from `previous`, together with the `earlier` prompts on the
      others (a segment that was filled by the last run keeps what was drawn before it). A prompt
      that was emptied is withdrawn; any other slice that was is `wiped`: the object is not there;
    - `auto` (default): `changed` if the segment is the previous result, corrected; `all` if there
      is none, or if no tracked slice is as it was: then the annotator began anew;
    - `3,40,77`: these.

    Args:
        request: the viewer's parameters.
        labels: (X, Y, Z) uploaded label map of all segments.
        grid: of the label map.
        axis: the direction of the slices; by default the third dimension of the file.
        previous: (X, Y, Z) bool, what the last run returned for this segment.
        earlier: the prompts of that run, on the same grid.
        wiped: slices that were wiped before that run.

    Raises:
        BadInput: malformed, or nothing that counts is painted.
    """
    axis = grid.axis_of(2) if axis is None else axis
    dim = grid.dim_of(axis)
    value = selected_value(request)
    masks = {m.index: m for m in painted(labels, grid, axis, [value])}
    name = first_item(request.get("selected_label_name"))
    if not masks:
        raise BadInput(f"the segment {name!r} is empty: paint it on at least one slice")

    kept = earlier.select(value, axis) if earlier is not None else ()
    given = {p.index for p in kept}
    differs, tracked = set(), set()
    if previous is not None:
        if previous.shape != labels.shape:
            raise BadInput(
                f"the earlier result has shape {previous.shape}, the label map {labels.shape}"
            )
        differs = changed_slices(labels == value, previous, dim)
        tracked = filled_slices(previous, dim) - given
    untouched = tracked - differs  # without any, this is not that result any more
    choice = parse_prompt_slices(first_item(request.get("prompt_slices")) or "auto")
    if choice == "auto":
        choice = "all" if previous is None or (tracked and not untouched) else "changed"
    empty: Set[int] = frozenset()
    if choice == "changed":
        if previous is None:
            raise BadInput("no earlier result to compare with: set prompt_slices to all or auto")
        if untouched:
            empty = (differs - given | wiped) - masks.keys()
        prompts = [p for p in kept if p.index not in differs and p.index in masks]
        prompts += [m for n, m in masks.items() if n in differs]
        if not prompts:
            raise BadInput(f"nothing of the segment {name!r} was painted since the last result")
    elif choice == "all":
        prompts = list(masks.values())
    else:
        blank = [n for n in choice if n not in masks]
        if blank:
            raise BadInput(f"the segment {name!r} is empty on slice {blank[0]}: paint it there")
        prompts = [masks[n] for n in choice]
    return Marked(
        PromptSet(grid, tuple(prompts)), region_of_interest(request, grid), frozenset(empty)
    )


def _whole(value: object, what: str) -> int:
    """A whole number; viewers send some as text.

    Raises:
        BadInput: it is none.
    """
    text = str(value).strip() if isinstance(value, int | str) else ""
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise BadInput(f"{what} must be a whole number, got {str(value)[:60]!r}")
    return int(text)


def _listed(request: Request, field: str) -> list:
    """A list-valued field: absent, None, "", [] and [[]] are empty; text is read as JSON."""
    value = request.get(field)
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError:
            raise BadInput(f"{field} is not a list: {value[:60]!r}") from None
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise BadInput(f"{field} is not a list: {value!r}")
    return [] if list(value) in ([], [[]], [None]) else list(value)
