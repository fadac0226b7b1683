"""The `--points FILE.json` of the command line."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.files import read_json
from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Points, Prompt, PromptSet, in_plane_dims

_FIELDS = {"object", "axis", "foreground", "background", "box"}


def read_points(path: str | Path, grid: Grid) -> PromptSet:
    """Read points and boxes given as voxel indices of the CT file.

    The file is a list of entries `{"object": 1, "axis": "axial", "foreground": [[i, j, k], ...],
    "background": [[i, j, k], ...], "box": [i0, i1, j0, j1, k0, k1]}`. `object` (default 1) and
    `axis` (default axial) may be left out, and any of the other three, but not all. Points are
    grouped by slice along the axis. A box names first and last voxel, in either order, and spans
    one slice along its axis.

    Raises:
        BadInput: no such file, not JSON, or an entry that does not fit; names entry and field.
    """
    path = Path(path)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{path} must hold a list with at least one entry")
    prompts: list[Prompt] = []
    for number, entry in enumerate(entries):
        try:
            prompts += from_entry(entry, grid)
        except BadInput as error:
            raise BadInput(f"{path}, entry {number}: {error}") from None
    return PromptSet(grid, tuple(prompts))


def from_entry(entry: object, grid: Grid) -> list[Prompt]:
    """The prompts of one entry.

    Raises:
        BadInput: names the field that does not fit.
    """
    if not isinstance(entry, dict):
        raise BadInput("must be an object with foreground, background or box")
    unknown = set(entry) - _FIELDS
    if unknown:
        raise BadInput(f"unknown field {', '.join(sorted(unknown))}: use {', '.join(_FIELDS)}")
    object_id = entry.get("object", 1)
    if isinstance(object_id, bool) or not isinstance(object_id, int) or not 0 < object_id < 65536:
        raise BadInput(f"object must be a whole number from 1 to 65535, not {object_id!r}")
    axis = Axis.parse(entry.get("axis", "axial"))
    foreground = voxels(entry.get("foreground", []), "foreground")
    background = voxels(entry.get("background", []), "background")
    prompts: list[Prompt] = list(group_points(foreground, background, grid, axis, object_id))
    if "box" in entry:
        first, last = corners(entry["box"], "box")
        dim = grid.dim_of(axis)
        if first[dim] != last[dim]:
            raise BadInput(
                f"box must span one {axis.value} slice, it runs from {first[dim]} to {last[dim]}"
            )
        plane = list(in_plane_dims(grid, axis))
        prompts.append(Box(axis, int(first[dim]), object_id, first[plane], last[plane]))
    if not prompts:
        raise BadInput("has neither foreground nor background nor box")
    for prompt in prompts:
        PromptSet(grid, (prompt,))  # so that a prompt outside the volume is told with its entry
    return prompts


def voxels(value: object, field: str) -> NDArray[Any]:
    """A list of [i, j, k] as (n, 3) float.

    Raises:
        BadInput: anything else.
    """
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty((0, 0))
        value = value or "something else"
    if isinstance(value, list) and len(value) == 0:
        return np.empty((0, 3))
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise BadInput(f"{field} must be a list of [i, j, k], not {_short(value)}")
    return points


def corners(value: object, field: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """[i0, i1, j0, j1, k0, k1], each pair in either order, as first and last voxel, (3,) int.

    Raises:
        BadInput: anything else.
    """
    try:
        pairs = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        pairs = np.empty(0)
    if pairs.shape != (6,) or not np.isfinite(pairs).all():
        raise BadInput(f"{field} must be [i0, i1, j0, j1, k0, k1], not {_short(value)}")
    pairs = np.rint(np.sort(pairs.reshape(3, 2), axis=1)).astype(int)
    return pairs[:, 0], pairs[:, 1]


def group_points(
    foreground: NDArray[Any], background: NDArray[Any], grid: Grid, axis: Axis, object_id: int
) -> list[Points]:
    """(n, 3) and (m, 3) voxel indices, one `Points` for each slice of `axis` they lie on."""
    dim = grid.dim_of(axis)
    plane = list(in_plane_dims(grid, axis))
    slices: dict[int, tuple[list[NDArray[Any]], list[NDArray[Any]]]] = defaultdict(lambda: ([], []))
    for kind, points in enumerate((foreground, background)):
        for point in points:
            slices[int(np.rint(point[dim]))][kind].append(point[plane])
    return [
        Points(axis, index, object_id, np.reshape(fore, (-1, 2)), np.reshape(back, (-1, 2)))
        for index, (fore, back) in sorted(slices.items())
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
