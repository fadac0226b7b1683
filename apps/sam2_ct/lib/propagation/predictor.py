"""SAM 2 as the tracker uses it: the one module that knows SAM 2's insides.

Stock SAM 2 offers `track_step`, which chooses memories itself, throws the predicted IoU away,
enlarges three masks to the input's size where one is needed, and reads its memory from a dict of
frames. `Sam2Parts` takes the same modules and weights one by one: recall (memory attention),
decode, and memorise. With a baseline plan the bits are stock's; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from lib.propagation.memory import Assembled, Codes
from lib.propagation.policy import MAX_POINTERS, RECENT_ROWS

# SAM 2's logits of a mask it was given (`_use_mask_as_output`): 20 · mask − 10
_GIVEN_SCALE, _GIVEN_BIAS = 20.0, -10.0
# what stock clamps logits to before it feeds them back, against rare numerical trouble
_FED_BACK = 32.0

Points = Mapping[str, Tensor]
"""`point_coords` (B, P, 2) float32 pixels (x, y) and `point_labels` (B, P) int32, as SAM 2's."""


@dataclass(frozen=True)
class Decoded:
    """What the network says of B slices.

    Attributes:
        logits: (B, 1, S/4, S/4) float32 mask logits of the mask it trusts most.
        predicted_iou: (B,) its estimate of that mask's IoU, 0 to 1.
        object_score: (B, 1) logit of the object being on the slice.
        pointer: (B, C) object pointer.
    """

    logits: Tensor
    predicted_iou: Tensor
    object_score: Tensor
    pointer: Tensor


class _RowByRow(torch.nn.Linear):
    """A layer with one output that rounds a row the same wherever in the batch it stands.

    That product is one of a matrix and a vector, which rounds by place.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) → (B, 1)."""
        if len(x) == 1:  # as stock
            return super().forward(x)
        return (x * self.weight).sum(dim=-1, keepdim=True) + self.bias


