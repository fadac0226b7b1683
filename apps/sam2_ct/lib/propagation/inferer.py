"""From prompts on a few slices to logits for every voxel: the engine's front door.

Knows nothing of MONAI Label, HTTP or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, Prompt, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.extent import Extent, ExtentRule, SliceSignals
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.fusion import ABSENT, LOGIT_LIMIT, forward_share, mean_logits
from lib.propagation.prior import with_prior
from lib.propagation.records import ObjectEnds, Propagated, SliceRecord, Source
from lib.propagation.seeding import cross_axis_masks
from lib.propagation.settings import Prior, Propagation, PropagationSettings
from lib.propagation.tracking import Conditioning, ObjectPass, TrackedSlice, condition
from lib.propagation.video import PseudoVideo
from lib.propagation.watch import ObjectWatch

# above anything the network says, so that no other object takes a voxel a person painted
PAINTED = 1024.0

Progress = Callable[[int, int], None]
"""Called with (slices done, slices expected); raises to stop the work before the next slice."""


class PseudoVideoInferer:
    """Runs SAM 2 over a volume as a pseudo-video.

    One instance per loaded model; calls must not overlap (SAM 2 keeps mutable state), so the
    caller holds a lock per predictor.

    Args:
        predictor: a `PolicyVideoPredictor` in evaluation mode.
        checkpoint: identity of its weights, part of the feature bank's key.
        bank: encoded slices, shared between calls.
        batch: slices per call of the image encoder.
    """

    def __init__(
        self, predictor, checkpoint: str, bank: FeatureBank | None = None, batch: int = 1
    ) -> None:
        predictor.check_memory_layout()
        self.predictor = predictor
        self.checkpoint = checkpoint
        self.bank = bank or FeatureBank()
        self.batch = batch

    def __call__(
        self,
        volume: np.ndarray,
        prompts: PromptSet,
        settings: PropagationSettings,
        progress: Progress | None = None,
        taken: np.ndarray | None = None,
        wiped: Sequence[Wiped] = (),
    ) -> Propagated:
        """Segment every prompted object.

        Args:
            volume: (X, Y, Z) float32 in [0, 1], windowed and cropped, RAS.
            prompts: on `volume`'s grid.
            settings: what to do.
            progress: told after each slice of each object.
            taken: (X, Y, Z) bool, voxels known to be something else: they are kept out of what is
                remembered of tracked slices.
            wiped: slices the annotator emptied, on `volume`'s grid; beyond an object's prompts
                they end it.

        Raises:
            BadInput: prompts that do not fit the settings.
        """
        volume = np.ascontiguousarray(volume, dtype=np.float32)
        if volume.shape != prompts.grid.shape:
            raise BadInput(f"volume {volume.shape} and prompts {prompts.grid.shape} differ in size")
        run = _Run(self, volume, prompts.grid, settings, _Counter(progress), taken, wiped)
        if settings.propagation is Propagation.THREE_AXIS:
            logits = run.three_axes(prompts)
        else:
            chosen = dict.fromkeys(prompts.object_ids, settings.extent)
            logits = run.one_axis(settings.axis, prompts.prompts, chosen)
        _paste(logits, prompts)
        return Propagated(
            logits,
            [run.as_found(r) for r in run.slices],
            run.encoded,
            run.decided,
            ends=run.ends,
            beyond=run.beyond,
        )


@dataclass
class _Counter:
    report: Progress | None
    done: int = 0
    expected: int = 0

    def step(self) -> None:
        self.done += 1
        if self.report:
            self.report(self.done, self.expected)


@dataclass
class _Run:
    """One call of the inferer: what it shares between axes, and what it gathers."""

    inferer: PseudoVideoInferer
    volume: np.ndarray
    grid: Grid
    settings: PropagationSettings
    counter: _Counter
    taken: np.ndarray | None = None
    wiped: Sequence[Wiped] = ()
    slices: list[SliceRecord] = field(default_factory=list)
    encoded: int = 0
    decided: list[str] = field(default_factory=list)
    ends: list[ObjectEnds] = field(default_factory=list)
    beyond: dict[int, int] = field(default_factory=dict)

    def three_axes(self, prompts: PromptSet) -> dict[int, np.ndarray]:
        """Each axis with its own prompts, or seeded from the painted ones; logits averaged."""
        # both directions from the first prompt: every slice once, wherever the prompts lie
        self.counter.expected = len(prompts.object_ids) * sum(self.grid.shape)
        chosen = dict.fromkeys(prompts.object_ids, self.settings.extent)
        by_axis = {a: self.one_axis(a, p, chosen) for a in Axis if (p := prompts.select(axis=a))}
        painted = {i: [r[i] for r in by_axis.values() if i in r] for i in prompts.object_ids}
        for axis in Axis:
            lacking = [i for i in prompts.object_ids if i not in by_axis.get(axis, {})]
            if not lacking:
                continue
            so_far = {i: mean_logits(painted[i]) for i in lacking}
            seeds = [m for i in lacking for m in cross_axis_masks(so_far[i], self.grid, axis, i)]
            cuts = sorted({m.index for m in seeds})
            self.decided.append(f"{axis.value} axis seeded from the painted axes at slices {cuts}")
            within = {i: self._found_range(so_far[i], axis) for i in lacking}
            by_axis.setdefault(axis, {}).update(self.one_axis(axis, seeds, within, seeded=True))
        logits = {
            i: mean_logits([by_axis[a][i] for a in Axis]).astype(np.float16)
            for i in prompts.object_ids
        }
        for ends in self.ends:
            self._cut(logits[ends.object_id], ends)
        return logits

    def one_axis(
        self,
        axis: Axis,
        prompts: Sequence[Prompt],
        extents: Mapping[int, Extent],
        *,
        seeded: bool = False,
    ) -> dict[int, np.ndarray]:
        """Logits of the objects prompted on `axis`, both directions, empty beyond their ends.

        Args:
            axis: the axis to propagate along.
            prompts: all on that axis.
            extents: how far each object may reach.
            seeded: the prompts were cut from another axis, nobody marked them.
        """
        here = [p for p in prompts if p.axis is axis]
        if len(here) < len(prompts):
            others = sorted({p.axis.value for p in prompts if p.axis is not axis})
            raise BadInput(
                f"prompts on the {', '.join(others)} axis cannot steer a propagation along the "
                f"{axis.value} axis: choose that axis, or three-axis propagation"
            )
        inferer = self.inferer
        video = PseudoVideo(self.volume, self.grid, axis, inferer.predictor.image_size)
        encoder = SliceEncoder(
            inferer.predictor, video, inferer.bank, inferer.checkpoint, inferer.batch
        )
        ids = sorted({p.object_id for p in here})
        objects = {i: condition(encoder, [p for p in here if p.object_id == i]) for i in ids}
        painted = {i: _painted([p for p in here if p.object_id == i]) for i in ids}
        watches = {
            i: ObjectWatch(
                i,
                axis,
                extents[i],
                tuple(objects[i].outputs),
                {t: float(mask.sum()) for t, mask in painted[i].items()},
                self._wiped(i, axis),
                len(video),
            )
            for i in ids
        }
        merged = self.settings.propagation is Propagation.FORWARD_BACKWARD
        ahead = {i: self._pass(encoder, c, False, c.first) for i, c in objects.items()}
        starts = {i: c.last if merged else c.first for i, c in objects.items()}
        for i, c in objects.items():
            order = (*range(c.first, len(video)), *range(starts[i] + merged))
            self.counter.expected += sum(map(watches[i].wants, order))
            if self.settings.propagation is Propagation.THREE_AXIS:
                self.counter.expected -= len(video)  # all were counted before the first axis began

        logits = {i: np.full(self.grid.shape, ABSENT, dtype=np.float16) for i in ids}
        for object_id, tracked in self._sweep(ahead, watches, axis):
            view = np.moveaxis(logits[object_id], video.dim, 0)
            view[tracked.t] = video.slice_logits(tracked.logits).cpu()
        back = {i: self._pass(encoder, c, True, starts[i], ahead[i]) for i, c in objects.items()}
        reached = {i: p.order for i, p in ahead.items()}
        for object_id, tracked in self._sweep(back, watches, axis, skip_start=not merged):
            view = np.moveaxis(logits[object_id], video.dim, 0)
            said = video.slice_logits(tracked.logits).cpu().numpy()
            if merged and tracked.t in reached[object_id]:
                share = self._share(tracked.t, objects[object_id])
                said = _mix(view[tracked.t], said, share)
            view[tracked.t] = said
        self.encoded += encoder.encoded

        for i in ids:
            if self.settings.prior is Prior.AUTO and not seeded:
                logits[i] = with_prior(
                    logits[i], self.volume, painted[i], video.dim, self.grid.spacing
                ).astype(np.float16)
            ends = watches[i].ends()
            self._cut(logits[i], ends)
            if not seeded:
                self.ends.append(ends)
        return logits

    def as_found(self, record: SliceRecord) -> SliceRecord:
        """The record, `beyond` if it lies outside the object's ends."""
        for ends in self.ends:
            same = (ends.object_id, ends.axis) == (record.object_id, record.axis)
            if same and not ends.first <= record.index <= ends.last:
                return replace(record, source=Source.BEYOND)
        return record

    def _cut(self, logits: np.ndarray, ends: ObjectEnds) -> None:
        """Empty one object's (X, Y, Z) logits beyond its ends, in place; count what was found."""
        view = np.moveaxis(logits, self.grid.dim_of(ends.axis), 0)
        for outside in (view[: ends.first], view[ends.last + 1 :]):
            found = int((outside > 0).sum())
            self.beyond[ends.object_id] = self.beyond.get(ends.object_id, 0) + found
            outside[:] = ABSENT

    def _found_range(self, logits: np.ndarray, axis: Axis) -> Extent:
        """A seeded axis looks no further than the painted ones found the object."""
        if self.settings.extent.rule is ExtentRule.WHOLE:
            return self.settings.extent
        dim = self.grid.dim_of(axis)
        found = np.flatnonzero((logits > 0).any(axis=tuple(d for d in range(3) if d != dim)))
        return Extent(ExtentRule.RANGE, int(found[0]), int(found[-1]))

    def _wiped(self, object_id: int, axis: Axis) -> set[int]:
        return {
            t for w in self.wiped if (w.object_id, w.axis) == (object_id, axis) for t in w.slices
        }

    def _pass(
        self,
        encoder: SliceEncoder,
        conditioning: Conditioning,
        reverse: bool,
        start: int,
        earlier: ObjectPass | None = None,
    ) -> ObjectPass:
        return ObjectPass(
            encoder,
            conditioning,
            self.settings.policy,
            reverse=reverse,
            start=start,
            carried=earlier.carry() if earlier and self.settings.carry else None,
            taken=self.taken,
        )

    def _sweep(
        self,
        passes: Mapping[int, ObjectPass],
        watches: Mapping[int, ObjectWatch],
        axis: Axis,
        skip_start: bool = False,
    ) -> Iterator[tuple[int, TrackedSlice]]:
        """Slice by slice, all objects on each, so that a slice is encoded once for all."""
        wanted = {
            i: [t for t in (p.order[1:] if skip_start else p.order) if watches[i].wants(t)]
            for i, p in passes.items()
        }
        reverse = any(p.reverse for p in passes.values())
        for t in sorted({t for order in wanted.values() for t in order}, reverse=reverse):
            for i in (i for i in passes if t in wanted[i]):
                tracked, watch = passes[i].step(t), watches[i]
                if tracked.source is not Source.PROMPT:
                    empty = watch.is_beyond(t) and tracked.is_empty
                    watch.sees(SliceSignals(t, tracked.object_score, empty))
                if not (tracked.source is Source.PROMPT and reverse):
                    # the forward pass has told of every prompted slice
                    self._record(i, axis, tracked)
                yield i, tracked
                going_on = [
                    s for s in wanted[i] if watch.wants(s) or (s >= t if reverse else s <= t)
                ]
                self.counter.expected -= len(wanted[i]) - len(going_on)
                wanted[i] = going_on
                self.counter.step()

    def _record(self, object_id: int, axis: Axis, tracked: TrackedSlice) -> None:
        confidence = round(tracked.predicted_iou, 4), round(tracked.object_score, 4)
        self.slices.append(SliceRecord(object_id, axis, tracked.t, tracked.source, *confidence))

    def _share(self, t: int, conditioning: Conditioning) -> float:
        if self.settings.merge == "mean":
            return 0.5
        return forward_share(t, tuple(conditioning.outputs))


def _mix(forward: np.ndarray, backward: np.ndarray, share: float) -> np.ndarray:
    limited = (np.clip(a, -LOGIT_LIMIT, LOGIT_LIMIT) for a in (forward, backward))
    ahead, back = (a.astype(np.float32) for a in limited)
    return share * ahead + (1 - share) * back


def _painted(prompts: Sequence[Prompt]) -> dict[int, np.ndarray]:
    """Slice → mask of the slices of one object that were painted, and not clicked on as well."""
    painted: dict[int, np.ndarray] = {}
    for index in sorted({p.index for p in prompts}):
        here = [p for p in prompts if p.index == index]
        if all(isinstance(p, Mask) for p in here):  # with clicks it is refined
            painted[index] = np.any([p.mask for p in here], axis=0)
    return painted


def _paste(logits: Mapping[int, np.ndarray], prompts: PromptSet) -> None:
    """Painted slices come back exactly as they were painted, for every object that was painted."""
    for object_id, axis in {(p.object_id, p.axis) for p in prompts.prompts}:
        view = np.moveaxis(logits[object_id], prompts.grid.dim_of(axis), 0)
        for index, mask in _painted(prompts.select(object_id, axis)).items():
            view[index] = np.where(mask, PAINTED, -PAINTED)
