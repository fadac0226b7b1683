"""Random but plausible HU of what a body is made of."""

from __future__ import annotations

import numpy as np

from tools.phantoms.scene import Tissue

AIR, FAT, MUSCLE = -1000.0, -100.0, 55.0


def spongy_bone(rng: np.random.Generator) -> Tissue:
    """A thin cortex around a spongy core: vertebrae, hips, ends of long bones."""
    core = rng.uniform(100, 380)
    return Tissue(core, core + rng.uniform(100, 800), rng.uniform(0.5, 2.5), rng.uniform(5, 70))


def hollow_bone(rng: np.random.Generator) -> Tissue:
    """A thick cortex around fatty marrow: shafts of long bones."""
    return Tissue(
        rng.uniform(-90, 120), rng.uniform(700, 1600), rng.uniform(1.5, 7), rng.uniform(2, 40)
    )


def thin_bone(rng: np.random.Generator) -> Tissue:
    """Ribs, processes, blades."""
    return Tissue(rng.uniform(100, 450), rng.uniform(400, 1100), rng.uniform(0.5, 2), 30)


def soft(rng: np.random.Generator) -> Tissue:
    """An organ, a muscle or a vessel, with or without contrast agent."""
    level = rng.uniform(0, 130) if rng.random() < 0.8 else rng.uniform(130, 320)
    return Tissue(level, grain=rng.uniform(0, 12))


def lung(rng: np.random.Generator) -> Tissue:
    """Air with vessels."""
    return Tissue(rng.uniform(-900, -720), grain=rng.uniform(10, 60))
