"""Logs of earlier versions, brought to today's schema: what made a result then makes it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lib.errors import BadInput
from lib.geometry import Axis
from lib.prompts.record import from_record, pack, unpack

FORMAT = "sam2_ct result"
SCHEMA = 4

Content = dict[str, Any]


def migrated(content: object, name: str) -> Content:
    """The JSON of a log in schema `SCHEMA`.

    Args:
        content: as it was read.
        name: of the file, for the message.

    Raises:
        BadInput: not a log, or one of a later version.
    """
    if not isinstance(content, dict):
        raise BadInput(f"{name} is not the log of a result")
    if content.get("format") == f"{FORMAT} 1":
        content = content | {"format": FORMAT, "schema": 1}
    if content.get("format") != FORMAT:
        raise BadInput(f"{name} is not the log of a result: its format is not {FORMAT!r}")
    schema = content.get("schema")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise BadInput(f"{name} is of schema {schema}, this version reads up to {SCHEMA}: update")
    for version in range(schema, SCHEMA):
        content = _STEPS[version](content) | {"schema": version + 1}
    return content


def _from_1(content: Content) -> Content:
    """Values were given after the run, wiped slices stood among the voxels of other segments."""
    recipe = dict(content["recipe"])
    values = recipe.pop("values") or {}
    prompts = recipe["prompts"]
    renamed = [
        p | {"object": values.get(str(p["object"]), p["object"])} for p in prompts["prompts"]
    ]
    recipe["prompts"] = prompts | {"prompts": renamed}
    recipe |= {"crop": None, "wiped": [], "decided": []}
    if recipe["taken"] is not None:
        recipe |= _without_whole_slices(recipe["taken"], recipe["prompts"])
    report = content["report"] | {"threads": content["threads"]}
    return {**content, "recipe": recipe, "report": report}


def _from_2(content: Content) -> Content:
    """Tracking went on to the volume's edge, or until three slices in a row were empty."""
    recipe, report = content["recipe"], content["report"]
    then = {"extent": "whole", "prior": "off"}
    settings = recipe["settings"] | then
    report = report | {"settings": report.get("settings", {}) | then}
    return {**content, "recipe": recipe | {"settings": settings}, "report": report}


def _without_whole_slices(record: Mapping[str, Any], prompts: Mapping[str, Any]) -> Content:
    """`taken` without the slices that are taken as a whole, and those slices as `wiped`."""
    taken, marked = unpack(record), from_record(prompts)
    wiped = []
    axes: set[tuple[int, Axis]] = {(p.object_id, p.axis) for p in marked.prompts}
    for object_id, axis in sorted(axes):
        dim = marked.grid.dim_of(axis)
        whole = np.flatnonzero(taken.all(tuple(d for d in range(3) if d != dim)))
        np.moveaxis(taken, dim, 0)[whole] = False
        if len(whole):
            wiped.append({"object": object_id, "axis": axis.value, "slices": whole.tolist()})
    return {"taken": pack(taken) if taken.any() else None, "wiped": wiped}


def _from_3(content: Content) -> Content:
    """There was one input size, the checkpoint's own."""
    recipe = content["recipe"]
    settings = recipe["settings"] | {"input": "own"}
    return {**content, "recipe": recipe | {"settings": settings}}


_STEPS: Mapping[int, Callable[[Content], Content]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
}
