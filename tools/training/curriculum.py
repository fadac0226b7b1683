"""The schedule of the built-in checkpoint, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Attributes:
        name: for the log.
        steps: optimiser steps.
        lr: learning rate at the first and at the last step, linear in between.
        batch: sequences per step.
        objects: sequences that share a crop, each with another object of it.
        tracked: slices propagated in a row per sequence (gradients run through all of them).
        slices: fewest and most slices an object is cut into.
        prompts: chances of 1, 2, 3, … prompted slices.
        beyond: chance that the tracked slices lie at the object's end or beyond it.
        absent: weight of slices without the object against those with it.
        policies: chance of a memory policy other than stock SAM 2's.
        masks: chance that prompts are masks; the rest is half clicks, half boxes.
        easy: chance that history and prompts lie next to the tracked slices.
        mistaken: chance that the remembered masks of an object are those of a neighbour.
        rollout: chance that history is tracked by the network itself, mistakes included.
        clicked: the tracked slices are prompted with clicks and boxes, too, each on its own.
        alone: clicks and boxes are all that is taught, to decoder and prompt encoder.
        image_size: side of the square input, pixels.
    """

    name: str
    steps: int
    lr: tuple[float, float]
    batch: int = 12
    objects: int = 3
    tracked: int = 2
    slices: tuple[int, int] = (8, 40)
    prompts: tuple[float, ...] = (0.34, 0.33, 0.33)
    beyond: float = 0.15
    absent: float = 0.2
    policies: float = 0.5
    masks: float = 0.8
    easy: float = 0.0
    mistaken: float = 0.0
    rollout: float = 0.0
    clicked: bool = False
    alone: bool = False
    image_size: int = 128


WARM_UP = 200

_LATE = Phase(
    "late",
    0,
    (3e-4, 3e-4),
    tracked=4,
    slices=(8, 56),
    prompts=(0.08, 0.15, 0.6, 0.17),
    masks=0.88,
)
_OWN = replace(_LATE, prompts=(0.1, 0.2, 0.5, 0.2), mistaken=0.2, rollout=0.5)
_FINER = replace(_OWN, lr=(3e-4, 1e-5), image_size=192)
_ENDS = replace(
    _OWN,
    slices=(8, 48),
    prompts=(0.22, 0.1, 0.3, 0.08, 0.15, 0.05, 0.1),
    policies=0.75,
    beyond=0.45,
    absent=0.4,
    rollout=0.6,
    clicked=True,
)

CURRICULUM: tuple[Phase, ...] = (
    Phase(
        "short",
        400,
        (3e-4, 3e-4),
        batch=24,
        tracked=2,
        prompts=(0.8, 0.1, 0.1),
        policies=0.2,
        masks=0.95,
        easy=0.8,
    ),
    Phase("long", 400, (3e-4, 3e-4), tracked=3, prompts=(0.15, 0.2, 0.5, 0.15), easy=0.25),
    replace(_LATE, name="robust", steps=300, prompts=(0.12, 0.18, 0.5, 0.2), masks=0.85, easy=0.1),
    replace(_LATE, name="settle", steps=200, lr=(3e-4, 2e-4)),
    replace(_LATE, name="cool", steps=200, lr=(2e-4, 1.24e-4)),
    replace(_LATE, name="doubt", steps=430, lr=(2e-4, 1e-5), mistaken=0.25),
    replace(_OWN, name="own history", steps=2070),
    replace(_FINER, name="finer", steps=1000, masks=0.9),
    replace(_OWN, name="clicked", steps=500, clicked=True),
    replace(_OWN, name="clicks alone", steps=1700, lr=(1e-3, 5e-4), alone=True),
    replace(_OWN, name="together", steps=700, clicked=True),
    replace(_FINER, name="finer together", steps=650, clicked=True),
    # The shipped checkpoint ends here. What follows is begun, and not better yet: model card.
    replace(_ENDS, name="again", steps=50, lr=(1e-6, 3e-4)),
    replace(_ENDS, name="ends", steps=250, lr=(3e-4, 3e-4)),
    replace(_ENDS, name="finer ends", steps=250, lr=(3e-4, 1e-5), image_size=192),
)


def phase_at(step: int, curriculum: tuple[Phase, ...] = CURRICULUM) -> tuple[Phase, int]:
    """The phase that ``step`` (from 0) lies in, and the step's number within it."""
    for phase in curriculum:
        if step < phase.steps:
            return phase, step
        step -= phase.steps
    raise IndexError("the curriculum is over")


def total_steps() -> int:
    """Steps of all phases together."""
    return sum(phase.steps for phase in CURRICULUM)


def learning_rate(step: int, curriculum: tuple[Phase, ...] = CURRICULUM) -> float:
    """Linear within the phase, with a warm-up from zero at the very beginning."""
    phase, within = phase_at(step, curriculum)
    first, last = phase.lr
    rate = first + (last - first) * within / max(1, phase.steps)
    return rate * min(1.0, (step + 1) / WARM_UP)
