"""What half precision does to masks: Dice with the truth in float32 and as served, side by side.

    python benchmarks/precision.py DATASET [--model builtin] [--precision bf16] [--policy …]

DATASET is in TotalSegmentator's layout (CASE/ct.nii.gz, CASE/segmentations/BONE.nii.gz). First,
middle and last slice of each bone are painted; everything else is as served. Prints a Markdown
table: Dice in both, their difference, and the largest change of a logit where both say something
(painted slices and slices beyond the object are left out).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

import numpy as np
import torch

import lib  # noqa: F401  before torch: it says how waiting threads behave
from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.evaluation.metrics import overlap
from lib.geometry import Axis
from lib.models.build import load_predictor
from lib.models.precision import Precision
from lib.prompts.labelmap import from_labelmap
from lib.prompts.types import PromptSet
from lib.propagation.fusion import ABSENT
from lib.propagation.inferer import PAINTED
from lib.transforms.load import load_labelmap

LEAST_SLICES = 7


class Watched:
    """An engine, and the logits it last found."""

    def __init__(self, model: str, precision: Precision) -> None:
        self.pipeline = Pipeline(load_predictor(model, device="cpu", precision=precision))
        infer = self.pipeline.inferer

        def watching(*args: object) -> object:
            found = infer(*args)
            self.logits = found.logits
            return found

        self.pipeline.inferer = watching

    def __call__(self, ct: Path, prompts: PromptSet, settings: Settings) -> np.ndarray:
        """The mask of object 1."""
        case = self.pipeline.open(ct, settings)
        return self.pipeline.carry_out(case, Recipe(prompts, settings)).labels == 1


def largest_change(exact: np.ndarray, half: np.ndarray) -> float:
    """Largest difference of logits where both are the network's own words."""
    a, b = exact.astype(np.float32), half.astype(np.float32)
    own = (np.abs(a) < PAINTED) & (np.abs(b) < PAINTED) & (a != ABSENT) & (b != ABSENT)
    return float(np.abs(a - b)[own].max(initial=0.0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--precision", default="bf16", choices=[p.value for p in Precision])
    parser.add_argument("--policy")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings.parse({"policy": arguments.policy, "axis": "axial"})
    exact = Watched(arguments.model, Precision.FP32)
    half = Watched(arguments.model, Precision.parse(arguments.precision))
    print("| bone | Dice fp32 | half | difference | largest change of a logit |")
    print("|---|---|---|---|---|")
    worst = [0.0, 0.0]
    for path in sorted(arguments.dataset.glob("*/segmentations/*.nii.gz")):
        ct = path.parents[1] / "ct.nii.gz"
        truth, grid = load_labelmap(path)
        truth = (truth > 0).astype(np.uint8)
        dim = grid.dim_of(Axis.AXIAL)
        there = np.flatnonzero(truth.any(tuple(d for d in range(3) if d != dim)))
        if len(there) < LEAST_SLICES:
            continue
        chosen = sorted({int(there[0]), int(there[len(there) // 2]), int(there[-1])})
        prompts = from_labelmap(truth, grid, Axis.AXIAL, chosen)
        masks = [engine(ct, prompts, settings) for engine in (exact, half)]
        first, second = (overlap(mask, truth > 0)[0] for mask in masks)
        moved = largest_change(exact.logits[1], half.logits[1])
        worst = [max(worst[0], abs(second - first)), max(worst[1], moved)]
        name = f"{ct.parent.name}/{path.name.removesuffix('.nii.gz')}"
        print(f"| {name} | {first:.4f} | {second:.4f} | {second - first:+.4f} | {moved:.3f} |")
    print(f"| largest | | | {worst[0]:.4f} | {worst[1]:.3f} |")


if __name__ == "__main__":
    main()
