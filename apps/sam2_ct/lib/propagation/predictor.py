"""SAM 2 with a memory bank that is told what to hold.

`PlannedMemory` replaces SAM 2's choice of memories by a `Plan`; without one it is stock. It also
keeps the predicted IoU of the chosen mask, which stock SAM 2 throws away.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from sam2.sam2_video_predictor import SAM2VideoPredictor

from lib.propagation.policy import MAX_POINTERS, RECENT_ROWS, Plan

PLAN_KEY = "plan"


class PlannedMemory:
    """Mixin for `SAM2Base`: `output_dict["plan"]` decides which memories a slice attends."""

    def check_memory_layout(self) -> None:
        """Raises ValueError if this network's memory differs from what plans are written for."""
        layout = (self.num_maskmem, self.max_obj_ptrs_in_encoder, self.max_cond_frames_in_attn)
        if layout != (RECENT_ROWS + 1, MAX_POINTERS, -1):
            raise ValueError(f"unexpected memory layout {layout}: plans need (7, 16, -1)")

    def _track_step(self, *args, **kwargs):
        current_out, sam_outputs, high_res_features, pix_feat = super()._track_step(*args, **kwargs)
        # the mask chosen is the one with the highest estimate: (B, M) → (B,)
        current_out["predicted_iou"] = sam_outputs[2].max(dim=-1).values
        return current_out, sam_outputs, high_res_features, pix_feat

    def _prepare_memory_conditioned_features(
        self,
        frame_idx,
        is_init_cond_frame,
        current_vision_feats,
        current_vision_pos_embeds,
        feat_sizes,
        output_dict,
        num_frames,
        track_in_reverse=False,
    ):
        plan = output_dict.get(PLAN_KEY)
        if is_init_cond_frame or plan is None:
            return super()._prepare_memory_conditioned_features(
                frame_idx,
                is_init_cond_frame,
                current_vision_feats,
                current_vision_pos_embeds,
                feat_sizes,
                output_dict,
                num_frames,
                track_in_reverse,
            )
        memory, position = self._spatial_memories(plan, output_dict)
        num_pointer_tokens = 0
        if plan.pointers:
            pointers, pointer_position = self._object_pointers(plan, output_dict, num_frames)
            memory.append(pointers)
            position.append(pointer_position)
            num_pointer_tokens = len(pointers)
        fused = self.memory_attention(
            curr=current_vision_feats,
            curr_pos=current_vision_pos_embeds,
            memory=torch.cat(memory, dim=0),
            memory_pos=torch.cat(position, dim=0),
            num_obj_ptr_tokens=num_pointer_tokens,
        )
        batch = current_vision_feats[-1].size(1)
        return fused.permute(1, 2, 0).view(batch, self.hidden_dim, *feat_sizes[-1])

    def _spatial_memories(self, plan: Plan, output_dict):
        """Lists of (HW, B, mem_dim) features and positions, a pair for each memory of the plan."""
        features, positions = [], []
        for entry in plan.memories:
            out = _stored(output_dict, entry)
            device = self.maskmem_tpos_enc.device
            features.append(
                out["maskmem_features"].to(device, non_blocking=True).flatten(2).permute(2, 0, 1)
            )
            position = out["maskmem_pos_enc"][-1].to(device).flatten(2).permute(2, 0, 1)
            positions.append(position + self.maskmem_tpos_enc[entry.row])
        return features, positions

    def _object_pointers(self, plan: Plan, output_dict, num_frames: int):
        """(4·P, B, mem_dim) tokens and positions: each pointer is split to the memory's width."""
        pointers = torch.stack([_stored(output_dict, p)["obj_ptr"] for p in plan.pointers])
        _, batch, width = pointers.shape
        farthest = min(num_frames, self.max_obj_ptrs_in_encoder) - 1
        distance = torch.tensor([p.distance for p in plan.pointers], device=pointers.device)
        position = get_1d_sine_pe(
            distance / farthest, dim=width if self.proj_tpos_enc_in_obj_ptrs else self.mem_dim
        )
        position = self.obj_ptr_tpos_proj(position).unsqueeze(1).expand(-1, batch, self.mem_dim)
        split = width // self.mem_dim
        pointers = pointers.reshape(-1, batch, split, self.mem_dim)
        return (
            pointers.permute(0, 2, 1, 3).flatten(0, 1),
            position.repeat_interleave(split, dim=0),
        )


class PolicyVideoPredictor(PlannedMemory, SAM2VideoPredictor):
    """`SAM2VideoPredictor` that carries out plans; the same weights, the same modules."""


def _stored(output_dict, entry):
    bank = "cond_frame_outputs" if entry.conditioning else "non_cond_frame_outputs"
    return output_dict[bank][entry.slice]
