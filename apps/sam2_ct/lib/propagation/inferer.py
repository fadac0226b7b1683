"""From prompts on a few slices to logits for every voxel: the engine's front door.

Knows nothing of MONAI Label, HTTP or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, Prompt, PromptSet
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.fusion import ABSENT, LOGIT_LIMIT, forward_share, mean_logits
from lib.propagation.records import Propagated, SliceRecord, Source
from lib.propagation.seeding import cross_axis_masks
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.tracking import Conditioning, ObjectPass, TrackedSlice, condition
from lib.propagation.video import PseudoVideo

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
    ) -> Propagated:
        """Segment every prompted object.

        Args:
            volume: (X, Y, Z) float32 in [0, 1], windowed and cropped, RAS.
            prompts: on `volume`'s grid.
            settings: what to do.
            progress: told after each slice of each object.
            taken: (X, Y, Z) bool, voxels known to be something else: they are kept out of what is
                remembered of tracked slices.

        Raises:
            BadInput: prompts that do not fit the settings.
        """
        volume = np.ascontiguousarray(volume, dtype=np.float32)
        if volume.shape != prompts.grid.shape:
            raise BadInput(f"volume {volume.shape} and prompts {prompts.grid.shape} differ in size")
        run = _Run(self, volume, prompts.grid, settings, _Counter(progress), taken)
        if settings.propagation is Propagation.THREE_AXIS:
            logits = run.three_axes(prompts)
        else:
            logits = run.one_axis(settings.axis, prompts.prompts)
        _paste(logits, prompts)
        return Propagated(logits, run.slices, run.encoded, run.decided)


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
    slices: list[SliceRecord] = field(default_factory=list)
    encoded: int = 0
    decided: list[str] = field(default_factory=list)

    def three_axes(self, prompts: PromptSet) -> dict[int, np.ndarray]:
        """Each axis with its own prompts, or seeded from the painted ones; logits averaged."""
        # both directions from the first prompt: every slice once, wherever the prompts lie
        self.counter.expected = len(prompts.object_ids) * sum(self.grid.shape)
        by_axis = {a: self.one_axis(a, p) for a in Axis if (p := prompts.select(axis=a))}
        painted = {i: [r[i] for r in by_axis.values() if i in r] for i in prompts.object_ids}
        for axis in Axis:
            lacking = [i for i in prompts.object_ids if i not in by_axis.get(axis, {})]
            if not lacking:
                continue
            seeds = [
                mask
                for i in lacking
                for mask in cross_axis_masks(mean_logits(painted[i]), self.grid, axis, i)
            ]
            cuts = sorted({m.index for m in seeds})
            self.decided.append(f"{axis.value} axis seeded from the painted axes at slices {cuts}")
            by_axis.setdefault(axis, {}).update(self.one_axis(axis, seeds))
        return {
            i: mean_logits([by_axis[a][i] for a in Axis]).astype(np.float16)
            for i in prompts.object_ids
        }

    def one_axis(self, axis: Axis, prompts: Sequence[Prompt]) -> dict[int, np.ndarray]:
        """Logits of the objects prompted on `axis`, both directions."""
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
        objects = {
            i: condition(encoder, [p for p in here if p.object_id == i])
            for i in sorted({p.object_id for p in here})
        }
        merged = self.settings.propagation is Propagation.FORWARD_BACKWARD
        ahead = {i: self._pass(encoder, c, False, c.first) for i, c in objects.items()}
        length = len(video)
        starts = {i: c.last if merged else c.first for i, c in objects.items()}
        if self.settings.propagation is not Propagation.THREE_AXIS:
            self.counter.expected += sum(length - c.first for c in objects.values())
            self.counter.expected += sum(s + merged for s in starts.values())

        logits = {i: np.full(self.grid.shape, ABSENT, dtype=np.float16) for i in objects}
        for object_id, tracked in self._sweep(ahead, axis):
            view = np.moveaxis(logits[object_id], video.dim, 0)
            view[tracked.t] = video.slice_logits(tracked.logits).cpu()
        back = {i: self._pass(encoder, c, True, starts[i], ahead[i]) for i, c in objects.items()}
        reached = {i: p.order for i, p in ahead.items()}
        for object_id, tracked in self._sweep(back, axis, skip_start=not merged):
            view = np.moveaxis(logits[object_id], video.dim, 0)
            said = video.slice_logits(tracked.logits).cpu().numpy()
            if merged and tracked.t in reached[object_id]:
                share = self._share(tracked.t, objects[object_id])
                said = _mix(view[tracked.t], said, share)
            view[tracked.t] = said
        self.encoded += encoder.encoded
        return logits

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
            end_of_object=self.settings.end_of_object,
            carried=earlier.carry() if earlier and self.settings.carry else None,
            taken=self.taken,
        )

    def _sweep(
        self, passes: Mapping[int, ObjectPass], axis: Axis, skip_start: bool = False
    ) -> Iterator[tuple[int, TrackedSlice]]:
        """Slice by slice, all objects on each, so that a slice is encoded once for all."""
        wanted = {i: p.order[1:] if skip_start else p.order for i, p in passes.items()}
        reverse = any(p.reverse for p in passes.values())
        for t in sorted({t for order in wanted.values() for t in order}, reverse=reverse):
            active = [i for i, p in passes.items() if t in wanted[i] and not p.ended]
            for i in active:
                tracked = passes[i].step(t)
                if not (tracked.source is Source.PROMPT and reverse):
                    # the forward pass has told of every prompted slice
                    self._record(i, axis, tracked)
                yield i, tracked
                if passes[i].ended:
                    self.counter.expected -= sum((s < t) if reverse else (s > t) for s in wanted[i])
                self.counter.step()
            if all(p.ended for p in passes.values()):
                break

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


def _paste(logits: Mapping[int, np.ndarray], prompts: PromptSet) -> None:
    """Painted slices come back exactly as they were painted, for every object that was painted."""
    marked: dict[tuple[int, Axis, int], list[Prompt]] = {}
    for prompt in prompts.prompts:
        marked.setdefault((prompt.object_id, prompt.axis, prompt.index), []).append(prompt)
    for (object_id, axis, index), here in marked.items():
        if all(isinstance(p, Mask) for p in here):  # with clicks it was refined
            painted = np.any([p.mask for p in here], axis=0)
            view = np.moveaxis(logits[object_id], prompts.grid.dim_of(axis), 0)
            view[index] = np.where(painted, PAINTED, -PAINTED)
