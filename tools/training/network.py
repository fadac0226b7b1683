"""SAM 2 in training: the package's own model, with the memory a timeline asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch.nn import functional

from tools.training.timeline import Memory

CONFIG = Path(__file__).parents[2] / "apps" / "sam2_ct" / "model" / "sam2_ct_builtin.yaml"


class TrainableSAM2(SAM2Base):
    """`SAM2Base` that remembers what a `Memory` says, with gradients.

    Kept in eval mode throughout: what training must see is what the predictor will do. Raw
    decoder outputs (before masks of absent objects are blanked) are left in ``decoded``.
    """

    memory = Memory()
    decoded: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

    def watch(self) -> TrainableSAM2:
        """Starts recording decoder outputs; returns itself."""
        self.sam_mask_decoder.register_forward_hook(
            lambda _module, _args, output: setattr(self, "decoded", output)
        )
        return self

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
        """As the base class, except that `memory` chooses the slices and their rows."""
        if is_init_cond_frame:
            return super()._prepare_memory_conditioned_features(
                frame_idx,
                True,
                current_vision_feats,
                current_vision_pos_embeds,
                feat_sizes,
                output_dict,
                num_frames,
                track_in_reverse,
            )
        batch = current_vision_feats[-1].size(1)
        height, width = feat_sizes[-1]
        prompted, recent = output_dict["cond_frame_outputs"], output_dict["non_cond_frame_outputs"]
        chosen = self.memory.conditioning(frame_idx, tuple(prompted), num_frames)
        used = [(prompted[c], self.num_maskmem - 1) for c in chosen]
        used += [
            (recent[f], row) for f, row in reversed(self.memory.recents(frame_idx)) if f in recent
        ]
        features, positions = [], []
        for out, row in used:
            features.append(out["maskmem_features"].flatten(2).permute(2, 0, 1))
            position = out["maskmem_pos_enc"][-1].flatten(2).permute(2, 0, 1)
            positions.append(position + self.maskmem_tpos_enc[row])

        limit = min(num_frames, self.max_obj_ptrs_in_encoder)
        pointers = [(frame_idx - c, prompted[c]["obj_ptr"]) for c in chosen if c <= frame_idx]
        pointers += [
            (d, recent[frame_idx - d]["obj_ptr"])
            for d in range(1, limit)
            if frame_idx - d in recent
        ]
        count = 0
        if pointers:
            stacked = torch.stack([p for _, p in pointers])
            distance = torch.tensor([float(d) for d, _ in pointers]) / (limit - 1)
            code = get_1d_sine_pe(distance.to(stacked.device), dim=self.hidden_dim)
            code = self.obj_ptr_tpos_proj(code)[:, None].expand(-1, batch, self.mem_dim)
            pieces = self.hidden_dim // self.mem_dim
            stacked = stacked.reshape(-1, batch, pieces, self.mem_dim)
            features.append(stacked.permute(0, 2, 1, 3).flatten(0, 1))
            positions.append(code.repeat_interleave(pieces, dim=0))
            count = features[-1].shape[0]
        fused = self.memory_attention(
            curr=current_vision_feats,
            curr_pos=current_vision_pos_embeds,
            memory=torch.cat(features),
            memory_pos=torch.cat(positions),
            num_obj_ptr_tokens=count,
        )
        return fused.permute(1, 2, 0).view(batch, self.hidden_dim, height, width)


@contextmanager
def full_precision_attention() -> Iterator[None]:
    """Attention in float32 within bfloat16 autocast.

    The backward pass of CPU attention in bfloat16 takes twice as long where the processor has no
    matrix unit (AMX), which is a quarter of a training step.
    """
    stock = functional.scaled_dot_product_attention

    def attend(query, key, value, **options):
        with torch.autocast(query.device.type, enabled=False):
            out = stock(query.float(), key.float(), value.float(), **options)
        return out.to(query.dtype)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = stock


def build(
    image_size: int = 128, device: str = "cpu", *, config: Path = CONFIG, cls: type = TrainableSAM2
) -> TrainableSAM2:
    """A fresh network from the shipped configuration, initialised so that it learns."""
    settings = OmegaConf.load(config).model
    settings.image_size = image_size
    settings._target_ = f"{cls.__module__}.{cls.__qualname__}"
    model = instantiate(settings, _recursive_=True)
    with torch.no_grad():
        # Objects are there until learnt otherwise, and a mask prompt starts as SAM's logits.
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
        model.mask_downsample.weight.fill_(20.0 / 16)
        model.mask_downsample.bias.fill_(-10.0)
    return model.eval().to(device).watch()
