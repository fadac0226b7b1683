"""One axis of one request: stretches planned, found again or tracked, and put together.

Everything up to the outermost prompts is tracked first, of all objects and in both directions in
lock-step; then everything beyond, where each object's watch judges its ends by what the slices
between prompts were like. So its judgement does not depend on which tracks advanced together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lib.prompts.types import Mask, Prompt
from lib.propagation.conditioning import Conditioning, condition
from lib.propagation.extent import Extent, ExtentRule, SliceSignals
from lib.propagation.features import SliceEncoder
from lib.propagation.fusion import ABSENT, LOGIT_LIMIT, forward_share
from lib.propagation.kept import Store, Tracked, digest_of
from lib.propagation.policy import describe
from lib.propagation.records import ObjectEnds, SliceRecord, Source
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.stretches import Setting, Stretch, prompts_seen, stretches
from lib.propagation.tracking import LockStep, Recollection, Track
from lib.propagation.uncertainty import disagreement
from lib.propagation.watch import ObjectWatch

Progress = Callable[[int, int], None]
"""Called with (slices done, slices expected); raises to stop the work before the next slice."""


@dataclass
class Counter:
    """Slices done and still to come, told to whoever waits."""

    report: Progress | None
    done: int = 0
    expected: int = 0

    def step(self, slices: int = 1) -> None:
        """So many more are done."""
        self.done += slices
        if self.report and slices:
            self.report(self.done, self.expected)


@dataclass(frozen=True)
class ObjectOnAxis:
    """What one axis says of one object.

    Attributes:
        logits: (X, Y, Z) float16; slices that were not reached are −10.
        slices: a record per slice and pass.
        ends: where it ends. The logits are not cut there.
        tracked: slices tracked for this, not found among earlier work.
        disagreement: of the two passes, on slices that both have seen.
    """

    logits: NDArray[np.float16]
    slices: list[SliceRecord]
    ends: ObjectEnds
    tracked: int
    disagreement: dict[int, float]


@dataclass
class _Judge:
    """Asks an object's watch about each slice beyond its prompts, once."""

    watch: ObjectWatch
    told: set[int] = field(default_factory=set)

    def __call__(self, signals: SliceSignals) -> bool:
        """Whether the object goes on."""
        if signals.t not in self.told:
            self.told.add(signals.t)
            self.watch.sees(signals)
        return self.watch.wants(signals.t)


@dataclass
class _Job:
    """A stretch of an object: to be found among earlier work, or tracked."""

    stretch: Stretch
    key: str
    found: Tracked | None = None
    track: Track | None = None
    fresh: int = 0


@dataclass
class _Object:
    """An object on its way.

    Attributes:
        conditioning: its prompted slices.
        setting: what its stretches share.
        watch: knows how far it may reach, and where it ends.
        judge: tells it of slices beyond the prompts.
        judged: ends are looked for in what tracking says.
        jobs: its stretches.
    """

    conditioning: Conditioning
    setting: Setting
    watch: ObjectWatch
    judge: _Judge
    judged: bool
    jobs: list[_Job] = field(default_factory=list)

    @property
    def planned(self) -> int:
        """Slices that it takes at most, prompted ones included."""
        return len(self.conditioning.slices) + sum(len(j.stretch.slices) for j in self.jobs)


