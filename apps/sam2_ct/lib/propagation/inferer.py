"""From prompts on a few slices to logits for every voxel: the engine's front door.

Knows nothing of MONAI Label, HTTP or files.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, Prompt, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.axis import AxisRun, Counter, Progress, painted_slices
from lib.propagation.batches import rows_for, slices_at_once
from lib.propagation.extent import Extent, ExtentRule
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.fusion import ABSENT, mean_logits
from lib.propagation.input_size import InputSize
from lib.propagation.judged import judged
from lib.propagation.kept import Store
from lib.propagation.predictor import PolicyVideoPredictor
from lib.propagation.prior import with_prior
from lib.propagation.records import AbsentRange, ObjectEnds, Propagated, SliceRecord, Source
from lib.propagation.seeding import cross_axis_masks
from lib.propagation.settings import Prior, Propagation, PropagationSettings
from lib.propagation.sizes import resized
from lib.propagation.uncertainty import disagreement
from lib.propagation.video import PseudoVideo

__all__ = ["PAINTED", "Progress", "Propagated", "PseudoVideoInferer"]

# above anything the network says, so that no other object takes a voxel a person painted
PAINTED = 1024.0


class PseudoVideoInferer:
    """Runs SAM 2 over a volume as a pseudo-video.

    One instance per loaded model; calls must not overlap (SAM 2 keeps mutable state), so the
    caller holds a lock per predictor.

    Args:
        predictor: in evaluation mode.
        checkpoint: identity of its weights and of the numbers it computes in; part of the keys of
            features and of finished stretches.
        bank: encoded slices, shared between calls.
        batch: slices per call of the image encoder.
        rows: rows of a batch in lock-step; 1 tracks one by one.
            For either, None: as `lib.propagation.batches` says, or 1 if the predictor is exact.
        store: finished stretches, so that a correction tracks only what it changes.
    """

    def __init__(
        self,
        predictor: PolicyVideoPredictor,
        checkpoint: str,
        bank: FeatureBank | None = None,
        batch: int | None = None,
        *,
        rows: int | None = None,
        store: Store | None = None,
    ) -> None:
        predictor.check_memory_layout()
        self.predictor = predictor
        self.checkpoint = checkpoint
        self.bank = FeatureBank() if bank is None else bank
        device, side = predictor.device.type, predictor.image_size
        self.batch = batch or (1 if predictor.exact else slices_at_once(device, side))
        self.rows = rows
        self.store = Store() if store is None else store
        self._others: dict[int, PseudoVideoInferer] = {}

    def rows_of(self, settings: PropagationSettings, objects: int) -> int:
        """Rows of a batch in lock-step for so many objects."""
        if self.rows is not None:
            return self.rows
        if self.predictor.exact:
            return 1
        both = settings.propagation is Propagation.FORWARD_BACKWARD
        # of independent stretches there are mostly two or more per direction, else there is one
        tracks = objects * (1 + both) * (1 + settings.policy.independent)
        return rows_for(self.predictor.device.type, self.predictor.image_size, tracks)

    def __call__(
        self,
        volume: NDArray[np.floating[Any]],
        prompts: PromptSet,
        settings: PropagationSettings,
        progress: Progress | None = None,
        taken: NDArray[np.bool_] | None = None,
        wiped: Sequence[Wiped] = (),
        views: Mapping[Axis, NDArray[np.floating[Any]]] | None = None,
    ) -> Propagated:
        """Segment every prompted object.

        Args:
            volume: (X, Y, Z) float32 in [0, 1], windowed and cropped, RAS.
            prompts: on `volume`'s grid.
            settings: what to do.
            progress: told after each slice of each object.
            taken: (X, Y, Z) bool, voxels known to be something else: they are kept out of what is
                remembered of tracked slices.
            wiped: slices the annotator emptied, on `volume`'s grid: beyond an object's prompts
                they end it, between them it is not there.
            views: `volume` as slices of an axis show it, where that differs (CLAHE).

        Raises:
            BadInput: prompts that do not fit the settings.
        """
        volume = np.ascontiguousarray(volume, dtype=np.float32)
        if volume.shape != prompts.grid.shape:
            raise BadInput(f"volume {volume.shape} and prompts {prompts.grid.shape} differ in size")
        side = settings.input.side(
            self.predictor.image_size,
            _longest_side(volume, prompts.grid, settings),
            _fewest_painted(prompts),
        )
        if side != self.predictor.image_size:
            own = replace(settings, input=InputSize.OWN)
            return self._at(side)(volume, prompts, own, progress, taken, wiped, views)
        seen = {a: np.ascontiguousarray(v, dtype=np.float32) for a, v in (views or {}).items()}
        run = _Run(self, volume, prompts, settings, Counter(progress), taken, wiped, seen)
        start = time.perf_counter()
        if settings.propagation is Propagation.THREE_AXIS:
            logits = run.three_axes()
        else:
            logits = run.single_axis()
        absent = run.absent()
        for gap in absent:
            stack = np.moveaxis(logits[gap.object_id], prompts.grid.dim_of(gap.axis), 0)
            stack[gap.first : gap.last + 1] = ABSENT
        _paste(logits, prompts.prompts, prompts.grid)
        merging = time.perf_counter() - start - run.tracking
        return Propagated(
            logits=logits,
            slices=[run.as_found(r) for r in run.judged(logits)],
            encoded=run.encoded,
            decided=run.decided,
            ends=run.ends,
            absent=absent,
            beyond=run.beyond,
            tracked=run.tracked,
            input_size=self.predictor.image_size,
            seconds={
                "encode": round(run.encoding, 3),
                "track": round(run.tracking - run.encoding, 3),
                "merge": round(merging, 3),
            },
        )

    def _at(self, side: int) -> PseudoVideoInferer:
        """The same with another input size; weights, features and earlier work are shared."""
        if side not in self._others:
            other = copy.copy(self)
            other.predictor = resized(self.predictor, side)
            self._others[side] = other
        return self._others[side]


@dataclass(frozen=True)
class _Heard:
    """What speaks of how wrong one object may be on the slices of one axis.

    Attributes:
        records: of its slices.
        shapes: slice → disagreement with the interpolated shape.
        passes: slice → disagreement of the two directions.
        axes: slice → disagreement with all three axes together; empty: there is one.
    """

    records: Sequence[SliceRecord]
    shapes: Mapping[int, float]
    passes: Mapping[int, float]
    axes: Mapping[int, float] = field(default_factory=dict)


@dataclass
class _Run:
    """One call of the inferer: what it shares between axes, and what it gathers."""

    inferer: PseudoVideoInferer
    volume: NDArray[np.float32]
    prompts: PromptSet
    settings: PropagationSettings
    counter: Counter
    taken: NDArray[np.bool_] | None
    wiped: Sequence[Wiped]
    views: Mapping[Axis, NDArray[np.float32]]
    heard: dict[tuple[int, Axis], _Heard] = field(default_factory=dict)
    ends: list[ObjectEnds] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    beyond: dict[int, int] = field(default_factory=dict)
    encoded: int = 0
    tracked: int = 0
    encoding: float = 0.0
    tracking: float = 0.0

    @property
    def grid(self) -> Grid:
        """The volume's grid."""
        return self.prompts.grid

    def single_axis(self) -> dict[int, NDArray[np.float16]]:
        """Logits of the objects prompted on the axis of the settings."""
        axis = self.settings.axis
        others = sorted({p.axis.value for p in self.prompts.prompts if p.axis is not axis})
        if others:
            raise BadInput(
                f"prompts on the {', '.join(others)} axis cannot steer a propagation along the "
                f"{axis.value} axis: choose that axis, or three-axis propagation"
            )
        return self._axis(axis, _by_object(self.prompts.prompts))

    def three_axes(self) -> dict[int, NDArray[np.float16]]:
        """Each axis with its own prompts, or seeded from the painted ones; logits averaged."""
        ids = self.prompts.object_ids
        # both directions from the first prompt: every slice once, wherever the prompts lie
        self.counter.expected = len(ids) * sum(self.grid.shape)
        said: dict[Axis, dict[int, NDArray[np.float16]]] = {axis: {} for axis in Axis}
        for axis in Axis:
            if marked := _by_object(self.prompts.select(axis=axis)):
                said[axis] = self._axis(axis, marked)
        sources = {i: mean_logits([r[i] for r in said.values() if i in r]) for i in ids}
        for axis in Axis:
            lacking = [i for i in ids if i not in said[axis]]
            seeds = {i: cross_axis_masks(sources[i], self.grid, axis, i) for i in lacking}
            sown = {i: masks for i, masks in seeds.items() if masks}
            for i in (i for i in lacking if i not in sown):
                self.decided.append(
                    f"object {i} was not found on the axes it was marked on, so the "
                    f"{axis.value} axis says nothing of it"
                )
                self.counter.expected -= self.grid.shape[self.grid.dim_of(axis)]
            if sown:
                cuts = sorted({m.index for masks in sown.values() for m in masks})
                self.decided.append(
                    f"{axis.value} axis seeded from the painted axes at slices {cuts}"
                )
                within = {i: self._found_range(sources[i], axis) for i in sown}
                said[axis].update(self._axis(axis, sown, within))
        logits = {
            i: mean_logits([r[i] for r in said.values() if i in r]).astype(np.float16) for i in ids
        }
        for ends in self.ends:
            self._cut(logits[ends.object_id], ends)
        for (i, axis), heard in self.heard.items():
            dim = self.grid.dim_of(axis)
            own, fused = (np.moveaxis(m, dim, 0) for m in (said[axis][i], logits[i]))
            axes = {
                t: disagreement(own[t] > 0, fused[t] > 0) for t in {r.index for r in heard.records}
            }
            self.heard[i, axis] = replace(heard, axes=axes)
        return logits

    def judged(self, logits: Mapping[int, NDArray[np.float16]]) -> list[SliceRecord]:
        """The records, with what is known once the result is there."""
        return [
            record
            for (i, axis), heard in self.heard.items()
            for record in judged(
                heard.records,
                np.moveaxis(logits[i], self.grid.dim_of(axis), 0),
                heard.shapes,
                heard.passes,
                heard.axes,
            )
        ]

    def as_found(self, record: SliceRecord) -> SliceRecord:
        """The record, `beyond` if it lies outside the object's ends."""
        for ends in self.ends:
            same = (ends.object_id, ends.axis) == (record.object_id, record.axis)
            if same and not ends.first <= record.index <= ends.last:
                return replace(record, source=Source.BEYOND)
        return record

    def absent(self) -> list[AbsentRange]:
        """Emptied slices between the prompts of an object, as ranges."""
        gaps: list[AbsentRange] = []
        for one in sorted(self.wiped, key=lambda w: (w.object_id, w.axis.value)):
            prompted = [p.index for p in self.prompts.select(one.object_id, one.axis)]
            for t in sorted(one.slices):
                if not prompted or not min(prompted) < t < max(prompted):
                    continue
                here = AbsentRange(one.object_id, one.axis, t, t)
                if gaps and replace(gaps[-1], first=t, last=t) == here and gaps[-1].last == t - 1:
                    gaps[-1] = replace(gaps[-1], last=t)
                else:
                    gaps.append(here)
        return gaps

    def _axis(
        self,
        axis: Axis,
        objects: Mapping[int, Sequence[Prompt]],
        seeded: Mapping[int, Extent] | None = None,
    ) -> dict[int, NDArray[np.float16]]:
        """Logits of objects along one axis, empty beyond their ends, painted slices as painted.

        Args:
            axis: the axis to propagate along.
            objects: prompts of each object, all on that axis.
            seeded: the prompts were cut from other axes, and this is where these found the objects.
        """
        inferer, settings = self.inferer, self.settings
        start = time.perf_counter()
        predictor = inferer.predictor
        video = PseudoVideo(
            self.views.get(axis, self.volume), self.grid, axis, predictor.image_size
        )
        encoder = SliceEncoder(predictor, video, inferer.bank, inferer.checkpoint, inferer.batch)
        run = AxisRun(
            encoder,
            settings,
            batch=inferer.rows_of(settings, len(objects)),
            counter=self.counter,
            taken=self.taken,
            store=inferer.store,
        )
        wiped = {w.object_id: w.slices for w in self.wiped if w.axis is axis}
        # a range counts slices of the axis of the settings
        ranged = settings.extent.rule is ExtentRule.RANGE and axis is not settings.axis
        extents = seeded or dict.fromkeys(objects, Extent() if ranged else settings.extent)
        # of three axes, all slices were counted before the first began
        budget = len(video) if settings.propagation is Propagation.THREE_AXIS else 0
        found = run(objects, extents, wiped, budget)
        self.encoded += encoder.encoded
        self.encoding += encoder.seconds
        self.tracking += time.perf_counter() - start
        logits = {}
        for i, one in found.items():
            self.tracked += one.tracked
            logits[i] = one.logits
            shapes: dict[int, float] = {}
            if seeded is None:
                logits[i], shapes = self._with_prior(one.logits, objects[i], video)
                self.ends.append(one.ends)
            self.heard[i, axis] = _Heard(one.slices, shapes, one.disagreement)
            self._cut(logits[i], one.ends)
            if seeded is None:
                # so that seeds are cut from what was painted, too, whatever tracking made of it
                _paste({i: logits[i]}, objects[i], self.grid)
        return logits

    def _with_prior(
        self, logits: NDArray[np.float16], prompts: Sequence[Prompt], video: PseudoVideo
    ) -> tuple[NDArray[np.float16], dict[int, float]]:
        if self.settings.prior is Prior.OFF:
            return logits, {}
        painted = painted_slices(prompts)
        return with_prior(logits, video.volume, painted, video.dim, self.grid.spacing)

    def _cut(self, logits: NDArray[np.float16], ends: ObjectEnds) -> None:
        """Empty one object's (X, Y, Z) logits beyond its ends, in place; count what was found."""
        stack = np.moveaxis(logits, self.grid.dim_of(ends.axis), 0)
        for outside in (stack[: ends.first], stack[ends.last + 1 :]):
            found = int((outside > 0).sum())
            self.beyond[ends.object_id] = self.beyond.get(ends.object_id, 0) + found
            outside[...] = ABSENT

    def _found_range(self, logits: NDArray[np.float32], axis: Axis) -> Extent:
        """A seeded axis looks no further than the painted ones found the object."""
        if self.settings.extent.rule is ExtentRule.WHOLE:
            return self.settings.extent
        dim = self.grid.dim_of(axis)
        found = np.flatnonzero((logits > 0).any(axis=tuple(d for d in range(3) if d != dim)))
        return Extent(ExtentRule.RANGE, int(found[0]), int(found[-1]))


