"""What the engine may be asked to do with prompts. Imports no torch, so options parse fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib.choice import Choice
from lib.errors import BadInput
from lib.geometry import Axis
from lib.propagation.extent import Extent, ExtentRule
from lib.propagation.input_size import InputSize
from lib.propagation.policy import MemoryPolicy


class Propagation(Choice):
    """How prompts spread (paper II-E, table VI experiment 4)."""

    SINGLE = "single"
    FORWARD_BACKWARD = "forward-backward"
    THREE_AXIS = "three-axis"


class Prior(Choice):
    """Whether the painted slices speak of the others beside the network, see `prior.py`."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True)
class PropagationSettings:
    """What the engine does with a set of prompts. The default is stock SAM 2.

    Attributes:
        policy: what the memory may hold.
        propagation: single axis, forward and backward merged, or three axes fused.
        axis: the axis of `single` and `forward-backward`.
        carry: the backward pass begins with the forward pass's memories, as stock SAM 2 does.
        merge: `mean` of both passes, or by `distance` to the prompts (forward-backward only).
        extent: how far objects may reach beyond their prompts on the axes they are marked on; a
            range counts slices of the volume the engine is given.
        input: side of the network's input.
        prior: whether shape and density of painted slices are added to the logits.
    """

    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    propagation: Propagation = Propagation.SINGLE
    axis: Axis = Axis.AXIAL
    carry: bool = False
    merge: str = "mean"
    extent: Extent = field(default_factory=lambda: Extent(ExtentRule.WHOLE))
    prior: Prior = Prior.OFF
    input: InputSize = InputSize.OWN

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

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes slices are cut along."""
        return tuple(Axis) if self.propagation is Propagation.THREE_AXIS else (self.axis,)
