"""What the engine says of a propagation, beside the voxels. Values only: no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lib.geometry import Axis


class Source(str, Enum):
    """Where the mask of a slice came from."""

    PROMPT = "prompt"
    FORWARD = "forward"
    BACKWARD = "backward"
    BEYOND = "beyond"
    """Tracked, found to lie beyond the object's end, and left out of the result."""


class Rule(str, Enum):
    """What decided where an object ends."""

    PAINTED = "painted"
    OPEN = "open"
    AUTO_STOPPED = "auto-stopped"
    AUTO_WENT_ON = "auto-went-on"
    RANGE = "range"
    WIPED = "wiped"
    VOLUME = "volume"


@dataclass(frozen=True)
class SliceRecord:
    """Confidence and origin of one slice of one object.

    Attributes:
        object_id: of the prompts.
        axis: of the pass.
        index: slice along `axis`.
        source: prompt, forward, backward or beyond.
        predicted_iou: the network's estimate of its own IoU, 0 to 1.
        object_score: logit of the object being on the slice.
        uncertainty: 0 (sure) to 1, from the disagreement of passes; None: not estimated.
        moved: voxels in which the mask of the result differs from those before and after it, mean
            of the two; None: not counted.
    """

    object_id: int
    axis: Axis
    index: int
    source: Source
    predicted_iou: float
    object_score: float
    uncertainty: float | None = None
    moved: float | None = None


@dataclass(frozen=True)
class ObjectEnds:
    """Where one object ends along one axis, and what decided it.

    Attributes:
        object_id: of the prompts.
        axis: of the pass.
        first: first slice the object may be on.
        last: last slice it may be on.
        first_rule: what decided `first`.
        last_rule: what decided `last`.
        first_why: a clause for the user, the end of "it ends at slice N: …"; or empty.
        last_why: the same of `last`.
    """

    object_id: int
    axis: Axis
    first: int
    last: int
    first_rule: Rule
    last_rule: Rule
    first_why: str = ""
    last_why: str = ""


@dataclass(frozen=True)
class AbsentRange:
    """Slices `first` to `last` of `axis` on which the object is not, by the annotator's word."""

    object_id: int
    axis: Axis
    first: int
    last: int


@dataclass
class Propagated:
    """The engine's answer.

    Attributes:
        logits: object id → (X, Y, Z) float16 mask logits; > 0 is the object. Slices a pass did not
            reach are −10.
        slices: a record per object, axis and slice that was segmented.
        encoded: slices that went through the image encoder for this answer.
        tracked: slices that were tracked for it; others were found among earlier work.
        decided: what was decided for the user, a sentence each.
        ends: per object and axis; empty: nothing was decided about ends.
        absent: ranges the annotator emptied.
        beyond: object id → voxels that were found beyond its ends and left out.
        input_size: side of the network's square input, pixels; None: the checkpoint's own.
        seconds: named stages of the propagation.
    """

    logits: dict[int, NDArray[np.float16]]
    slices: list[SliceRecord]
    encoded: int
    decided: list[str] = field(default_factory=list)
    ends: list[ObjectEnds] = field(default_factory=list)
    absent: list[AbsentRange] = field(default_factory=list)
    beyond: dict[int, int] = field(default_factory=dict)
    tracked: int = 0
    input_size: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
