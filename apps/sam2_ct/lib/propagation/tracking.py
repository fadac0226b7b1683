"""SAM 2's tracking loop with a memory policy, for many stretches at once.

A `Track` is one object, one direction, one stretch, with a memory of its own. `LockStep` advances
tracks together: those whose plans have the same shape go through memory attention, mask decoder
and memory encoder as one batch. A batch always has the same number of rows (the last track is
repeated where some are missing), because a row's bits depend on how many rows there are, but not
on what the others hold: so a track says the same in any company.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lib.prompts.types import Mask
from lib.propagation.conditioning import Conditioning
from lib.propagation.extent import SliceSignals
from lib.propagation.features import SliceEncoder, SliceFeatures
from lib.propagation.fusion import ABSENT
from lib.propagation.kept import Tracked
from lib.propagation.lanes import put
from lib.propagation.memory import Assembled, Bank, Codes, Remembered, assemble, shape_of
from lib.propagation.policy import MemoryPolicy, Plan
from lib.propagation.predictor import Decoded
from lib.propagation.stretches import Setting, Stretch


@dataclass(frozen=True)
class Recollection:
    """What a pass may hand to one in the other direction: tracked slices near its start."""

    memories: Mapping[int, Remembered]
    confidence: Mapping[int, float]


class Track:
    """One object, one direction, one stretch.

    Args:
        stretch: slices to track.
        conditioning: the object's prompted slices.
        policy: what the memory may hold.
        num_slices: length of the pseudo-video.
        carried: tracked slices of an earlier pass to begin with, as stock SAM 2's reverse pass
            does.

    Attributes:
        goes_on: asked about each slice beyond the outermost prompt whether the object does; None:
            it is not looked for an end.
        ended: the answer was no.
    """

    def __init__(
        self,
        stretch: Stretch,
        conditioning: Conditioning,
        policy: MemoryPolicy,
        num_slices: int,
        carried: Recollection | None = None,
    ) -> None:
        self.stretch = stretch
        self.conditioning = conditioning
        self.policy = policy
        self.goes_on: Callable[[SliceSignals], bool] | None = None
        self.ended = False
        self._setting = Setting(conditioning.prompted, num_slices)
        self._held = dict(carried.memories) if carried else {}
        self._confidence = dict(carried.confidence) if carried else {}
        self._bank = Bank(conditioning.memories, self._held)
        self._near: dict[int, Remembered] = {}
        self._near_confidence: dict[int, float] = {}
        self._todo = deque(stretch.slices)
        self._said: list[_Said] = []
        self._judged = 0  # of what was said, up to where an end has been looked for

    @property
    def next(self) -> int | None:
        """The slice to be tracked next; None: the stretch is done or the object has ended."""
        return self._todo[0] if self._todo and not self.ended else None

    def later(self, slices: int) -> int | None:
        """The slice to be tracked so many slices later, as far as is known now."""
        return self._todo[slices] if len(self._todo) > slices and not self.ended else None

    @property
    def is_outward(self) -> bool:
        """The next slice lies beyond the outermost prompt."""
        return bool(self._todo) and len(self._todo) <= len(self.stretch.outward)

    @property
    def left(self) -> int:
        """Slices not tracked so far, whether or not they will be."""
        return len(self._todo)

    def signals(self) -> list[SliceSignals]:
        """What the slices between prompts are like, for who judges the ends."""
        said = self._said[: len(self.stretch.inner)]
        if not said:
            return []
        return [s.signals(t) for t, s in zip(self.stretch.inner, said, strict=False)]

    def recollection(self) -> Recollection:
        """Tracked slices next to the start, for a pass in the other direction."""
        return Recollection(self._near, self._near_confidence)

    def plan(self) -> tuple[Plan, Bank]:
        """What the next slice is to remember, and where that is."""
        t = self._todo[0]
        query = self._setting.query(t, self.stretch.reverse, self._confidence)
        keep = self.policy.retained(query)
        for gone in [s for s in self._held if s not in keep]:
            del self._held[gone], self._confidence[gone]
        return self.policy.plan(query), self._bank

    def accept(self, said: _Said, memory: Remembered) -> None:
        """Takes what was said of the next slice."""
        t = self._todo.popleft()
        # numbers only where they decide: reading one back waits for the device
        confidence = said.confidence(self.policy.confidence) if self.policy.gate else 0.0
        self._held[t], self._confidence[t] = memory, confidence
        if abs(t - self.stretch.start) <= self.policy.reach:
            self._near[t], self._near_confidence[t] = memory, confidence
        self._said.append(said)

    def judge(self, lag: int) -> None:
        """Asks whether the object goes on, all but the last `lag` slices where more will follow.

        Slices tracked beyond the end are dropped, so the lag decides what is read when, and not
        what is said.
        """
        if self.goes_on is None:
            return
        first = max(self._judged, len(self.stretch.inner))
        last = len(self._said) - (lag if self._todo else 0)
        for n in range(first, last):
            t = self.stretch.slices[n]
            self._judged = n + 1
            self.ended = not self.goes_on(self._said[n].signals(t))
            if self.ended:
                self._forget_from(n + 1)
                return

    def _forget_from(self, n: int) -> None:
        for t in self.stretch.slices[n : len(self._said)]:
            for held in (self._held, self._confidence, self._near, self._near_confidence):
                held.pop(t, None)
        del self._said[n:]

    def tracked(self) -> Tracked:
        """Everything said so far."""
        return Tracked(
            slices=self.stretch.slices[: len(self._said)],
            voxels=_stacked([s.voxels[s.row] for s in self._said]),
            predicted_iou=_stacked([s.predicted_iou[s.row] for s in self._said]),
            object_score=_stacked([s.object_score[s.row, 0] for s in self._said]),
        )


@dataclass(frozen=True)
class _Said:
    """One row of what was said of a batch.

    Attributes:
        voxels: (rows, X, Y) float16 logits, on the network's device until the stretch is done.
        predicted_iou: (rows,).
        object_score: (rows, 1).
        row: which of them.
        numbers: (rows, 2) object scores, and whether any voxel is the object's; they come late.
    """

    voxels: Tensor
    predicted_iou: Tensor
    object_score: Tensor
    row: int
    numbers: Callable[[], list[list[float]]]

    def confidence(self, kind: str) -> float:
        if kind == "iou":
            return float(self.predicted_iou[self.row])
        return float(self.object_score[self.row])

    def signals(self, t: int) -> SliceSignals:
        score, there = self.numbers()[self.row]
        return SliceSignals(t, score, not there)


class LockStep:
    """Advances tracks together.

    Args:
        encoder: features of the slices.
        batch: rows of a batch; 1 tracks one by one.
        taken: (X, Y, Z) bool, voxels known to be something else. They are cut out of each tracked
            mask before it is remembered, so that the object does not wander into its neighbour.
        advanced: called after each slice of each track; may raise to stop.
    """

    def __init__(
        self,
        encoder: SliceEncoder,
        batch: int = 1,
        taken: NDArray[np.bool_] | None = None,
        advanced: Callable[[Track], None] = lambda _track: None,
    ) -> None:
        self.encoder = encoder
        self.batch = batch
        self.taken = taken
        self.advanced = advanced
        self._dense: Tensor | None = None
        self._codes: Codes | None = None

    @torch.inference_mode()
    def run(self, tracks: Iterable[Track], *, outward: bool) -> None:
        """Track to the outermost prompts, or with `outward` on to the end."""
        tracks = list(tracks)
        self._dense, self._codes = self.encoder.predictor.dense_positions(), None
        while True:
            ready = [t for t in tracks if t.next is not None and (outward or not t.is_outward)]
            if not ready:
                return
            for rows in self._batches(ready):
                self._advance(rows)
            for track in ready:
                if (t := track.later(self.encoder.batch)) is not None:
                    self.encoder.ahead(t)

    def _batches(self, tracks: Sequence[Track]) -> Iterable[list[tuple[Track, Plan, Bank]]]:
        """Tracks that can be one batch: plans of one shape, no correction by clicks."""
        groups: dict[object, list[tuple[Track, Plan, Bank]]] = {}
        for track in tracks:
            plan, bank = track.plan()
            alone = track if track.next in track.conditioning.corrections else None
            groups.setdefault((shape_of(plan), alone), []).append((track, plan, bank))
        for rows in groups.values():
            for first in range(0, len(rows), self.batch):
                yield rows[first : first + self.batch]

    def _advance(self, rows: Sequence[tuple[Track, Plan, Bank]]) -> None:
        predictor, video = self.encoder.predictor, self.encoder.video
        slices = [t for track, _, _ in rows if (t := track.next) is not None]
        correction = rows[0][0].conditioning.corrections.get(slices[0])
        # a correction is always alone, so it needs no company
        missing = 0 if correction is not None else self.batch - len(rows)
        padded = [*rows, *[rows[-1]] * missing]
        seen = [self.encoder(t) for t in slices]
        features = _joined([*seen, *[seen[-1]] * missing])
        self._codes = self._codes or predictor.codes(features.top)
        assembled = assemble([(plan, bank) for _, plan, bank in padded], self._codes, len(video))
        said = self._decode(features, assembled)
        if correction is not None:
            # as a click on a tracked frame in stock SAM 2: the earlier logits go in with the points
            said = self._decode(features, assembled, correction, said.logits)
        foreign = self._foreign(slices, len(padded))
        if foreign is not None:
            said = replace(said, logits=said.logits.masked_fill(foreign, ABSENT))
        memory = predictor.memorise(features.top, said, drawn=correction is not None)
        voxels = video.slice_logits(said.logits[: len(rows)]).half()
        scores = said.object_score[: len(rows), 0]
        there = (voxels > 0).flatten(1).any(dim=1)
        lane = self.encoder.lane
        numbers = lane.fetch(torch.stack([scores.float(), there.float()], dim=1))
        for n, (track, _, _) in enumerate(rows):
            remembered = Remembered(memory[n : n + 1], said.pointer[n : n + 1])
            row = _Said(voxels, said.predicted_iou, said.object_score, n, numbers)
            track.accept(row, remembered)
            track.judge(lane.lag)
            self.advanced(track)

    def _decode(
        self,
        features: SliceFeatures,
        assembled: Assembled,
        points: Mapping[str, Tensor] | None = None,
        previous: Tensor | None = None,
    ) -> Decoded:
        predictor = self.encoder.predictor
        assert self._dense is not None  # `run` has set it
        return predictor.decode(
            predictor.recall(features.top, features.position, assembled),
            features.fine,
            self._dense,
            points=points,
            previous=previous,
        )

    def _foreign(self, slices: Sequence[int], rows: int) -> Tensor | None:
        """Where slices are something else: (rows, 1, S/4, S/4) bool, or None if nowhere."""
        if self.taken is None:
            return None
        video = self.encoder.video
        stack = np.moveaxis(self.taken, video.dim, 0)
        if not stack[list(slices)].any():
            return None
        side = video.image_size // 4
        masks = torch.zeros(rows, 1, side, side, dtype=torch.bool)
        for n, t in enumerate(slices):
            if stack[t].any():
                mask = video.mask_input(Mask(video.axis, t, 0, stack[t]))
                masks[n] = F.interpolate(mask, size=(side, side), mode="area")[0] > 0.5
        return put(masks, self.encoder.predictor.device)


def _joined(seen: Sequence[SliceFeatures]) -> SliceFeatures:
    """Features of several slices as one batch."""
    if len(seen) == 1:
        return seen[0]
    levels = zip(*(f.levels for f in seen), strict=True)
    return SliceFeatures(tuple(torch.cat(level) for level in levels), seen[0].position)


def _stacked(rows: Sequence[Tensor]) -> NDArray[Any]:
    """Rows brought to the CPU at once; float16 stays, all else becomes float32."""
    stack = torch.stack(list(rows))
    return (stack if stack.dtype == torch.float16 else stack.float()).cpu().numpy()