class Sam2Parts(SAM2Base):
    """`SAM2Base`, its parts one by one. Works on batches, and with gradients.

    Attributes:
        exact: round as stock does, also where a faster way to the same number rounds otherwise.
            Tracks then go one by one, and with the baseline policy the bits are stock's.
    """

    exact = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.pred_obj_scores and self.pred_obj_scores_mlp:
            self.sam_mask_decoder.pred_obj_score_head.layers[-1].__class__ = _RowByRow

    def check_memory_layout(self) -> None:
        """Raises ValueError if this network's memory differs from what plans are written for."""
        layout = (self.num_maskmem, self.max_obj_ptrs_in_encoder, self.max_cond_frames_in_attn)
        if layout != (RECENT_ROWS + 1, MAX_POINTERS, -1):
            raise ValueError(f"unexpected memory layout {layout}: plans need (7, 16, -1)")

    def codes(self, like: Tensor) -> Codes:
        """Marks of place and time for memories of the size of `like` (B, C, h, w)."""
        # the memory encoder's own positional encoding depends on size alone
        space = self.memory_encoder.position_encoding(like[:1]).flatten(2).permute(2, 0, 1)
        projected = self.proj_tpos_enc_in_obj_ptrs
        return Codes(
            space=space,
            rows=self.maskmem_tpos_enc,
            pointer=self.obj_ptr_tpos_proj,
            pointer_width=self.hidden_dim if projected else self.mem_dim,
        )

    def dense_positions(self) -> Tensor:
        """(1, C, h, w) positional encoding of the decoder; stock works it out for every slice."""
        encoding: Tensor = self.sam_prompt_encoder.get_dense_pe()
        return encoding

    def recall(self, top: Tensor, position: Tensor, assembled: Assembled | None) -> Tensor:
        """Features after memory attention; without memories, as of a slice seen for the first time.

        Args:
            top: (B, C, h, w) coarsest features of the slices.
            position: (1, C, h, w) their positional encoding.
            assembled: what they remember.

        Returns:
            (B, C, h, w).
        """
        tokens = top.flatten(2).permute(2, 0, 1)
        fused: Tensor
        if assembled is None:
            fused = tokens + self.no_mem_embed
        else:
            places = position.flatten(2).permute(2, 0, 1).expand(-1, tokens.shape[1], -1)
            # lists, as stock passes them: one level of features each
            fused = self.memory_attention(
                curr=[tokens],
                curr_pos=[places],
                memory=assembled.memory,
                memory_pos=assembled.position,
                num_obj_ptr_tokens=assembled.pointer_tokens,
            )
        return fused.permute(1, 2, 0).view(top.shape)

    def decode(
        self,
        pixels: Tensor,
        fine: Sequence[Tensor],
        dense_positions: Tensor,
        *,
        points: Points | None = None,
        previous: Tensor | None = None,
        first: bool = False,
    ) -> Decoded:
        """Mask, confidence and pointer from features that have recalled.

        Args:
            pixels: (B, C, h, w) from `recall`.
            fine: the two finer levels (B, ·, 4h, 4w), (B, ·, 2h, 2w).
            dense_positions: from `dense_positions`.
            points: clicks and boxes on the slices.
            previous: (B, 1, 4h, 4w) logits that the clicks correct.
            first: the slices are prompted ones, seen without memory.
        """
        if previous is not None:
            previous = previous.clamp(-_FED_BACK, _FED_BACK)
        # how many candidates SAM 2 weighs depends on the number of clicks
        several = self._use_multimask(first, points)
        return self._heads(pixels, fine, dense_positions, points, previous, several)

    def take_as_given(
        self, top: Tensor, fine: Sequence[Tensor], dense_positions: Tensor, mask: Tensor
    ) -> Decoded:
        """A painted mask as if the network had said it: stock's `_use_mask_as_output`.

        Args:
            top: (B, C, h, w) coarsest features, without memory.
            fine: the two finer levels.
            dense_positions: from `dense_positions`.
            mask: (B, 1, S, S) float32 of zeros and ones.
        """
        side = self.image_size // 4
        logits = F.interpolate(
            mask * _GIVEN_SCALE + _GIVEN_BIAS,
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        said = self._heads(
            top, fine, dense_positions, None, self.mask_downsample(mask), several=False
        )
        there = mask.flatten(1).any(dim=1, keepdim=True).float()
        pointer = there * said.pointer if self.fixed_no_obj_ptr else said.pointer
        return Decoded(
            logits=logits,
            predicted_iou=mask.new_ones(len(mask)),
            object_score=_GIVEN_SCALE * there + _GIVEN_BIAS,
            pointer=pointer + (1 - there) * self.no_obj_ptr,
        )

    def memorise(self, top: Tensor, said: Decoded, *, drawn: bool) -> Tensor:
        """Spatial memory (B, M, h, w) of slices and their masks, in bfloat16 as stock keeps it.

        A mask that a person `drawn` (or clicked) goes in as zeros and ones, a tracked one as it is.
        """
        # SAM 2's own step from a mask to memory: threshold or sigmoid, scale, "absent" embedding
        memory: Tensor
        memory, _ = self._encode_new_memory(
            current_vision_feats=[top.flatten(2).permute(2, 0, 1)],
            feat_sizes=[tuple(top.shape[-2:])],
            pred_masks_high_res=self._enlarged(said.logits, drawn),
            object_score_logits=said.object_score,
            is_mask_from_pts=drawn,
        )
        return memory.to(torch.bfloat16)

    def _enlarged(self, logits: Tensor, drawn: bool) -> Tensor:
        """(B, 1, S/4, S/4) → (B, 1, S, S)."""
        # stock enlarges a tracked mask among three candidates, and torch has a kernel of its own
        # for three channels: it rounds otherwise and takes ten times as long
        alike = 1 if drawn or not self.exact else 3
        side = self.image_size
        channels = logits.expand(-1, alike, -1, -1).contiguous()
        large = F.interpolate(channels, size=(side, side), mode="bilinear", align_corners=False)
        return large[:, :1]

    def _heads(
        self,
        pixels: Tensor,
        fine: Sequence[Tensor],
        dense_positions: Tensor,
        points: Points | None,
        mask: Tensor | None,
        several: bool,
    ) -> Decoded:
        """Stock's `_forward_sam_heads`, but only the chosen mask goes on."""
        encoder, batch = self.sam_prompt_encoder, len(pixels)
        if points is None:
            # stock pads "no click" to two points of label −1, each of which is this embedding
            sparse = encoder.not_a_point_embed.weight.expand(batch, 2, -1)
            dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(pixels.shape)
            if mask is not None:
                dense = encoder.mask_downscaling(mask)
        else:
            clicks = points["point_coords"], points["point_labels"]
            sparse, dense = encoder(points=clicks, boxes=None, masks=mask)
        masks, ious, tokens, score = self.sam_mask_decoder(
            image_embeddings=pixels,
            image_pe=dense_positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
            repeat_image=False,
            high_res_features=list(fine),
        )
        there = score > 0
        # stock's torch.where copies its number to a GPU, and waits for that
        masks = masks.masked_fill(~there[:, None, None], NO_OBJ_SCORE).float()
        rows = torch.arange(batch, device=masks.device)
        best = ious.argmax(dim=-1)
        token = tokens[rows, best] if tokens.size(1) > 1 else tokens[:, 0]
        present = score.sigmoid() if self.soft_no_obj_ptr else there.float()
        pointer = self.obj_ptr_proj(token)
        if self.fixed_no_obj_ptr:
            pointer = present * pointer
        return Decoded(
            logits=masks[rows, best].unsqueeze(1),
            predicted_iou=ious[rows, best],
            object_score=score,
            pointer=pointer + (1 - present) * self.no_obj_ptr,
        )


class PolicyVideoPredictor(Sam2Parts, SAM2VideoPredictor):
    """`SAM2VideoPredictor` whose parts the tracker uses; the same weights, the same modules."""
