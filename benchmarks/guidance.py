"""Does painting the suggested slice help more than painting another one?

    python benchmarks/guidance.py [--phantoms 8] [--real ../shared/data/bones] [--rounds 5]

Begins with both ends of an object painted and paints one more slice a round: the suggested one, the
middle of the largest gap, a random one, or the one with the most wrong voxels, which only somebody
who has the truth can choose. Prints mean Dice in the whole volume by painted slices.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct"), str(ROOT / "benchmarks")]

from extent import ENOUGH, Thing, bones, phantoms, run

from lib.activelearning.next_slice import next_slices
from lib.configs.options import Settings
from lib.evaluation.metrics import overlap as dice_and_iou
from lib.evaluation.tables import markdown
from lib.geometry import Axis
from lib.models.build import load_predictor
from lib.prompts.simulated import positions
from lib.prompts.types import Mask, PromptSet
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.records import SliceRecord

Choose = Callable[[list[int], NDArray[np.bool_], NDArray[np.bool_], list[SliceRecord]], int | None]
"""(painted slices, found, truth, records) → slice to paint, or None; (n, rows, columns) masks."""


def suggested(
    painted: list[int],
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    records: list[SliceRecord],
) -> int | None:
    """What the report says."""
    return next((s.index for s in next_slices(records, 1)), None)


def middle(
    painted: list[int],
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    records: list[SliceRecord],
) -> int | None:
    """The middle of the largest gap."""
    a, b = max(pairwise(painted), key=lambda gap: gap[1] - gap[0])
    return (a + b) // 2 if b - a > 1 else None


def at_random(
    painted: list[int],
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    records: list[SliceRecord],
) -> int | None:
    """Any slice between the ends; the same one whenever it is asked."""
    free = sorted(set(range(painted[0], painted[-1])) - set(painted))
    return int(np.random.default_rng(painted).choice(free)) if free else None


def worst(
    painted: list[int],
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    records: list[SliceRecord],
) -> int | None:
    """The one with the most wrong voxels."""
    wrong = (found ^ truth).sum(axis=(1, 2))
    wrong[painted] = 0
    return int(wrong.argmax()) if wrong.any() else None


CHOICES: dict[str, Choose] = {
    "suggested": suggested,
    "middle of the largest gap": middle,
    "random": at_random,
    "worst (oracle)": worst,
}


def measure(inferer: PseudoVideoInferer, thing: Thing, rounds: int) -> Iterator[dict]:
    """Dice after every round of every choice."""
    settings = Settings().engine()
    dim = thing.grid.dim_of(Axis.AXIAL)
    truth = np.moveaxis(thing.truth, dim, 0)
    ends = positions(truth.any(axis=(1, 2)), "first-last")
    for choice, choose in CHOICES.items():
        painted = list(ends)
        for number in range(rounds + 1):
            prompts = tuple(Mask(Axis.AXIAL, t, 1, truth[t]) for t in painted)
            mask, records = run(inferer, thing, PromptSet(thing.grid, prompts), settings)
            yield {
                "name": thing.name,
                "choice": choice,
                "painted": number + 2,
                "dice": dice_and_iou(mask, thing.truth)[0],
            }
            following = choose(painted, np.moveaxis(mask, dim, 0), truth, records)
            if following is not None and truth[following].any():
                painted = sorted({*painted, following})


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--phantoms", type=int, default=8, help="volumes, up to 2 objects each")
    parser.add_argument("--real", type=Path, default=ROOT / ".." / "shared" / "data" / "bones")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--checkpoint", type=Path)
    args = parser.parse_args()
    model = load_predictor(args.model, args.checkpoint, "auto")
    inferer = PseudoVideoInferer(model.predictor, model.sha256)
    things = [("phantoms", t) for t in phantoms(args.phantoms)]
    things += [("real bones", t) for t in bones(args.real)]
    rows: list[dict] = []
    with torch.inference_mode():
        for group, thing in track(things, "objects"):
            if np.count_nonzero(thing.truth.any(axis=(0, 1))) > ENOUGH:
                rows += [{"group": group, **row} for row in measure(inferer, thing, args.rounds)]
            inferer.bank.clear()
    data = pd.DataFrame(rows)
    for group, of in data.groupby("group", sort=False):
        means = of.pivot_table(index="choice", columns="painted", values="dice").loc[list(CHOICES)]
        lines = [[name, *map("{:.3f}".format, row)] for name, row in means.iterrows()]
        count = of["name"].nunique()
        print(f"\n## {group}: {count} objects of more than {ENOUGH} slices\n")
        print(markdown(["painted slices", *map(str, means.columns)], lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