class AxisRun:
    """Carries prompts along one axis.

    Args:
        encoder: features of the slices.
        settings: what to do.
        batch: rows of a batch in lock-step.
        counter: told of progress.
        taken: (X, Y, Z) bool, voxels known to be something else.
        store: earlier work, or None to track everything.
    """

    def __init__(
        self,
        encoder: SliceEncoder,
        settings: PropagationSettings,
        *,
        batch: int,
        counter: Counter,
        taken: NDArray[np.bool_] | None,
        store: Store | None,
    ) -> None:
        self.encoder = encoder
        self.settings = settings
        self.counter = counter
        self.taken = taken
        # what a pass hands to the other is not kept, so with `carry` nothing can be found again
        self.store = None if settings.carry else store
        self.lock_step = LockStep(encoder, batch, taken, self._advanced)

    def __call__(
        self,
        prompts: Mapping[int, Sequence[Prompt]],
        extents: Mapping[int, Extent],
        wiped: Mapping[int, Collection[int]],
        budget: int = 0,
    ) -> dict[int, ObjectOnAxis]:
        """Track every object.

        Args:
            prompts: of each object, on this axis.
            extents: how far each object may reach.
            wiped: slices that the annotator emptied, by object.
            budget: slices that were already counted as expected of each object.

        Raises:
            BadInput: nothing but negative points, or a prompt outside the extent.
        """
        objects = {
            i: self._object(i, own, extents[i], wiped.get(i, ()))
            for i, own in sorted(prompts.items())
        }
        for one in objects.values():
            self.counter.expected += one.planned - budget
        for one in objects.values():
            for _ in one.conditioning.slices:
                self.counter.step()
        for jobs in self._turns(list(objects.values())):
            self._run(jobs)
        return {i: self._result(i, one) for i, one in objects.items()}

    def _object(
        self, object_id: int, prompts: Sequence[Prompt], extent: Extent, wiped: Collection[int]
    ) -> _Object:
        video = self.encoder.video
        length = len(video)
        conditioning = condition(self.encoder, prompts, self.store)
        prompted = conditioning.prompted
        areas = {t: float(mask.sum()) for t, mask in painted_slices(prompts).items()}
        watch = ObjectWatch(object_id, video.axis, extent, prompted, areas, wiped, length)
        judged = extent.rule in (ExtentRule.AUTO, ExtentRule.OPEN)
        one = _Object(conditioning, Setting(prompted, length), watch, _Judge(watch), judged)
        low = min(t for t in range(prompted[0] + 1) if watch.wants(t))
        high = max(t for t in range(prompted[-1], length) if watch.wants(t))
        both = self.settings.propagation is Propagation.FORWARD_BACKWARD
        start = None if both else prompted[0]
        alone = self.settings.policy.independent
        passes = (
            *stretches(prompted, high, reverse=False, independent=alone),
            *stretches(prompted, low, reverse=True, start=start, independent=alone),
        )
        one.jobs = [_Job(stretch, self._key(stretch, one)) for stretch in passes]
        return one

    def _turns(self, objects: Sequence[_Object]) -> list[list[tuple[_Object, _Job]]]:
        """What is run together; with `carry` the backward passes wait for the forward ones."""
        jobs = [(one, job) for one in objects for job in one.jobs]
        if not self.settings.carry:
            return [jobs]
        return [[j for j in jobs if j[1].stretch.reverse is way] for way in (False, True)]

    def _key(self, stretch: Stretch, one: _Object) -> str:
        """Everything that decides what tracking says of a stretch; not where it is cut off."""
        policy, conditioning = self.settings.policy, one.conditioning
        seen = prompts_seen(policy, stretch, one.setting)
        here = set(stretch.slices)
        taken = None
        if self.taken is not None:
            stack = np.moveaxis(self.taken, self.encoder.video.dim, 0)
            taken = stack[sorted(here)]
            taken = taken if taken.any() else None
        return digest_of(
            self.encoder.key,
            self.encoder.predictor.exact,
            self.lock_step.batch,
            describe(policy),
            stretch,
            one.setting.span if policy.tau < 1 else None,
            [(t, conditioning.slices[t].digest) for t in seen],
            [(t, d) for t, d in conditioning.digests.items() if t in here],
            *([] if taken is None else [taken]),
        )

    def _run(self, jobs: Sequence[tuple[_Object, _Job]]) -> None:
        for one, job in jobs:
            known = self.store.get(job.key) if self.store else None
            if isinstance(known, Tracked):
                job.found = known
            else:
                job.track = self._track(one, job)
        self.lock_step.run([j.track for _, j in jobs if j.track], outward=False)
        for one, job in jobs:
            for signals in _inner_signals(job) if one.judged else ():
                one.watch.sees(signals)
        for one, job in jobs:
            if job.found is not None:
                count = _reach(job, one)
                if count is None:  # the object goes on, earlier work does not
                    job.found, job.track = None, self._track(one, job)
                else:
                    job.found = job.found.first(count)
            if job.track is not None and one.judged:
                job.track.goes_on = one.judge
        self.lock_step.run([j.track for _, j in jobs if j.track], outward=True)
        for _, job in jobs:
            if job.track is not None:
                job.found = job.track.tracked()
                job.fresh = len(job.found.slices)
                if not self.settings.carry:
                    job.track = None  # with it go its memories and its own copy of the voxels
                if self.store:
                    self.store.put(job.key, job.found)
            elif job.found is not None:
                self.counter.expected -= len(job.stretch.slices) - len(job.found.slices)
                self.counter.step(len(job.found.slices))

    def _track(self, one: _Object, job: _Job) -> Track:
        carried: Recollection | None = None
        if self.settings.carry and job.stretch.reverse:
            ahead = [j.track for j in one.jobs if j.track and not j.stretch.reverse]
            carried = ahead[0].recollection() if ahead else None
        policy = self.settings.policy
        return Track(job.stretch, one.conditioning, policy, one.setting.num_slices, carried)

    def _advanced(self, track: Track) -> None:
        if track.ended:
            self.counter.expected -= track.left
        self.counter.step()

    def _result(self, object_id: int, one: _Object) -> ObjectOnAxis:
        video = self.encoder.video
        logits = np.full(video.grid.shape, ABSENT, dtype=np.float16)
        stack = np.moveaxis(logits, video.dim, 0)
        records = []
        for t, prompted in one.conditioning.slices.items():
            stack[t] = prompted.voxels
            said = prompted.predicted_iou, prompted.object_score
            records.append(self._record(object_id, t, Source.PROMPT, *said))
        reached: set[int] = set()
        apart: dict[int, float] = {}
        for job in one.jobs:
            found = job.found
            assert found is not None  # every job has been run
            source = Source.BACKWARD if job.stretch.reverse else Source.FORWARD
            for n, t in enumerate(found.slices):
                if t in reached:
                    apart[t] = disagreement(stack[t] > 0, found.voxels[n] > 0)
                    stack[t] = _mix(stack[t], found.voxels[n], self._share(t, one))
                else:
                    stack[t] = found.voxels[n]
                said = float(found.predicted_iou[n]), float(found.object_score[n])
                records.append(self._record(object_id, t, source, *said))
            reached.update(found.slices)
        records.sort(key=lambda r: (r.index, r.source.value))
        fresh = sum(j.fresh for j in one.jobs)
        return ObjectOnAxis(logits, records, one.watch.ends(), fresh, apart)

    def _record(
        self, object_id: int, t: int, source: Source, iou: float, score: float
    ) -> SliceRecord:
        axis = self.encoder.video.axis
        return SliceRecord(object_id, axis, t, source, round(iou, 4), round(score, 4))

    def _share(self, t: int, one: _Object) -> float:
        if self.settings.merge == "mean":
            return 0.5
        return forward_share(t, one.conditioning.prompted)


