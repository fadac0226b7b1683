"""A predictor for another input size: the same weights, in the same memory."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

P = TypeVar("P", bound=nn.Module)


def resized(predictor: P, side: int) -> P:
    """A SAM 2 predictor that sees squares of `side` pixels.

    Nothing learned depends on the size: rotary encodings are computed for the map at hand,
    positions are interpolated, and what remains is what the predictor and its prompt encoder note
    down. Both predictors share their modules, so their calls must not overlap.

    Raises:
        ValueError: a side that the network's windows and pooling cannot divide.
    """
    if side % 32:
        raise ValueError(f"an input of {side} pixels: a multiple of 32 is needed")
    other: Any = _twin(predictor)  # sam2 tells no types
    prompts: Any = _twin(other.sam_prompt_encoder)
    tokens = side // other.backbone_stride
    other.image_size, other.sam_image_embedding_size = side, tokens
    prompts.input_image_size = (side, side)
    prompts.image_embedding_size = (tokens, tokens)
    prompts.mask_input_size = (4 * tokens, 4 * tokens)
    other.sam_prompt_encoder = prompts
    resized_one: P = other
    return resized_one


def _twin(module: P) -> P:
    """A module that holds the same parameters and parts, and may be given others."""
    twin = copy.copy(module)
    vars(twin)["_modules"] = dict(vars(module)["_modules"])  # else parts given to one go to both
    return twin
