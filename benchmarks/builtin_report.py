"""What the built-in checkpoint does: policies side by side, and against filling between slices.

make builtin-report, or

python benchmarks/builtin_report.py -o out/builtin [--real ../shared/data/bones] [--phantoms 16]

Writes report.md, results.csv and two pictures. Phantoms are of seeds that were never trained on;
real bones are added if the folder is there.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from lib.evaluation.baselines import interpolate_and_threshold, interpolate_slices
from lib.geometry import Axis
from lib.models.build import LoadedModel, load_predictor
from lib.prompts.simulated import positions
from lib.propagation.inferer import PseudoVideoInferer
from tools.training.trial import Object, dice, phantom_objects, real_objects, segment

POLICIES = ("baseline", "sps", "is", "is+sps", *(f"sliced{k}" for k in range(7)),
            *(f"gate{k}" for k in range(1, 7)), "stride2", "stride4")  # fmt: skip
PROMPTS = {"1": "middle", "2": "first-last", "3": "first-middle-last", "5": "uniform-5",
           "7": "uniform-7"}  # fmt: skip
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
        return Row(group, thing.name, thing.slices, method, prompts, dice(mask, thing.truth))

    for policy in POLICIES:
        yield row(policy, "3", segment(inferer, thing, policy=policy))
    yield row("forward-backward", "3", segment(inferer, thing, propagation="forward-backward"))
    for count, strategy in PROMPTS.items():
        if count != "3":
            yield row("baseline", count, segment(inferer, thing, strategy=strategy))
            yield row("is+sps", count, segment(inferer, thing, strategy=strategy, policy="is+sps"))
    for count, strategy in (("3 (1 an axis)", "middle"), ("9 (3 an axis)", "first-middle-last")):
        mask = segment(inferer, thing, strategy=strategy, propagation="three-axis",
                       axes=tuple(Axis))  # fmt: skip
        yield row("three-axis", count, mask)
    spacing = thing.grid.spacing
    for count in COMPARED:
        at = positions(thing.truth.any((0, 1)), PROMPTS[count])
        yield row("interpolation", count, interpolate_slices(thing.truth, 2, at, spacing=spacing))
        filled = interpolate_and_threshold(thing.hu, thing.truth, 2, at, spacing=spacing)
        yield row("interpolation + HU", count, filled)


def mean(rows: list[Row], group: str, method: str, prompts: str, longer: int = 0) -> float:
    """Mean Dice, NaN if there is none."""
    found = [r.dice for r in rows if (r.group, r.method, r.prompts) == (group, method, prompts)
             and r.slices > longer]  # fmt: skip
    return float(np.mean(found)) if found else float("nan")


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines])


def share_above(rows: list[Row], group: str, prompts: str) -> tuple[float, int]:
    """Share of objects on which baseline beats both comparators, and how many objects."""
    by_name: dict[str, dict[str, float]] = {}
    for r in rows:
        if r.group == group and r.prompts == prompts and r.slices > ENOUGH:
            by_name.setdefault(r.name, {})[r.method] = r.dice
    won = [
        d["baseline"] > max(d["interpolation"], d["interpolation + HU"]) for d in by_name.values()
    ]
    return (float(np.mean(won)) if won else float("nan")), len(won)


def report(rows: list[Row], model: LoadedModel, seconds: float) -> str:
    """The Markdown text."""
    groups = sorted({r.group for r in rows})
    counts = {g: len({r.name for r in rows if r.group == g}) for g in groups}
    head = [f"{g} ({counts[g]})" for g in groups]
    figure = "{:.3f}".format
    policies = [*POLICIES, "forward-backward"]
    by_policy = [[p, *(figure(mean(rows, g, p, "3")) for g in groups)] for p in policies]
    by_budget = [
        [f"{method}, {count} prompts", *(figure(mean(rows, g, method, count)) for g in groups)]
        for method in ("baseline", "is+sps")
        for count in PROMPTS
    ]
    by_budget += [
        [f"three-axis, {count}", *(figure(mean(rows, g, "three-axis", count)) for g in groups)]
        for count in ("3 (1 an axis)", "9 (3 an axis)")
    ]
    compared = []
    for g in groups:
        for count in COMPARED:
            share, objects = share_above(rows, g, count)
            compared.append([
                g, count, str(objects),
                *(figure(mean(rows, g, m, count, ENOUGH))
                  for m in ("baseline", "is+sps", "interpolation", "interpolation + HU")),
                f"{share:.0%}",
            ])  # fmt: skip
    return "\n\n".join([
        "# The built-in checkpoint, measured",
        f"Checkpoint `{model.name}`, SHA-256 `{model.sha256[:16]}…`, {model.image_size} pixels, "
        f"{model.device}; mean Dice of the engine over objects of more than six slices. "
        f"{seconds:.0f} s.",
        "Phantoms are of the kind it was trained on (other seeds); real bones were never trained "
        "on. The figures belong to this small checkpoint, not to Meta's or to the paper.",
        "## Memory policies, first–middle–last masks", table(["policy", *head], by_policy),
        "## Prompts", table(["", *head], by_budget),
        f"## Against filling between the same slices, objects of more than {ENOUGH} slices",
        table(["", "masks", "objects", "engine, baseline", "engine, IS+SPS", "interpolation",
               "interpolation + HU", "baseline above both"], compared),
        "![Dice by policy and by number of prompts](policies.png)",
        "![Engine against interpolation, one point an object](comparison.png)",
    ]) + "\n"  # fmt: skip


def draw(rows: list[Row], folder: Path) -> None:
    """The two pictures."""
    groups = sorted({r.group for r in rows})
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 5), layout="constrained")
    policies = [*POLICIES, "forward-backward"]
    for k, g in enumerate(groups):
        at = np.arange(len(policies)) + (k - (len(groups) - 1) / 2) * 0.27
        left.bar(at, [mean(rows, g, p, "3") for p in policies], 0.27, label=g)
        right.plot(list(PROMPTS), [mean(rows, g, "baseline", c) for c in PROMPTS], "o-", label=g)
    left.set_xticks(range(len(policies)), policies, rotation=60, ha="right")
    left.set(ylabel="mean Dice", ylim=(0, 1), title="first–middle–last")
    right.set(xlabel="painted slices", ylabel="mean Dice", ylim=(0, 1), title="baseline")
    right.legend()
    figure.savefig(folder / "policies.png", dpi=110)
    plt.close(figure)

    figure, axes = plt.subplots(1, len(COMPARED), figsize=(14, 5), layout="constrained")
    for ax, count in zip(axes, COMPARED, strict=True):
        for g in groups:
            pairs = {}
            for r in rows:
                if r.group == g and r.prompts == count:
                    pairs.setdefault(r.name, {})[r.method] = r.dice
            best = [max(p["interpolation"], p["interpolation + HU"]) for p in pairs.values()]
            ax.plot(best, [p["baseline"] for p in pairs.values()], "o", alpha=0.6, label=g)
        ax.plot([0, 1], [0, 1], "k:", linewidth=1)
        ax.set(xlabel="better of the two interpolations, Dice", ylabel="engine, Dice",
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
    things = [(t, group_of(t.name, False)) for t in phantom_objects(args.phantoms)]
    things += [(t, group_of(t.name, True)) for t in real_objects(args.real)]
    inferer = PseudoVideoInferer(model.predictor, model.sha256)
    rows: list[Row] = []
    with torch.inference_mode():
        for thing, group in track(things, "objects"):
            rows += measure(inferer, thing, group)
            inferer.bank.clear()
    args.output.mkdir(parents=True, exist_ok=True)
    with (args.output / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows([r.group, r.name, r.slices, r.method, r.prompts, f"{r.dice:.4f}"]
                         for r in rows)  # fmt: skip
    text = report(rows, model, time.time() - begun)
    (args.output / "report.md").write_text(text)
    draw(rows, args.output)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
