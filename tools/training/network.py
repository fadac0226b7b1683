"""SAM 2 in training: the package's own model, with the memory a timeline asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch.nn import functional

from lib.propagation.memory import Bank, Remembered, assemble
from lib.propagation.predictor import Sam2Parts
from tools.training import APP
from tools.training.timeline import Timeline

CONFIG = APP / "model" / "sam2_ct_builtin.yaml"


class TrainableSAM2(Sam2Parts, SAM2Base):
    """`SAM2Base` that remembers what its `timeline` says, with gradients.

    Plans become tensors in the code that also serves, so that what is trained is what is served.
    Kept in eval mode throughout for the same reason. Raw decoder outputs (before masks of absent
    objects are blanked) are left in ``decoded``.
    """

    timeline: Timeline
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
        """As the base class, except that `timeline` chooses the slices and their rows."""
        _, batch, channels = current_vision_feats[-1].shape
        top = current_vision_feats[-1].permute(1, 2, 0).view(batch, channels, *feat_sizes[-1])
        place = current_vision_pos_embeds[-1][:, :1].permute(1, 2, 0).view(1, *top.shape[1:])
        if is_init_cond_frame:
            return self.recall(top, place, None)
        prompted, tracked = (
            {
                t: Remembered(out["maskmem_features"], out["obj_ptr"])
                for t, out in output_dict[store].items()
            }
            for store in ("cond_frame_outputs", "non_cond_frame_outputs")
        )
        rows = [(self.timeline.plan(frame_idx, tracked), Bank(prompted, tracked))]
        return self.recall(top, place, assemble(rows, self.codes(top), num_frames))


@contextmanager
def multiplied_attention() -> Iterator[None]:
    """Attention as two matrix products, where gradients are wanted.

    The backward pass of PyTorch's fused CPU attention makes no use of a matrix unit (AMX) in
    bfloat16 and takes two to eight times as long as that of the products it stands for; those of
    this network are small enough to be held. Without gradients the fused one is the faster.
    """
    stock = functional.scaled_dot_product_attention

    def attend(query, key, value, dropout_p=0.0):
        if not torch.is_grad_enabled() or not query.requires_grad or dropout_p:
            return stock(query, key, value, dropout_p=dropout_p)
        chance = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return chance.to(value.dtype) @ value

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = stock


def build(image_size: int, device: str = "cpu") -> TrainableSAM2:
    """A fresh network from the shipped configuration, initialised so that it learns."""
    settings = OmegaConf.load(CONFIG).model
    settings.image_size = image_size
    settings._target_ = f"{TrainableSAM2.__module__}.{TrainableSAM2.__qualname__}"
    model = instantiate(settings, _recursive_=True)
    with torch.no_grad():
        # Objects are there until learnt otherwise, and a mask prompt starts as SAM's logits.
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
        model.mask_downsample.weight.fill_(20.0 / 16)
        model.mask_downsample.bias.fill_(-10.0)
    return model.eval().to(device).watch()
