"""The stock SAM 2 video predictor, fed from memory: what we are measured against.

Used by the benchmarks, and by the tests that compare our numbers with stock's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch

from lib.prompts.types import PromptSet
from lib.propagation.video import PseudoVideo

_PER_OBJECT = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "output_dict_per_obj",
    "temp_output_dict_per_obj",
    "frames_tracked_per_obj",
)


class Frames:
    """What stock SAM 2 asks of its frames: a length and items."""

    def __init__(self, video: PseudoVideo) -> None:
        self.video = video

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, t: int) -> torch.Tensor:
        return self.video.image(t)


def stock_state(predictor, video: PseudoVideo) -> dict[str, object]:
    """`SAM2VideoPredictor.init_state` for frames in memory instead of a folder of JPEGs."""
    rows, columns = video.canvas_shape
    state = {
        "images": Frames(video),
        "num_frames": len(video),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": rows,
        "video_width": columns,
        "device": predictor.device,
        "storage_device": predictor.device,
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
        "obj_ids": [],
    }
    return state | {name: {} for name in _PER_OBJECT}


def stock_masks(
    predictor, video: PseudoVideo, prompts: PromptSet, *, both_directions: bool = False
) -> Iterator[tuple[int, torch.Tensor]]:
    """(slice, logits of all objects) of a fresh request with painted slices.

    Forward from the first prompt; with `both_directions` also backward from the last.
    """
    state = stock_state(predictor, video)
    for p in prompts.prompts:
        predictor.add_new_mask(state, p.index, p.object_id, p.mask.T[::-1].copy())
    for t, _, logits in predictor.propagate_in_video(state):
        yield t, logits
    if both_directions:
        last = max(p.index for p in prompts.prompts)
        for t, _, logits in predictor.propagate_in_video(state, last, reverse=True):
            yield t, logits


def see_objects(predictor):
    """Random weights would call the object absent everywhere, and track nothing but blanks."""
    head = predictor.sam_mask_decoder.pred_obj_score_head
    with torch.no_grad():
        head.layers[-1].bias.fill_(5.0)
    return predictor