def _by_object(prompts: Sequence[Prompt]) -> dict[int, list[Prompt]]:
    objects: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        objects.setdefault(prompt.object_id, []).append(prompt)
    return objects


def _longest_side(volume: NDArray[np.float32], grid: Grid, settings: PropagationSettings) -> int:
    """Voxels along the longer side of a slice, padded to a square, on any axis that is tracked."""
    return max(
        max(PseudoVideo(volume, grid, axis, image_size=1).canvas_shape) for axis in settings.axes
    )


def _fewest_painted(prompts: PromptSet) -> int:
    """Painted slices of the object that has the fewest."""
    return min(
        sum(isinstance(p, Mask) and p.drawn for p in prompts.select(object_id))
        for object_id in prompts.object_ids
    )


def _paste(
    logits: Mapping[int, NDArray[np.float16]], prompts: Sequence[Prompt], grid: Grid
) -> None:
    """Painted slices come back exactly as they were painted, for every object that was painted."""
    for object_id, axis in {(p.object_id, p.axis) for p in prompts}:
        stack = np.moveaxis(logits[object_id], grid.dim_of(axis), 0)
        own = [p for p in prompts if (p.object_id, p.axis) == (object_id, axis)]
        for t, mask in painted_slices(own).items():
            stack[t] = np.where(mask, PAINTED, -PAINTED)
