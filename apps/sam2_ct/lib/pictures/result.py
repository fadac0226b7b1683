"""The picture of a result: three planes through the middle of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lib.activelearning.next_slice import NextSlice
from lib.engine.pipeline import Case
from lib.engine.report import Outcome
from lib.geometry import Axis
from lib.pictures.figure import Picture, write_png
from lib.pictures.planes import Found, Marked, three_planes
from lib.prompts.types import PromptSet
from lib.transforms.windowed import Windowed


def picture_of(
    shown: Windowed, found: Found, marked: Marked, names: Mapping[int, str] | None = None
) -> Picture:
    """An axial, a coronal and a sagittal plane, with outlines and marked slices."""
    return Picture(shown, found, [three_planes(found)], marked, names or {})


def marked(prompts: PromptSet, suggested: Iterable[NextSlice]) -> Marked:
    """Slices that somebody marked, and those that would help next; all on the file's grid."""
    return Marked(
        _by_axis((p.axis, p.index) for p in prompts.prompts),
        _by_axis((s.axis, s.index) for s in suggested),
    )


def write_picture(
    path: Path, case: Case, outcome: Outcome, prompts: PromptSet, names: Mapping[int, str]
) -> None:
    """Draw what the engine made of a volume that is open.

    Args:
        path: a PNG file.
        case: the volume.
        outcome: the result.
        prompts: what it was made from.
        names: of objects, by id.

    Raises:
        BadInput: it cannot be written there.
    """
    found = Found(outcome.labels, outcome.grid, prompts.object_ids)
    slices = marked(prompts, outcome.report.next_slices)
    write_png(picture_of(case.shown, found, slices, names), path)


def _by_axis(slices: Iterable[tuple[Axis, int]]) -> dict[Axis, list[int]]:
    found: dict[Axis, set[int]] = {}
    for axis, index in slices:
        found.setdefault(axis, set()).add(index)
    return {axis: sorted(indices) for axis, indices in found.items()}
