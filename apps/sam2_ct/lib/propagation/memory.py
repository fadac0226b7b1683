"""From plans to the tensors that memory attention reads: used where SAM 2 serves and is trained.

Works with gradients, and with several rows at once: each row, or group of rows, brings its own
plan and its own bank of slices. The plans must have the same shape (as many conditioning slices,
recents and pointers), which is what makes them one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from lib.propagation.lanes import put
from lib.propagation.policy import MAX_POINTERS, Plan


@dataclass(frozen=True)
class Remembered:
    """What the memory holds of one slice.

    Attributes:
        features: (B, M, h, w) spatial memory.
        pointer: (B, C) object pointer; C is a multiple of M.
    """

    features: Tensor
    pointer: Tensor


@dataclass(frozen=True)
class Bank:
    """The slices a plan may name: prompted ones, and those tracked so far; rows alike in all."""

    prompted: Mapping[int, Remembered]
    tracked: Mapping[int, Remembered]

    def __call__(self, index: int, conditioning: bool) -> Remembered:
        """The slice of that number, from the store that the plan says."""
        return (self.prompted if conditioning else self.tracked)[index]


@dataclass(frozen=True)
class Codes:
    """How a network marks the place of a memory in space and time.

    Attributes:
        space: (h·w, 1, M) positional encoding of a memory's pixels.
        rows: (7, 1, 1, M) temporal embeddings, conditioning slices last.
        pointer: (P, C or M) sine encoding of distances → (P, M), a learned projection.
        pointer_width: width of that sine encoding.
    """

    space: Tensor
    rows: Tensor
    pointer: Callable[[Tensor], Tensor]
    pointer_width: int


@dataclass(frozen=True)
class Assembled:
    """Keys and values of memory attention, in the order SAM 2 concatenates them.

    Attributes:
        memory: (N, B, M) tokens, spatial memories first.
        position: (N, B, M) their positional encoding.
        pointer_tokens: how many of the N, at the end, belong to object pointers.
    """

    memory: Tensor
    position: Tensor
    pointer_tokens: int


def shape_of(plan: Plan) -> tuple[int, int]:
    """(memories, pointers): plans of one shape can be carried out as one batch."""
    return len(plan.memories), len(plan.pointers)


def assemble(rows: Sequence[tuple[Plan, Bank]], codes: Codes, num_slices: int) -> Assembled:
    """The tensors for slices that are segmented at once.

    Args:
        rows: a plan and the bank it reads from, per group of batch rows, in batch order.
        codes: of the network.
        num_slices: length of the pseudo-video; pointers measure distance by it.

    Raises:
        ValueError: the plans differ in shape.
    """
    shapes = {shape_of(plan) for plan, _ in rows}
    if len(shapes) != 1:
        raise ValueError(f"plans of different shapes {sorted(shapes)} cannot be one batch")
    groups = [bank(m.slice, m.conditioning) for plan, bank in rows for m in plan.memories[:1]]
    sizes = [len(r.pointer) for r in groups]
    memory, position = _spatial(rows, codes, sizes)
    tokens = 0
    if rows[0][0].pointers:
        pointers, places = _pointers(rows, codes, sizes, num_slices)
        # stock promotes bfloat16 memories to the pointers' type by concatenating them
        memory, tokens = [*memory, pointers], len(pointers)
        position.append(places)
    wide = position[0].dtype
    return Assembled(torch.cat([m.to(wide) for m in memory]), torch.cat(position), tokens)


def _spatial(
    rows: Sequence[tuple[Plan, Bank]], codes: Codes, sizes: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """(h·w, B, M) features and positions, one pair for each memory of the plans."""
    features, positions = [], []
    for entries in zip(*(plan.memories for plan, _ in rows), strict=True):
        held = [
            bank(m.slice, m.conditioning).features
            for m, (_, bank) in zip(entries, rows, strict=True)
        ]
        features.append(torch.cat(held).flatten(2).permute(2, 0, 1))
        marks = [codes.rows[m.row].expand(-1, n, -1) for m, n in zip(entries, sizes, strict=True)]
        positions.append(codes.space + torch.cat(marks, dim=1))
    return features, positions


def _pointers(
    rows: Sequence[tuple[Plan, Bank]], codes: Codes, sizes: Sequence[int], num_slices: int
) -> tuple[Tensor, Tensor]:
    """(pieces·P, B, M) tokens and positions: each pointer is split to the memory's width."""
    held = [
        torch.cat(
            [
                bank(p.slice, p.conditioning).pointer
                for p, (_, bank) in zip(entries, rows, strict=True)
            ]
        )
        for entries in zip(*(plan.pointers for plan, _ in rows), strict=True)
    ]
    pointers = torch.stack(held)
    count, batch, width = pointers.shape
    farthest = min(num_slices, MAX_POINTERS) - 1
    distances = torch.tensor([[p.distance for p in plan.pointers] for plan, _ in rows])
    distance = put(distances, pointers.device)
    sine = get_1d_sine_pe(distance.flatten() / farthest, dim=codes.pointer_width)
    places = codes.pointer(sine).view(len(rows), count, -1)
    per_row = [p.expand(n, -1, -1) for p, n in zip(places, sizes, strict=True)]
    position = torch.cat(per_row).transpose(0, 1)
    pieces = width // position.shape[-1]
    tokens = pointers.view(count, batch, pieces, -1).transpose(1, 2).flatten(0, 1)
    return tokens, position.repeat_interleave(pieces, dim=0)
