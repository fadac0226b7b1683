"""One object, one direction: SAM 2's tracking loop with a memory policy, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from lib.errors import BadInput
from lib.prompts.types import Box, Mask, Prompt
from lib.propagation.features import SliceEncoder
from lib.propagation.fusion import ABSENT
from lib.propagation.policy import MemoryPolicy, Query
from lib.propagation.predictor import PLAN_KEY
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
    def has_object(self) -> bool:
        """False where the object score is negative or the mask empty."""
        return self.object_score > 0 and bool((self.logits > 0).any())


@dataclass(frozen=True)
class Conditioning:
    """The prompted slices of one object, ready for any pass; made once, shared by directions.

    Attributes:
        outputs: SAM 2's compact output per conditioning slice, ascending.
        corrections: slices with negative points only, applied to what tracking says there.
    """

    outputs: dict[int, dict]
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
    outputs, corrections = {}, {}
    for t in sorted({p.index for p in prompts}):
        here = [p for p in prompts if p.index == t]
        masks = [p for p in here if isinstance(p, Mask)]
        clicks = [p for p in here if not isinstance(p, Mask)]
        positive = any(isinstance(p, Box) or len(p.foreground) for p in clicks)
        if not masks and not positive:
            corrections[t] = _to(video.point_inputs(clicks), predictor.device)
            continue
        out = None
        if masks:
            painted = torch.stack([video.mask_input(m) for m in masks]).amax(0)
            out = _step(encoder, t, mask_inputs=painted.to(predictor.device))
        if clicks:
            points = _to(video.point_inputs(clicks), predictor.device)
            out = _step(encoder, t, point_inputs=points, previous=out and out["pred_masks"])
        outputs[t] = _remember(encoder, t, out)
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
        end_of_object: consecutive slices without the object, beyond the outermost prompt, after
            which the pass ends (0: never).
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
        end_of_object: int = 3,
        carried: dict[int, dict] | None = None,
        taken: np.ndarray | None = None,
    ) -> None:
        self.encoder = encoder
        self.conditioning = conditioning
        self.policy = policy
        self.reverse = reverse
        self.start = start
        self.end_of_object = end_of_object
        self.taken = taken
        self.ended = False
        self._held: dict[int, dict] = dict(carried or {})
        self._near_start: dict[int, dict] = {}
        self._missing = 0

    @property
    def order(self) -> range:
        """The slices of this pass in the order they are tracked."""
        return (
            range(self.start, -1, -1)
            if self.reverse
            else range(self.start, len(self.encoder.video))
        )

    def carry(self) -> dict[int, dict]:
        """Outputs next to the start, for a pass in the other direction."""
        return self._near_start

    @torch.inference_mode()
    def step(self, t: int) -> TrackedSlice:
        """Segment slice `t`; slices are to be asked for in `order`."""
        out = self.conditioning.outputs.get(t)
        source = Source.PROMPT
        if out is None:
            source = Source.BACKWARD if self.reverse else Source.FORWARD
            out = self._track(t)
        tracked = TrackedSlice(
            t,
            source,
            out["pred_masks"],
            float(out["predicted_iou"].max()),
            float(out["object_score_logits"].max()),
        )
        self._watch_for_the_end(tracked)
        return tracked

    def _track(self, t: int) -> dict:
        query = self._query(t)
        bank = {
            "cond_frame_outputs": self.conditioning.outputs,
            "non_cond_frame_outputs": self._held,
            PLAN_KEY: self.policy.plan(query),
        }
        run = {"output_dict": bank, "reverse": self.reverse}
        correction = self.conditioning.corrections.get(t)
        foreign = self._foreign(t)
        run["remember"] = foreign is None
        if correction is None:
            out = _step(self.encoder, t, **run)
        else:
            # as a click on a tracked frame in stock SAM 2: the earlier logits go in with the points
            before = _step(self.encoder, t, **{**run, "remember": False})["pred_masks"]
            out = _step(self.encoder, t, **run, point_inputs=correction, previous=before)
        if foreign is not None:
            out["pred_masks"] = out["pred_masks"].masked_fill(foreign, ABSENT)
            out = _remember(self.encoder, t, out, drawn=False)
        self._held[t] = out
        if abs(t - self.start) <= self.policy.reach:
            self._near_start[t] = out
        following = self._query(t - 1 if self.reverse else t + 1)
        keep = self.policy.retained(following)
        self._held = {s: o for s, o in self._held.items() if s in keep}
        return out

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
        key = {"iou": "predicted_iou", "score": "object_score_logits"}[self.policy.confidence]
        return Query(
            t=t,
            num_slices=len(self.encoder.video),
            reverse=self.reverse,
            conditioning=prompted,
            # numbers only where they decide: reading one back waits for the device
            tracked={
                s: float(o[key].max()) if self.policy.gate else 0.0 for s, o in self._held.items()
            },
            extent=prompted[-1] - prompted[0] + 1 if len(prompted) > 1 else None,
        )

    def _watch_for_the_end(self, tracked: TrackedSlice) -> None:
        outermost = self.conditioning.first if self.reverse else self.conditioning.last
        beyond = tracked.t < outermost if self.reverse else tracked.t > outermost
        self._missing = self._missing + 1 if beyond and not tracked.has_object else 0
        self.ended = bool(self.end_of_object) and self._missing >= self.end_of_object


def _step(
    encoder: SliceEncoder,
    t: int,
    *,
    mask_inputs: torch.Tensor | None = None,
    point_inputs: dict[str, torch.Tensor] | None = None,
    previous: torch.Tensor | None = None,
    output_dict: dict | None = None,
    reverse: bool = False,
    remember: bool = False,
) -> dict:
    """`track_step` on one slice; without `output_dict` it sees no memory."""
    features, positions, sizes = encoder(t)
    if previous is not None:
        # stock clamps what it feeds back, against rare numerical trouble
        previous = previous.clamp(-32.0, 32.0)
    out = encoder.predictor.track_step(
        frame_idx=t,
        is_init_cond_frame=output_dict is None,
        current_vision_feats=features,
        current_vision_pos_embeds=positions,
        feat_sizes=sizes,
        point_inputs=point_inputs,
        mask_inputs=mask_inputs,
        output_dict=output_dict or {},
        num_frames=len(encoder.video),
        track_in_reverse=reverse,
        run_mem_encoder=remember,
        prev_sam_mask_logits=previous,
    )
    return _compact(out)


def _remember(encoder: SliceEncoder, t: int, out: dict, *, drawn: bool = True) -> dict:
    """Encode a slice's mask into memory, from the network's own resolution.

    A mask that a person `drawn` (or clicked) goes in as zeros and ones, a tracked one as it is.
    """
    features, _, sizes = encoder(t)
    side = encoder.predictor.image_size
    memory, position = encoder.predictor._encode_new_memory(
        current_vision_feats=features,
        feat_sizes=sizes,
        pred_masks_high_res=F.interpolate(
            out["pred_masks"], size=(side, side), mode="bilinear", align_corners=False
        ),
        object_score_logits=out["object_score_logits"],
        is_mask_from_pts=drawn,
    )
    return _compact({**out, "maskmem_features": memory, "maskmem_pos_enc": position})


def _compact(out: dict) -> dict:
    """Only what later slices or the result read; memory in bfloat16 as stock keeps it."""
    memory = out["maskmem_features"]
    return {
        "pred_masks": out["pred_masks"],
        "predicted_iou": out["predicted_iou"],
        "object_score_logits": out["object_score_logits"],
        "obj_ptr": out["obj_ptr"],
        "maskmem_features": None if memory is None else memory.to(torch.bfloat16),
        "maskmem_pos_enc": out["maskmem_pos_enc"],
    }


def _to(inputs: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) for name, value in inputs.items()}
