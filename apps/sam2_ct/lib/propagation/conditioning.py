"""The prompted slices of one object, encoded into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.errors import BadInput
from lib.prompts.types import Box, Mask, Points, Prompt
from lib.propagation.features import SliceEncoder
from lib.propagation.kept import Store, digest_of
from lib.propagation.memory import Remembered
from lib.propagation.predictor import Decoded


@dataclass(frozen=True)
class PromptedSlice:
    """A prompted slice that is ready for any pass.

    Attributes:
        memory: what is remembered of it.
        voxels: (X, Y) float16 logits in the slice's two dimensions.
        predicted_iou: 1 for a painted mask, else what the network says.
        object_score: logit.
        digest: identity of the prompts on it.
    """

    memory: Remembered
    voxels: NDArray[np.float16]
    predicted_iou: float
    object_score: float
    digest: str

    @property
    def num_bytes(self) -> int:
        """Bytes held."""
        tensors = (self.memory.features, self.memory.pointer)
        return self.voxels.nbytes + sum(t.numel() * t.element_size() for t in tensors)


@dataclass(frozen=True)
class Conditioning:
    """The prompted slices of one object; made once, shared by directions and stretches.

    Attributes:
        slices: by slice number, ascending.
        corrections: slices with negative points only, applied to what tracking says there.
        digests: identity of the corrections by slice.
    """

    slices: Mapping[int, PromptedSlice]
    corrections: Mapping[int, Mapping[str, Tensor]]
    digests: Mapping[int, str]

    @property
    def prompted(self) -> tuple[int, ...]:
        """Conditioning slices, ascending."""
        return tuple(self.slices)

    @property
    def memories(self) -> dict[int, Remembered]:
        """What is remembered of each."""
        return {t: s.memory for t, s in self.slices.items()}


@torch.inference_mode()
def condition(
    encoder: SliceEncoder, prompts: Sequence[Prompt], store: Store | None = None
) -> Conditioning:
    """Turn one object's prompts into conditioning slices, as stock SAM 2 does before tracking.

    A mask is taken as it is; points and boxes go through the mask decoder; points on a slice that
    also has a mask refine it.

    Args:
        encoder: features of the slices.
        prompts: of one object, on the encoder's axis.
        store: prompted slices of earlier requests.

    Raises:
        BadInput: nothing but negative points.
    """
    slices: dict[int, PromptedSlice] = {}
    corrections: dict[int, Mapping[str, Tensor]] = {}
    digests: dict[int, str] = {}
    for t in sorted({p.index for p in prompts}):
        here = [p for p in prompts if p.index == t]
        identity = digest_of(*(part for p in here for part in _parts(p)))
        clicks = [p for p in here if not isinstance(p, Mask)]
        if not any(isinstance(p, Mask | Box) or len(p.foreground) for p in here):
            corrections[t] = _points(encoder, clicks)
            digests[t] = identity
            continue
        key = digest_of(encoder.key, identity)
        known = store.get(key) if store else None
        if not isinstance(known, PromptedSlice):
            known = _prompted_slice(encoder, t, here, identity)
            if store:
                store.put(key, known)
        slices[t] = known
    if not slices:
        raise BadInput("only negative points: mark the object itself on at least one slice")
    return Conditioning(slices, corrections, digests)


def _prompted_slice(
    encoder: SliceEncoder, t: int, prompts: Sequence[Prompt], identity: str
) -> PromptedSlice:
    predictor, video = encoder.predictor, encoder.video
    masks = [p for p in prompts if isinstance(p, Mask)]
    clicks = [p for p in prompts if not isinstance(p, Mask)]
    features, dense = encoder(t), predictor.dense_positions()
    said: Decoded | None = None
    if masks:
        painted = torch.stack([video.mask_input(m) for m in masks]).amax(0)
        given = painted.to(predictor.device)
        said = predictor.take_as_given(features.top, features.fine, dense, given)
    if clicks:
        said = predictor.decode(
            predictor.recall(features.top, features.position, None),
            features.fine,
            dense,
            points=_points(encoder, clicks),
            previous=None if said is None else said.logits,
            first=True,
        )
    assert said is not None  # a slice without any mark is none of the prompts'
    memory = predictor.memorise(features.top, said, drawn=True)
    return PromptedSlice(
        memory=Remembered(memory, said.pointer),
        voxels=video.slice_logits(said.logits)[0].half().cpu().numpy(),
        predicted_iou=float(said.predicted_iou),
        object_score=float(said.object_score),
        digest=identity,
    )


def _points(encoder: SliceEncoder, clicks: Sequence[Points | Box]) -> dict[str, Tensor]:
    device = encoder.predictor.device
    return {k: v.to(device) for k, v in encoder.video.point_inputs(list(clicks)).items()}


def _parts(prompt: Prompt) -> tuple[object, ...]:
    """What decides the bits of a prompted slice; not whose prompt it is."""
    if isinstance(prompt, Mask):
        return "mask", prompt.index, prompt.mask
    if isinstance(prompt, Box):
        return "box", prompt.index, prompt.low, prompt.high
    return "points", prompt.index, prompt.foreground, prompt.background
