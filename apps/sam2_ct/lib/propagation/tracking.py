"""One object, one direction: SAM 2's tracking loop with a memory policy, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from lib.errors import BadInput
from lib.prompts.types import Box, Mask, Prompt
from lib.propagation.features import SliceEncoder, SliceFeatures
from lib.propagation.fusion import ABSENT
from lib.propagation.memory import Assembled, Bank, Remembered, assemble
from lib.propagation.policy import MemoryPolicy, Plan, Query
from lib.propagation.predictor import Decoded
from lib.propagation.records import Source


@dataclass(frozen=True)
class TrackedSlice:
    """What one pass says of one slice.

    Attributes:
        t: slice index.
        source: prompt, forward or backward.
        logits: (1, 1, S/4, S/4) float32 mask logits of the network.
        predicted_iou: the network's estimate of its own IoU, 0 to 1.
        object_score: logit of the object being on the slice.
    """

    t: int
    source: Source
    logits: torch.Tensor
    predicted_iou: float
    object_score: float

    @property
    def is_empty(self) -> bool:
        """Whether the mask has no pixel."""
        return not bool((self.logits > 0).any())


@dataclass(frozen=True)
class Kept:
    """A slice that is done: what the network says of it, and what is remembered."""

    said: Decoded
    memory: Remembered


@dataclass(frozen=True)
class Conditioning:
    """The prompted slices of one object, ready for any pass; made once, shared by directions.

    Attributes:
        outputs: what was decoded and is remembered of each conditioning slice, ascending.
        corrections: slices with negative points only, applied to what tracking says there.
    """

    outputs: dict[int, Kept]
    corrections: dict[int, dict[str, torch.Tensor]]

    @property
    def first(self) -> int:
        """First conditioning slice."""
        return min(self.outputs)

    @property
    def last(self) -> int:
        """Last conditioning slice."""
        return max(self.outputs)


@torch.inference_mode()
def condition(encoder: SliceEncoder, prompts: Sequence[Prompt]) -> Conditioning:
    """Turn one object's prompts into conditioning slices, as stock SAM 2 does before tracking.

    A mask is taken as it is; points and boxes go through the mask decoder; points on a slice that
    also has a mask refine it.

    Raises:
        BadInput: nothing but negative points.
    """
    predictor, video = encoder.predictor, encoder.video
    dense = predictor.dense_positions()
    outputs, corrections = {}, {}
    for t in sorted({p.index for p in prompts}):
        here = [p for p in prompts if p.index == t]
        masks = [p for p in here if isinstance(p, Mask)]
        clicks = [p for p in here if not isinstance(p, Mask)]
        positive = any(isinstance(p, Box) or len(p.foreground) for p in clicks)
        if not masks and not positive:
            corrections[t] = _to(video.point_inputs(clicks), predictor.device)
            continue
        features, out = encoder(t), None
        if masks:
            painted = torch.stack([video.mask_input(m) for m in masks]).amax(0)
            out = predictor.take_as_given(
                features.top, features.fine, dense, painted.to(predictor.device)
            )
        if clicks:
            points = _to(video.point_inputs(clicks), predictor.device)
            out = _decode(encoder, features, None, points, out and out.logits)
        outputs[t] = _keep(encoder, features, out, drawn=True)
    if not outputs:
        raise BadInput("only negative points: mark the object itself on at least one slice")
    return Conditioning(outputs, corrections)


class ObjectPass:
    """Tracks one object from its first (or, in reverse, last) prompt in one direction.

    Args:
        encoder: features of the slices.
        conditioning: the object's prompted slices.
        policy: what the memory may hold.
        reverse: towards slice 0.
        start: the conditioning slice the pass begins on.
        carried: outputs of an earlier pass to begin with, as stock SAM 2's reverse pass does.
        taken: (X, Y, Z) bool, voxels known to be something else. They are cut out of each tracked
            mask before it is remembered, so that the object does not wander into its neighbour.
    """

    def __init__(
        self,
        encoder: SliceEncoder,
        conditioning: Conditioning,
        policy: MemoryPolicy,
        *,
        reverse: bool,
        start: int,
        carried: dict[int, Kept] | None = None,
        taken: np.ndarray | None = None,
    ) -> None:
        self.encoder = encoder
        self.conditioning = conditioning
        self.policy = policy
        self.reverse = reverse
        self.start = start
        self.taken = taken
        self._held: dict[int, Kept] = dict(carried or {})
        self._near_start: dict[int, Kept] = {}

    @property
    def order(self) -> range:
        """The slices of this pass in the order they are tracked."""
        return (
            range(self.start, -1, -1)
            if self.reverse
            else range(self.start, len(self.encoder.video))
        )

    def carry(self) -> dict[int, Kept]:
        """Outputs next to the start, for a pass in the other direction."""
        return self._near_start

    @torch.inference_mode()
    def step(self, t: int) -> TrackedSlice:
        """Segment slice `t`; slices are to be asked for in `order`."""
        kept = self.conditioning.outputs.get(t)
        source = Source.PROMPT
        if kept is None:
            source = Source.BACKWARD if self.reverse else Source.FORWARD
            kept = self._track(t)
        return TrackedSlice(
            t,
            source,
            kept.said.logits,
            float(kept.said.predicted_iou),
            float(kept.said.object_score),
        )

    def _track(self, t: int) -> Kept:
        features = self.encoder(t)
        assembled = self._assemble(self.policy.plan(self._query(t)), features)
        said = _decode(self.encoder, features, assembled)
        correction = self.conditioning.corrections.get(t)
        if correction is not None:
            # as a click on a tracked frame in stock SAM 2: the earlier logits go in with the points
            said = _decode(self.encoder, features, assembled, correction, said.logits)
        foreign = self._foreign(t)
        if foreign is not None:
            said = replace(said, logits=said.logits.masked_fill(foreign, ABSENT))
        kept = _keep(self.encoder, features, said, drawn=correction is not None)
        self._held[t] = kept
        if abs(t - self.start) <= self.policy.reach:
            self._near_start[t] = kept
        following = self._query(t - 1 if self.reverse else t + 1)
        keep = self.policy.retained(following)
        self._held = {s: o for s, o in self._held.items() if s in keep}
        return kept

    def _assemble(self, plan: Plan, features: SliceFeatures) -> Assembled:
        bank = Bank(
            {c: k.memory for c, k in self.conditioning.outputs.items()},
            {c: k.memory for c, k in self._held.items()},
        )
        codes = self.encoder.predictor.codes(features.top)
        return assemble([(plan, bank)], codes, len(self.encoder.video))

    def _foreign(self, t: int) -> torch.Tensor | None:
        """Where slice `t` is something else: (1, 1, S/4, S/4) bool, or None if nowhere."""
        video = self.encoder.video
        here = None if self.taken is None else np.take(self.taken, t, axis=video.dim)
        if here is None or not here.any():
            return None
        mask = video.mask_input(Mask(video.axis, t, 0, here))
        side = video.image_size // 4
        covered = F.interpolate(mask, size=(side, side), mode="area") > 0.5
        return covered.to(self.encoder.predictor.device)

    def _query(self, t: int) -> Query:
        prompted = tuple(self.conditioning.outputs)
        by = {"iou": "predicted_iou", "score": "object_score"}[self.policy.confidence]
        return Query(
            t=t,
            num_slices=len(self.encoder.video),
            reverse=self.reverse,
            conditioning=prompted,
            # numbers only where they decide: reading one back waits for the device
            tracked={
                s: float(getattr(k.said, by)) if self.policy.gate else 0.0
                for s, k in self._held.items()
            },
            extent=prompted[-1] - prompted[0] + 1 if len(prompted) > 1 else None,
        )


def _decode(
    encoder: SliceEncoder,
    features: SliceFeatures,
    assembled: Assembled | None,
    points: dict[str, torch.Tensor] | None = None,
    previous: torch.Tensor | None = None,
) -> Decoded:
    """What the network says of a slice; without memories it is a prompted one."""
    predictor = encoder.predictor
    return predictor.decode(
        predictor.recall(features.top, features.position, assembled),
        features.fine,
        predictor.dense_positions(),
        points=points,
        previous=previous,
        first=assembled is None,
    )


def _keep(encoder: SliceEncoder, features: SliceFeatures, said: Decoded, *, drawn: bool) -> Kept:
    memory = encoder.predictor.memorise(features.top, said, drawn=drawn)
    return Kept(said, Remembered(memory, said.pointer))


def _to(inputs: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) for name, value in inputs.items()}