def _inner_signals(job: _Job) -> list[SliceSignals]:
    if job.track is not None:
        return job.track.signals()
    assert job.found is not None
    return _signals(job.found)[: len(job.stretch.inner)]


def _signals(found: Tracked) -> list[SliceSignals]:
    there = (found.voxels > 0).any(axis=(1, 2))
    return [
        SliceSignals(t, float(score), not any_)
        for t, score, any_ in zip(found.slices, found.object_score, there, strict=True)
    ]


def _reach(job: _Job, one: _Object) -> int | None:
    """How much of earlier work the object takes up; None: it goes on where that ends."""
    found = job.found
    assert found is not None
    inner = len(job.stretch.inner)
    if one.judged:
        for n, signals in enumerate(_signals(found)[inner:], start=inner + 1):
            if not one.judge(signals):
                return n
    return len(found.slices) if len(found.slices) == len(job.stretch.slices) else None


def painted_slices(prompts: Iterable[Prompt]) -> dict[int, NDArray[np.bool_]]:
    """Slice → mask of the slices of one object that a person painted, and did not click on."""
    marked: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        marked.setdefault(prompt.index, []).append(prompt)
    return {
        t: np.any([p.mask for p in here if isinstance(p, Mask)], axis=0)
        for t, here in sorted(marked.items())
        if all(isinstance(p, Mask) and p.drawn for p in here)  # with clicks it is refined
    }


def _mix(
    forward: NDArray[np.float16], backward: NDArray[np.float16], share: float
) -> NDArray[np.float32]:
    ahead, back = (
        np.clip(a, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float32) for a in (forward, backward)
    )
    mixed: NDArray[np.float32] = share * ahead + (1 - share) * back
    return mixed
