"""What came of one run of the network on a crop, brought to the file's grid."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.engine.report import CropReport, ObjectReport
from lib.geometry import Axis, Grid
from lib.prompts.boxes import box_of, empty_like_file
from lib.propagation.fusion import ABSENT, separate
from lib.propagation.records import ObjectEnds, Propagated, Rule
from lib.transforms.crop import part_of
from lib.transforms.restore import to_file_grid

_SLICES = 16  # at a time: logits of a large crop are not held twice
_NOWHERE = (slice(0, 0),) * 3


@dataclass(frozen=True)
class Part:
    """One run of the network.

    Attributes:
        grid: of the crop it saw, RAS.
        found: what it says; slices are those of the crop.
    """

    grid: Grid
    found: Propagated


def label_map(
    parts: Sequence[Part], ids: Sequence[int], source: Grid, overlap: bool
) -> NDArray[Any]:
    """The objects of all parts on the file's grid.

    Args:
        parts: runs whose crops may differ, and overlap.
        ids: the objects, ascending.
        source: the file's grid.
        overlap: objects may share voxels.

    Returns:
        (X, Y, Z), each voxel to the object with the highest positive logit, uint8 if the ids fit,
        else uint16; if `overlap`, (objects, X, Y, Z) bool in the order of `ids`.
    """
    corners = [crop_report(part, source) for part in parts]
    first = np.min([c.first for c in corners], axis=0)
    stop = np.max([c.stop for c in corners], axis=0)
    labels = (
        empty_like_file((len(ids), *source.shape), np.dtype(bool))
        if overlap
        else empty_like_file(source.shape, np.min_scalar_type(max(ids)))
    )
    inside = labels[..., first[0] : stop[0], first[1] : stop[1], :]  # nothing is found beyond
    for k in range(first[2], stop[2], _SLICES):
        low, high = first.copy(), stop.copy()
        low[2], high[2] = k, min(k + _SLICES, stop[2])
        slab = part_of(source, (low, high))
        logits = ((i, _logits_in(slab, parts, i)) for i in ids)
        inside[..., k : high[2]] = separate(logits, overlap)
    return labels


def _logits_in(slab: Grid, parts: Sequence[Part], object_id: int) -> NDArray[Any]:
    """The highest logits that any part has of an object, on a crop of the file's grid."""
    found = [
        to_file_grid(part.found.logits[object_id], part.grid, slab, fill=ABSENT)
        for part in parts
        if object_id in part.found.logits
    ]
    return functools.reduce(np.maximum, found)


def in_file(part: Part, source: Grid) -> Propagated:
    """What a part says, slices counted as in the file."""

    def index(axis: Axis, t: int) -> int:
        (there,) = voxels.slices([t], part.grid.dim_of(axis))
        return there

    voxels = part.grid.map_to(source)
    found = part.found
    ends = []
    for end in found.ends:
        sides = [
            (index(end.axis, end.first), end.first_rule, end.first_why),
            (index(end.axis, end.last), end.last_rule, end.last_why),
        ]
        (first, first_rule, first_why), (last, last_rule, last_why) = sorted(
            sides, key=lambda side: side[0]
        )
        ends.append(
            ObjectEnds(
                end.object_id, end.axis, first, last, first_rule, last_rule, first_why, last_why
            )
        )
    absent = []
    for gap in found.absent:
        first, last = sorted((index(gap.axis, gap.first), index(gap.axis, gap.last)))
        absent.append(replace(gap, first=first, last=last))
    return replace(
        found,
        slices=[replace(r, index=index(r.axis, r.index)) for r in found.slices],
        ends=ends,
        absent=absent,
    )


def crop_report(part: Part, source: Grid) -> CropReport:
    """Where the part's crop lies in the file."""
    corners = np.array([[0, 0, 0], np.array(part.grid.shape) - 1])
    ends = part.grid.map_to(source).points(corners)
    first, last = ends.min(0).astype(int), ends.max(0).astype(int)
    return CropReport(
        objects=tuple(sorted(part.found.logits)),
        first=tuple(first.tolist()),
        stop=tuple((last + 1).tolist()),
        shape=part.grid.shape,
    )


def leave_out(
    labels: NDArray[Any],
    ids: Sequence[int],
    taken: NDArray[Any] | None,
    wiped: NDArray[Any] | None,
    beyond: Mapping[int, int],
) -> tuple[ObjectReport, ...]:
    """Take voxels of other segments and of wiped slices out of `labels`, in place, and count.

    Args:
        labels: (X, Y, Z) label map, or (objects, X, Y, Z) bool in the order of `ids`.
        ids: the objects.
        taken: (X, Y, Z) bool, voxels of other segments.
        wiped: (X, Y, Z) bool, voxels of wiped slices.
        beyond: object → voxels that the engine left out already, beyond its ends.
    """
    reports = []
    for n, object_id in enumerate(ids):
        volume = labels[n] if labels.ndim == 4 else labels
        box = box_of(volume) or _NOWHERE
        inside = volume[box]
        its = inside if labels.ndim == 4 else inside == object_id
        counts = []
        for excluded in (taken, wiped):
            if excluded is None:
                counts.append(0)
                continue
            out = its & excluded[box]
            counts.append(int(out.sum()))
            inside[out] = 0
            its = its & ~out
        left_to_others, left_empty = counts
        reports.append(
            ObjectReport(
                object_id, int(its.sum()), left_to_others, left_empty, beyond.get(object_id, 0)
            )
        )
    return tuple(reports)


_DECIDED = {Rule.AUTO_STOPPED, Rule.AUTO_WENT_ON, Rule.OPEN}
"""Rules under which the engine, not the user, found the end."""


def end_sentences(ends: Sequence[ObjectEnds], ids: Sequence[int]) -> list[str]:
    """Where objects end that were followed beyond their marked slices, a sentence for each.

    Args:
        ends: slices counted as in the file.
        ids: of the objects; a single one needs no number.
    """
    sentences = []
    for end in ends:
        if not _DECIDED & {end.first_rule, end.last_rule}:
            continue
        who = "the object" if len(ids) == 1 else f"object {end.object_id}"
        sentences.append(
            f"{who} ends at {end.axis.value} slices {end.first} ({end.first_why}) and "
            f"{end.last} ({end.last_why})"
        )
    return sentences


def left_out_sentences(objects: Sequence[ObjectReport]) -> list[str]:
    """What was taken out of the result, a sentence for each reason."""
    reasons = (
        (sum(o.left_to_others for o in objects), "belong to other segments and were left to them"),
        (sum(o.left_empty for o in objects), "lie on slices you wiped and were left out"),
        (sum(o.beyond for o in objects), "lie beyond the object's ends and were left out"),
    )
    return [f"{voxels} voxels {why}" for voxels, why in reasons if voxels]
