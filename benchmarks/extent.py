"""Where objects end and what the prior adds, against filling between the same slices.

    python benchmarks/extent.py [--phantoms 16] [--real ../shared/data/bones] [-o out/extent.csv]

Whole volumes, cropped as a served request: the ends are not known. Slices painted evenly over the
object with both ends, and the same numbers inside it (at 25, 50 and 75 % of its range for three);
one mask, one box, one click in the middle. Phantoms are of seeds that were never trained on.
Prints, for the default policy and propagation, mean Dice in the whole volume and slices beyond
the true ends for each `extent`, and Dice with the prior off.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from lib.configs.options import Settings
from lib.evaluation.baselines import interpolate_slices
from lib.evaluation.metrics import overlap as dice_and_iou
from lib.evaluation.tables import markdown
from lib.geometry import Axis, Grid
from lib.models.build import load_predictor
from lib.prompts.simulated import box_prompts, mask_prompts, point_prompts
from lib.prompts.types import Mask, PromptSet
from lib.propagation.extent import Extent
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.looking import look_closer
from lib.propagation.records import SliceRecord
from lib.propagation.settings import Prior, PropagationSettings
from lib.transforms.crop import crop_box, on_raster
from lib.transforms.window import PRESETS
from tools.phantoms.generate import generate

UNSEEN = 20_000_000  # seeds of phantoms; neither training nor the constants have seen them
FEWEST_SLICES = 7
ENOUGH = 12
"""Objects of more slices than this count where the engine is compared with interpolation."""

EXTENTS = ("painted", "open", "auto")
PROMPTS = {
    **{f"{n} with ends": (mask_prompts, f"uniform-{n}") for n in (2, 3, 5, 7, 9)},
    **{f"{n} inner": (mask_prompts, f"inner-{n}") for n in (2, 3, 5, 7, 9)},
    "1 mask": (mask_prompts, "middle"),
    "1 box": (box_prompts, "middle"),
    "1 click": (point_prompts, "middle"),
}


@dataclass(frozen=True)
class Thing:
    """An object in its whole volume, RAS: `hu` (X, Y, Z), `truth` (X, Y, Z) bool."""

    name: str
    hu: NDArray[np.float32]
    truth: NDArray[np.bool_]
    grid: Grid


def phantoms(count: int, each: int = 2) -> Iterator[Thing]:
    """Objects of more than six slices, at most `each` of a phantom."""
    for seed in range(UNSEEN, UNSEEN + count):
        phantom = generate(seed)
        labels = np.random.default_rng(seed).permutation(
            np.unique(phantom.labels[phantom.labels > 0])
        )
        fit = [k for k in labels if _slices(phantom.labels == k) >= FEWEST_SLICES]
        for label in fit[:each]:
            truth = phantom.labels == label
            grid = Grid(truth.shape, np.diag([*phantom.spacing, 1.0]))
            name = f"{seed - UNSEEN}-{phantom.kind}-{label}"
            yield Thing(name, phantom.hu.astype(np.float32), truth, grid)


def bones(root: Path) -> Iterator[Thing]:
    """Structures of more than six slices of a data set in TotalSegmentator's layout."""
    for case in sorted(p.parent for p in root.glob("*/ct.nii.gz")):
        image = nib.as_closest_canonical(nib.load(case / "ct.nii.gz"))
        hu = np.asarray(image.dataobj, dtype=np.float32)
        for path in sorted((case / "segmentations").glob("*.nii.gz")):
            truth = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj) > 0
            if _slices(truth) >= FEWEST_SLICES:
                yield Thing(
                    f"{case.name}-{path.name[:-7]}", hu, truth, Grid(hu.shape, image.affine)
                )


def measure(inferer: PseudoVideoInferer, thing: Thing, served: PropagationSettings) -> list[dict]:
    """Every way of prompting and every extent on one object."""
    dim = thing.grid.dim_of(Axis.AXIAL)
    first, *_, last = present = np.flatnonzero(_on_slices(thing.truth, dim))
    rows = []
    for marked, (make, strategy) in PROMPTS.items():
        prompts = make(thing.truth, thing.grid, strategy, Axis.AXIAL)
        said = {
            extent: run(inferer, thing, prompts, replace(served, extent=Extent.parse(extent)))[0]
            for extent in EXTENTS
        }
        without = replace(served, prior=Prior.OFF)
        said["auto, no prior"] = run(inferer, thing, prompts, without)[0]
        painted = [p.index for p in prompts.prompts if isinstance(p, Mask)]
        if painted:
            said["interpolation"] = interpolate_slices(
                thing.truth, dim, painted, spacing=thing.grid.spacing
            )
        for method, mask in said.items():
            found = np.flatnonzero(_on_slices(mask, dim))
            rows.append(
                {
                    "name": thing.name,
                    "slices": len(present),
                    "prompts": marked,
                    "method": method,
                    "dice": dice_and_iou(mask, thing.truth)[0],
                    "beyond": int((found < first).sum() + (found > last).sum()),
                }
            )
    return rows


