"""What the built-in checkpoint does: policies side by side, and against filling between slices.

make builtin-report, or

python benchmarks/builtin_report.py -o out/builtin [--real ../shared/data/bones] [--phantoms 16]

Writes report.md, results.csv and two pictures. Phantoms are of seeds that were never trained on;
real bones are added if the folder is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from lib.evaluation.baselines import interpolate_and_threshold, interpolate_slices
from lib.evaluation.metrics import overlap
from lib.geometry import Axis
from lib.models.build import LoadedModel, load_predictor
from lib.prompts.simulated import positions
from lib.propagation.inferer import PseudoVideoInferer
from tools.training.trial import Object, phantom_objects, real_objects, segment

POLICIES = ("baseline", "sps", "is", "is+sps", *(f"sliced{k}" for k in range(7)),
            *(f"gate{k}" for k in range(1, 7)), "stride2", "stride4")  # fmt: skip
PROMPTS = {"1": "middle", "2": "first-last", "3": "first-middle-last", "5": "uniform-5",
           "7": "uniform-7"}  # fmt: skip
BOTH_WAYS = "forward-backward"
AXES = {"3, one an axis": "middle", "9, three an axis": "first-middle-last"}
MARKS = {"3 boxes": "boxes", "3 clicks": "clicks"}
ENGINE = ("baseline", "is+sps")  # policies that are run with every number of prompts
FILLED = ("interpolation", "interpolation + HU")
COMPARED = ("3", "5", "7")
ENOUGH = 12  # objects of more slices than this count for the comparison


@dataclass(frozen=True)
class Row:
    """One measured Dice."""

    group: str
    name: str
    slices: int
    method: str
    prompts: str
    dice: float


def group_of(name: str, real: bool) -> str:
    """Which line of the tables an object belongs to."""
    if not real:
        return "phantoms"
    return "real ribs" if "rib" in name else "real bones"


def measure(inferer: PseudoVideoInferer, thing: Object, group: str) -> Iterable[Row]:
    """Everything the report says about one object."""

    def row(method: str, prompts: str, mask: np.ndarray) -> Row:
        return Row(group, thing.name, thing.slices, method, prompts, overlap(mask, thing.truth)[0])

    for policy in POLICIES:
        yield row(policy, "3", segment(inferer, thing, policy=policy))
    yield row(BOTH_WAYS, "3", segment(inferer, thing, propagation=BOTH_WAYS))
    for count in PROMPTS.keys() - {"3"}:
        for policy in ENGINE:
            mask = segment(inferer, thing, strategy=PROMPTS[count], policy=policy)
            yield row(policy, count, mask)
    for count, strategy in AXES.items():
        mask = segment(inferer, thing, strategy=strategy, propagation="three-axis",
                       axes=tuple(Axis))  # fmt: skip
        yield row("three-axis", count, mask)
    for count, marks in MARKS.items():
        yield row("is+sps", count, segment(inferer, thing, marks=marks, policy="is+sps"))
    spacing = thing.grid.spacing
    for count in COMPARED:
        at = positions(thing.truth.any((0, 1)), PROMPTS[count])
        shape = interpolate_slices(thing.truth, 2, at, spacing=spacing)
        dense = interpolate_and_threshold(thing.hu, thing.truth, 2, at, spacing=spacing)
        for method, mask in zip(FILLED, (shape, dense), strict=True):
            yield row(method, count, mask)


def mean_dice(data: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice by (method, prompts) and group."""
    return data.pivot_table(index=["method", "prompts"], columns="group", values="dice")


def against_interpolation(data: pd.DataFrame) -> pd.DataFrame:
    """A line per object and number of prompts, a column per method, for the compared budgets."""
    kept = data[(data["slices"] > ENOUGH) & data["prompts"].isin(COMPARED)]
    wide = kept.pivot_table(index=["group", "prompts", "name"], columns="method", values="dice")
    return wide[[*ENGINE, *FILLED]]


