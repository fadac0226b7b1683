"""What the engine may be asked to do with prompts. Imports no torch, so options parse fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib.choice import Choice
from lib.errors import BadInput
from lib.geometry import Axis
from lib.propagation.policy import MemoryPolicy


class Propagation(Choice):
    """How prompts spread (paper II-E, table VI experiment 4)."""

    SINGLE = "single"
    FORWARD_BACKWARD = "forward-backward"
    THREE_AXIS = "three-axis"


@dataclass(frozen=True)
class PropagationSettings:
    """What the engine does with a set of prompts.

    Attributes:
        policy: what the memory may hold.
        propagation: single axis, forward and backward merged, or three axes fused.
        axis: the axis of `single` and `forward-backward`.
        carry: the backward pass begins with the forward pass's memories, as stock SAM 2 does.
        merge: `mean` of both passes, or by `distance` to the prompts (forward-backward only).
        end_of_object: slices without the object after which a pass ends; 0 never.
    """

    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    propagation: Propagation = Propagation.SINGLE
    axis: Axis = Axis.AXIAL
    carry: bool = False
    merge: str = "mean"
    end_of_object: int = 3

    def __post_init__(self) -> None:
        if self.merge not in ("mean", "distance"):
            raise BadInput(f"unknown merge {self.merge!r}: use mean or distance")
        if self.carry and self.propagation is not Propagation.SINGLE:
            raise BadInput("carry belongs to single-axis propagation: the other modes merge passes")
        if self.carry and self.policy.independent:
            raise BadInput(
                "carry lets the backward pass read across the prompt it begins on, which an "
                "independent policy never does: choose one of them"
            )
        if self.end_of_object < 0:
            raise BadInput(f"end_of_object must be 0 or more, got {self.end_of_object}")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes slices are cut along."""
        return tuple(Axis) if self.propagation is Propagation.THREE_AXIS else (self.axis,)