def _on_slices(mask: NDArray[np.bool_], dim: int) -> NDArray[np.bool_]:
    return mask.any(axis=tuple(d for d in range(3) if d != dim))


def run(
    inferer: PseudoVideoInferer, thing: Thing, prompts: PromptSet, settings: PropagationSettings
) -> tuple[NDArray[np.bool_], list[SliceRecord]]:
    """What a served request finds, (X, Y, Z) on the whole volume, and its slice records."""
    image = PRESETS["bone"].apply(thing.hu)
    marked = look_closer(inferer.predictor, inferer.checkpoint, image, prompts)
    start, stop = on_raster(crop_box(marked, settings.axes), thing.grid)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    affine = thing.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    grid = Grid(thing.truth[box].shape, affine)
    found = np.zeros(thing.truth.shape, dtype=bool)
    said = inferer(image[box], marked.on(grid), settings)
    found[box] = said.logits[1] > 0
    # slices of a propagation along one axis are those of the volume: it is not cropped there
    return found, said.slices


_FIGURES = ("auto", "open", "painted", "auto, no prior")
_HEAD = ("marked", "auto", "open", "painted", "auto without prior", "interpolation",
         f"auto above it (> {ENOUGH} slices)", "slices beyond, auto", "open")  # fmt: skip


def report(data: pd.DataFrame) -> str:
    """Markdown tables, one a group."""
    texts = []
    for group, of in data.groupby("group", sort=False):
        overlap, beyond = (
            of.pivot_table(index="prompts", columns="method", values=v) for v in ("dice", "beyond")
        )
        long = of[of["slices"] > ENOUGH]
        each = long.pivot_table(index=["prompts", "name"], columns="method", values="dice")
        better = each["auto"] > each["interpolation"]
        known = [m for m in PROMPTS if "ends" in m]
        inner = [m for m in PROMPTS if "inner" in m]
        lines = [
            _line(m, overlap.loc[m], beyond.loc[m], better[m].mean() if m in better else None)
            for m in PROMPTS
        ]
        lines += [
            _line(name, overlap.loc[rows].mean(), beyond.loc[rows].mean(), None)
            for name, rows in (("mean, ends", known), ("inner", inner), ("both", known + inner))
        ]
        title = f"## {group}: {of['name'].nunique()} objects of more than six slices"
        texts.append(f"{title}\n\n{markdown(list(_HEAD), lines)}")
    return "\n\n".join(texts)


def _line(marked: str, overlap: pd.Series, beyond: pd.Series, won: float | None) -> list[str]:
    filled = overlap.get("interpolation", np.nan)
    return [
        marked,
        *(f"{overlap[m]:.3f}" for m in _FIGURES),
        "" if np.isnan(filled) else f"{filled:.3f}",
        "" if won is None or np.isnan(filled) else f"{won:.0%}",
        *(f"{beyond[m]:.1f}" for m in ("auto", "open")),
    ]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--phantoms", type=int, default=16, help="volumes, up to 2 objects each")
    parser.add_argument("--real", type=Path, default=ROOT / ".." / "shared" / "data" / "bones")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, help="CSV with a line per measurement")
    args = parser.parse_args()
    begun = time.time()
    model = load_predictor(args.model, args.checkpoint, args.device)
    inferer = PseudoVideoInferer(model.predictor, model.sha256)
    served = Settings().engine()
    things = [("phantoms", t) for t in phantoms(args.phantoms)]
    things += [("real bones", t) for t in bones(args.real)]
    rows = []
    with torch.inference_mode():
        for group, thing in track(things, "objects"):
            rows += [{"group": group, **row} for row in measure(inferer, thing, served)]
            inferer.bank.clear()
    data = pd.DataFrame(rows)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        data.to_csv(args.output, index=False, float_format="%.4f")
    print(
        f"Checkpoint `{model.name}`, SHA-256 `{model.sha256[:16]}…`; {time.time() - begun:.0f} s.\n"
    )
    print(report(data))
    return 0


def _slices(truth: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(truth.any(axis=(0, 1))))


if __name__ == "__main__":
    raise SystemExit(main())