def report(data: pd.DataFrame, model: LoadedModel, seconds: float) -> str:
    """The Markdown text."""
    means = mean_dice(data)
    counts = data.groupby("group")["name"].nunique()
    head = [f"{group} ({counts[group]})" for group in means.columns]
    figure = "{:.3f}".format

    def lines(keys: Iterable[tuple[str, str]], label: str) -> list[list[str]]:
        return [[label.format(*key), *map(figure, means.loc[key])] for key in keys]

    budgets = [(method, count) for method in ENGINE for count in PROMPTS]
    budgets += [("three-axis", count) for count in AXES]
    budgets += [("is+sps", count) for count in MARKS]
    objects = against_interpolation(data)
    compared = []
    for (group, count), of in objects.groupby(level=["group", "prompts"]):
        best = of[list(FILLED)].max(axis=1)
        won = [f"{(of[method] > best).mean():.0%}" for method in ENGINE]
        compared.append([group, count, str(len(of)), *map(figure, of.mean()), *won])
    return "\n\n".join([
        "# The built-in checkpoint, measured",
        f"Checkpoint `{model.name}`, SHA-256 `{model.sha256[:16]}…`, {model.image_size} pixels, "
        f"{model.device}; mean Dice of the engine over objects of more than six slices. "
        f"{seconds:.0f} s.",
        "Phantoms are of the kind it was trained on (other seeds); real bones were never trained "
        "on. The figures belong to this small checkpoint, not to Meta's or to the paper.",
        "## Memory policies, first–middle–last masks",
        markdown(["policy", *head], lines([(p, "3") for p in (*POLICIES, BOTH_WAYS)], "{0}")),
        "## Prompts",
        markdown(["policy, painted slices", *head], lines(budgets, "{0}, {1}")),
        f"## Against filling between the same slices, objects of more than {ENOUGH} slices",
        markdown(["", "masks", "objects", *objects.columns,
                  *(f"{method} above both" for method in ENGINE)], compared),
        "![Dice by policy and by number of prompts](policies.png)",
        "![Engine against interpolation, one point an object](comparison.png)",
    ]) + "\n"  # fmt: skip


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def draw(data: pd.DataFrame, folder: Path) -> None:
    """The two pictures."""
    means = mean_dice(data)
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 5), layout="constrained")
    policies = [*POLICIES, BOTH_WAYS]
    means.loc[[(p, "3") for p in policies]].plot.bar(ax=left, width=0.8, legend=False)
    left.set_xticks(range(len(policies)), policies, rotation=60, ha="right")
    left.set(xlabel="", ylabel="mean Dice", ylim=(0, 1), title="first–middle–last")
    for method, style in zip(ENGINE, ("o:", "o-"), strict=True):
        for k, group in enumerate(means.columns):
            dice_by_budget = [means.loc[(method, count), group] for count in PROMPTS]
            right.plot(list(PROMPTS), dice_by_budget, style, color=f"C{k}",
                       label=f"{group}, {method}")  # fmt: skip
    right.set(xlabel="painted slices", ylabel="mean Dice", ylim=(0, 1), title="prompts")
    right.legend()
    figure.savefig(folder / "policies.png", dpi=110)
    plt.close(figure)

    objects = against_interpolation(data)
    figure, axes = plt.subplots(1, len(COMPARED), figsize=(14, 5), layout="constrained")
    for ax, count in zip(axes, COMPARED, strict=True):
        for group, of in objects.xs(count, level="prompts").groupby(level="group"):
            best = of[list(FILLED)].max(axis=1)
            ax.plot(best, of["is+sps"], "o", alpha=0.6, label=group)
        ax.plot([0, 1], [0, 1], "k:", linewidth=1)
        ax.set(xlabel="better of the two interpolations, Dice", ylabel="engine (IS+SPS), Dice",
               title=f"{count} masks", xlim=(0, 1), ylim=(0, 1))  # fmt: skip
    axes[0].legend()
    figure.savefig(folder / "comparison.png", dpi=110)
    plt.close(figure)


def main() -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "out" / "builtin")
    parser.add_argument("--real", type=Path, default=ROOT / ".." / "shared" / "data" / "bones")
    parser.add_argument("--phantoms", type=int, default=16, help="volumes, up to 3 objects each")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    begun = time.time()
    model = load_predictor(args.model, args.checkpoint, args.device)
    for warning in model.warnings:
        print(warning, file=sys.stderr)
    things = [(t, group_of(t.name, real=False)) for t in phantom_objects(args.phantoms)]
    things += [(t, group_of(t.name, real=True)) for t in real_objects(args.real)]
    inferer = PseudoVideoInferer(model.predictor, model.sha256)
    rows: list[Row] = []
    with torch.inference_mode():
        for thing, group in track(things, "objects"):
            rows += measure(inferer, thing, group)
            inferer.bank.clear()
    args.output.mkdir(parents=True, exist_ok=True)
    data = pd.DataFrame(rows)
    data.to_csv(args.output / "results.csv", index=False, float_format="%.4f")
    text = report(data, model, time.time() - begun)
    (args.output / "report.md").write_text(text)
    draw(data, args.output)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
