"""Everything that decides a result, in one value: what the server runs, logs, and can run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lib.configs.settings import Settings
from lib.errors import BadInput
from lib.geometry import Axis, Bounds
from lib.pipeline import Case, Outcome, Pipeline
from lib.prompts.record import Record, from_record, pack, to_record, unpack
from lib.prompts.types import PromptSet
from lib.propagation.inferer import Progress
from lib.propagation.settings import Propagation


@dataclass(frozen=True)
class Recipe:
    """How to get a result from a volume and a checkpoint.

    Attributes:
        prompts: on the file's grid.
        settings: what to do with them.
        roi: first voxel and the one after the last, or None.
        each_slice_alone: prompted slices are segmented one by one, nothing is propagated.
        taken: (X, Y, Z) bool, voxels of other segments and slices the annotator wiped: the result
            leaves them alone, and they are kept out of the memory that tracks the object.
        values: object ids and the values they get in the result; None: their own.
    """

    prompts: PromptSet
    settings: Settings
    roi: Bounds | None = None
    each_slice_alone: bool = False
    taken: np.ndarray | None = None
    values: Mapping[int, int] | None = None

    def describe(self) -> Record:
        """JSON-ready; `read` of it gives this recipe again."""
        return {
            "prompts": to_record(self.prompts),
            "settings": self.settings.describe(),
            "roi": None if self.roi is None else [np.asarray(b).tolist() for b in self.roi],
            "each_slice_alone": self.each_slice_alone,
            "taken": None if self.taken is None else pack(self.taken),
            "values": self.values and {str(i): v for i, v in self.values.items()},
        }

    @classmethod
    def read(cls, record: Mapping[str, object]) -> Recipe:
        """Inverse of `describe`.

        Raises:
            BadInput: not such a record.
        """
        try:
            roi, taken, values = record["roi"], record["taken"], record["values"]
            return cls(
                prompts=from_record(record["prompts"]),
                settings=Settings.parse(record["settings"]),
                roi=None if roi is None else (np.array(roi[0]), np.array(roi[1])),
                each_slice_alone=bool(record["each_slice_alone"]),
                taken=None if taken is None else unpack(taken),
                values=values and {int(i): int(v) for i, v in values.items()},
            )
        except (KeyError, TypeError) as error:
            raise BadInput(f"not the log of a result: {error!r} is missing or odd") from error


def carry_out(
    pipeline: Pipeline, case: Case, recipe: Recipe, progress: Progress | None = None
) -> Outcome:
    """Run a recipe. The same recipe, volume, checkpoint and machine give the same voxels.

    Raises:
        BadInput: prompts that do not fit the volume or the settings.
    """
    if recipe.taken is not None and recipe.taken.shape != case.source_grid.shape:
        raise BadInput(
            f"the voxels to leave alone have shape {recipe.taken.shape}, "
            f"the volume {case.source_grid.shape}: was the volume exchanged?"
        )
    if recipe.each_slice_alone:
        outcome = _slices_alone(pipeline, case, recipe, progress)
    else:
        outcome = pipeline.segment(
            case,
            recipe.prompts,
            recipe.settings,
            roi=recipe.roi,
            progress=progress,
            taken=recipe.taken,
        )
    if recipe.taken is not None:
        outcome = _leave_alone(outcome, recipe.taken)
    if recipe.values is not None:
        outcome.labels = _renumbered(outcome.labels, recipe.values)
    return outcome


def _slices_alone(
    pipeline: Pipeline, case: Case, recipe: Recipe, progress: Progress | None
) -> Outcome:
    """Each prompted slice as a volume of its own; in plane the ROI, or everything."""
    grid = recipe.prompts.grid
    settings = replace(recipe.settings, propagation=Propagation.SINGLE, carry=False)
    where = sorted({(p.axis, p.index) for p in recipe.prompts.prompts}, key=lambda w: w[1])
    total: Outcome | None = None
    for number, (axis, index) in enumerate(where):
        here = tuple(p for p in recipe.prompts.prompts if (p.axis, p.index) == (axis, index))
        outcome = pipeline.segment(
            case,
            PromptSet(grid, here),
            replace(settings, axis=axis),
            roi=_one_slice(recipe, axis, index),
            progress=progress and (lambda _d, _n, done=number: progress(done + 1, len(where))),
        )
        total = outcome if total is None else _joined(total, outcome)
    return total


def _one_slice(recipe: Recipe, axis: Axis, index: int) -> Bounds:
    grid = recipe.prompts.grid
    if recipe.roi is None:
        first, stop = np.zeros(3, dtype=int), np.array(grid.shape)
    else:
        first, stop = (np.array(b) for b in recipe.roi)
    dim = grid.dim_of(axis)
    first[dim], stop[dim] = index, index + 1
    return first, stop


def _joined(total: Outcome, more: Outcome) -> Outcome:
    labels = np.where(more.labels > 0, more.labels, total.labels)
    report = dict(total.report)
    report["slices"] = [*total.report["slices"], *more.report["slices"]]
    report["encoded_slices"] = total.report["encoded_slices"] + more.report["encoded_slices"]
    report["seconds"] = _sum(total.report["seconds"], more.report["seconds"])
    ids = {o["object"] for o in [*total.report["objects"], *more.report["objects"]]}
    report["objects"] = [{"object": i, "voxels": int((labels == i).sum())} for i in sorted(ids)]
    return Outcome(labels, total.grid, report)


def _leave_alone(outcome: Outcome, taken: np.ndarray) -> Outcome:
    labels = np.where(taken, 0, outcome.labels).astype(outcome.labels.dtype)
    removed = int((outcome.labels > 0).sum() - (labels > 0).sum())
    report = dict(outcome.report)
    report["objects"] = [
        o | {"voxels": int((labels == o["object"]).sum())} for o in outcome.report["objects"]
    ]
    if removed:
        sentence = f"{removed} voxels belong to other segments and were left to them"
        report["decided"] = [*outcome.report["decided"], sentence]
    return Outcome(labels, outcome.grid, report)


def _renumbered(labels: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    out = np.zeros(labels.shape, dtype=np.uint8 if max(values.values()) < 256 else np.uint16)
    for object_id, value in values.items():
        out[labels == object_id] = value
    return out


def _sum(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Seconds per stage of two runs."""
    return {stage: round(first.get(stage, 0) + spent, 3) for stage, spent in second.items()}
