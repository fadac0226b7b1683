"""The paper's figures 3 and 4 with our curves beside its own, and those of our tables, as PNG.

Nothing is drawn from air: a figure whose results are not there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from lib.evaluation import annotator
from lib.evaluation.configurations import ANNOTATOR, GUIDANCE, paper
from lib.evaluation.statistics import mean_interval
from lib.evaluation.tables import rounds
from lib.files import write_whole

OURS, THEIRS = "#1b6ca8", "#b0552f"
PUBLISHED = "paper (SAM 2 small)"

Rows = Sequence[Mapping]

#: Of the annotator's figure: title, rows, and the row of one painted slice.
_PANELS = (
    ("with both ends", r"\d with ends", "1 mask"),
    ("ends unknown", r"\d inner", "1 mask"),
    ("with ends, freehand", r"\d freehand, with ends", "1 freehand"),
)


def draw_all(
    frame: pd.DataFrame, rows: Rows, cosine: Sequence[Sequence[float]], model: str, folder: Path
) -> list[tuple[str, str]]:
    """Draw what can be drawn.

    Returns:
        (file name, caption) of each figure.
    """
    mpl.use("Agg")
    made = []
    by_table = {t: [r for r in rows if r["table"] == t] for t in {r["table"] for r in rows}}
    ablation = by_table.get("6", [])
    classes = by_table.get("7") or by_table.get("1", [])
    plans: list[tuple[str, str, Callable[[], Figure | None]]] = [
        (
            "figure_3a_threshold.png",
            "Figure 3a: conditioning slices kept within τ of the volume's length, mean Dice (band: "
            "95 % interval of the mean over cases)",
            lambda: _threshold(frame, ablation, model),
        ),
        (
            "figure_3b_memory_size.png",
            "Figure 3b: recent slices in memory, and cosine similarity of this checkpoint's "
            "temporal embeddings (rows 0 to 5 recent, 6 conditioning)",
            lambda: _memory(frame, ablation, cosine, model),
        ),
        (
            "figure_3c_classes.png",
            "Figure 3c: mean Dice per class; comparators in grey",
            lambda: _classes(frame, classes),
        ),
        (
            "figure_3d_propagation.png",
            "Figure 3d: propagation by budget of painted slices",
            lambda: _propagation(frame, ablation, model),
        ),
        (
            "figure_4a_components.png",
            f"Figure 4a: mean time of SAM 2's parts per slice, {model}, over all configurations",
            lambda: _components(component_times(frame, model)),
        ),
        (
            "figure_4b_tracking.png",
            "Figure 4b: tracking time per slice by configuration, without the image encoder",
            lambda: _tracking(frame, [*by_table.get("1", []), *ablation]),
        ),
        (
            "challenge_rounds.png",
            "Corrections of the worst slice: mean Dice and NSD (2 mm) after each round",
            lambda: _rounds(frame, by_table.get("challenge", [])),
        ),
        (
            "annotator.png",
            "Mean Dice in the whole volume against painted slices, as served and by interpolation "
            "of the same slices; one: the middle one (band: 95 % interval of the mean over cases)",
            lambda: _annotator(frame, by_table.get(ANNOTATOR, []), model),
        ),
        (
            "guidance.png",
            "Which slice to paint next: mean Dice and NSD (2 mm) in the whole volume against "
            "painted (or wiped) slices, the two ends first",
            lambda: _guidance(frame, by_table.get(GUIDANCE, []), "Both ends first", 2),
        ),
        (
            "guidance_inner.png",
            "The same where the ends are unknown: three inner slices first",
            lambda: _guidance(frame, by_table.get(GUIDANCE, []), "Ends unknown", 3),
        ),
    ]
    for name, caption, plan in plans:
        figure = plan()
        if figure is None:
            continue
        write_whole(folder / name, lambda p, f=figure: f.savefig(p, dpi=130, format="png"))
        made.append((name, caption))
    return made


def _figure(columns: int = 1, width: float = 6.0, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _means(frame: pd.DataFrame, rows: Rows) -> np.ndarray:
    """Measured Dice, (rows,)."""
    return np.array([frame.loc[frame["key"] == r["key"], "dice"].mean() for r in rows])


def _published(rows: Rows) -> np.ndarray:
    """The paper's Dice, (rows,); NaN where it has none."""
    return np.array([r["published"].get("dice", [np.nan])[0] for r in rows], dtype=float)


def _of(rows: Rows, experiment: str, frame: pd.DataFrame) -> list[Mapping]:
    """Rows of an experiment that have results."""
    have = set(frame["key"])
    return [r for r in rows if r["experiment"] == experiment and r["key"] in have]


def _threshold(frame: pd.DataFrame, rows: Rows, model: str) -> Figure | None:
    rows = _of(rows, "Experiment 5: temporal threshold", frame)
    if len(rows) < 2:
        return None
    figure, (axes,) = _figure()
    x = [float(r["label"].removeprefix("τ = ").split()[0]) for r in rows]
    _two_lines(axes, x, frame, rows, model)
    axes.set(xlabel="τ", ylabel="Dice", xticks=x)
    axes.legend(frameon=False)
    return figure


def _two_lines(axes: Axes, x: Sequence[float], frame: pd.DataFrame, rows: Rows, model: str) -> None:
    """Mean Dice with its interval, and the paper's."""
    measured = [frame[frame["key"] == r["key"]] for r in rows]
    found = [mean_interval(m["dice"], m["case"]) for m in measured]
    axes.fill_between(x, [f.low for f in found], [f.high for f in found], color=OURS, alpha=0.12)
    axes.plot(x, [f.mean for f in found], "o-", color=OURS, label=f"measured ({model})")
    axes.plot(x, _published(rows), "s--", color=THEIRS, label=PUBLISHED)
    axes.grid(alpha=0.3)


def _memory(
    frame: pd.DataFrame, rows: Rows, cosine: Sequence[Sequence[float]], model: str
) -> Figure | None:
    rows = _of(rows, "Experiment 3: memory bank capacity", frame)
    curve = [r for r in rows if r["label"].startswith("Sliced")]
    if len(curve) < 2:
        return None
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    x = [int(r["label"].split()[1]) for r in curve]
    _two_lines(left, x, frame, curve, model)
    intelligent = [r for r in rows if r["label"] == "Intelligent slicing"]
    star = {"linestyle": "", "marker": "*", "markersize": 14, "markeredgecolor": "black"}
    for values, colour, whose in (
        (_means(frame, intelligent), OURS, "measured"),
        (_published(intelligent), THEIRS, "paper"),
    ):
        left.plot([2] * len(values), values, color=colour, label=f"IS, {whose}", **star)
    left.set(xlabel="recent slices in memory", ylabel="Dice")
    left.legend(frameon=False, fontsize=8)
    image = right.imshow(np.asarray(cosine), vmin=-1, vmax=1, cmap="RdBu_r")
    for i, row in enumerate(cosine):
        for j, value in enumerate(row):
            ink = "white" if abs(value) > 0.6 else "black"
            right.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
    right.set(xlabel="temporal embedding", ylabel="temporal embedding")
    right.set_title(f"cosine similarity ({model})", fontsize=10)
    figure.colorbar(image, ax=right, shrink=0.85)
    return figure


def _classes(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    have = set(frame["key"])
    rows = [r for r in rows if r["key"] in have]
    if not rows:
        return None
    published = paper()["per_class"]
    kinds = sorted(frame["class"].unique())
    figure, (axes,) = _figure(width=max(7.0, 1.3 * len(kinds) + 3), height=4.2)
    width = 0.85 / len(rows)
    colours = _colours(rows)
    for n, r in enumerate(rows):
        at = np.arange(len(kinds)) + (n - (len(rows) - 1) / 2) * width
        ours = frame[frame["key"] == r["key"]].groupby("class")["dice"].mean().reindex(kinds)
        axes.bar(at, ours, width, color=colours[n], label=r["label"])
        theirs = [published.get(k, {}).get(r["label"], (np.nan,))[0] for k in kinds]
        axes.bar(at, theirs, width, fill=False, edgecolor=THEIRS, linewidth=1.2,
                 label=PUBLISHED if n == len(rows) - 1 else None)  # fmt: skip
    axes.set(xticks=np.arange(len(kinds)), xticklabels=kinds, ylabel="Dice", ylim=(0, 1))
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _colours(rows: Rows) -> list:
    """SAM 2's rows in colour, comparators in grey."""
    own = [r["experiment"].startswith("Comparator") for r in rows]
    scales = {
        False: iter(mpl.colormaps["viridis"](np.linspace(0.05, 0.85, own.count(False)))),
        True: iter(mpl.colormaps["Greys"](np.linspace(0.35, 0.75, own.count(True)))),
    }
    return [next(scales[o]) for o in own]


def _propagation(frame: pd.DataFrame, rows: Rows, model: str) -> Figure | None:
    budgets = ("3 prompts", "9 prompts")
    by_budget = {b: _of(rows, f"Experiment 4: propagation, {b}", frame) for b in budgets}
    if not any(by_budget.values()):
        return None
    figure, pair = _figure(2, width=5.0)
    for axes, (budget, chosen) in zip(pair, by_budget.items(), strict=True):
        at = np.arange(len(chosen))
        axes.barh(at - 0.2, _means(frame, chosen), 0.38, color=OURS, label=f"measured ({model})")
        axes.barh(at + 0.2, _published(chosen), 0.38, color=THEIRS, label=PUBLISHED)
        axes.invert_yaxis()
        axes.set(yticks=at, yticklabels=[r["label"] for r in chosen], xlabel="Dice", xlim=(0, 1))
        axes.set_title(budget, fontsize=10)
        axes.grid(alpha=0.3, axis="x")
    handles, labels = pair[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def component_times(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """Mean milliseconds per slice of each part of a model, over its results, and the slices.

    The image encoder takes several slices a call on a GPU; the other parts take one.
    """
    total: dict[str, list[float]] = {}
    of_model = frame[frame["key"].str.startswith(f"{model}_")]
    for components, encoded in zip(of_model["components"], of_model["encoded"], strict=True):
        for part, (seconds, calls) in components.items():
            sums = total.setdefault(part, [0.0, 0])
            sums[0] += seconds
            sums[1] += encoded if part == "image encoder" else calls
    return pd.DataFrame(
        [{"part": p, "ms_per_slice": 1000 * s / n, "slices": n} for p, (s, n) in total.items()]
    )


def _components(times: pd.DataFrame) -> Figure | None:
    if not len(times):
        return None
    figure, (axes,) = _figure()
    bars = axes.bar(times["part"], times["ms_per_slice"], color=OURS)
    axes.bar_label(bars, fmt="%.1f")
    axes.set(ylabel="ms per slice")
    return figure


def _tracking(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    names: dict[str, str] = {}
    for r in rows:
        budget = r["experiment"].partition("propagation")[2]  # `, 9 prompts` in experiment 4
        names.setdefault(r["key"], r["label"].removesuffix(" (baseline)") + budget)
    measured = {
        label: values
        for key, label in names.items()
        if len(values := frame.loc[frame["key"] == key, "tracking_ms"].dropna())
    }
    if not measured:
        return None
    figure, (axes,) = _figure(width=max(6.0, 0.42 * len(measured) + 2), height=4.6)
    axes.boxplot(list(measured.values()), tick_labels=list(measured), showfliers=True)
    axes.set(yscale="log", ylabel="tracking, ms per slice")
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks(StrMethodFormatter("{x:g}"))
    axes.tick_params(axis="x", rotation=90, labelsize=8)
    axes.grid(alpha=0.3, axis="y")
    return figure


def _rounds(
    frame: pd.DataFrame, rows: Rows, unit: str = "corrections", begun: int = 0
) -> Figure | None:
    """Means after each round; `begun` is counted before the first."""
    data = rounds(frame, rows)
    if not len(data):
        return None
    figure, pair = _figure(2, width=4.5)
    for axes, score, label in zip(pair, ("dice", "nsd_2mm"), ("Dice", "NSD 2 mm"), strict=True):
        for name, of_row in data.groupby("row", sort=False):
            axes.plot(of_row["corrections"] + begun, of_row[f"{score}_mean"], "o-", label=name)
        axes.set(xlabel=unit, ylabel=label)
        axes.set_ylim(top=1)
        axes.grid(alpha=0.3)
    pair[0].legend(frameon=False, fontsize=8)
    return figure


def _guidance(frame: pd.DataFrame, rows: Rows, experiment: str, begun: int) -> Figure | None:
    return _rounds(frame, _of(rows, experiment, frame), "painted slices", begun)


def _annotator(frame: pd.DataFrame, rows: Rows, model: str) -> Figure | None:
    """A panel for each way of choosing and drawing slices; boxes and clicks in the second."""
    data = annotator.table(frame, rows) if rows else pd.DataFrame()
    data = data[data["n"] > 0] if len(data) else data
    if not len(data):
        return None
    by_label = data.set_index("row")
    figure, panels = _figure(len(_PANELS), width=3.4, height=3.3)
    for axes, (title, pattern, first) in zip(panels, _PANELS, strict=True):
        labels = [x for x in by_label.index if x == first or re.fullmatch(pattern, x)]
        labels.sort(key=_painted)
        curve, painted = by_label.loc[labels], [_painted(x) for x in labels]
        for kind, colour, style, name in (
            ("", OURS, "o-", f"served ({model})"),
            ("interpolation_", THEIRS, "s--", "interpolation"),
        ):
            low, high = (curve[f"{kind}dice_{end}"] for end in ("low", "high"))
            axes.fill_between(painted, low, high, color=colour, alpha=0.12)
            axes.plot(painted, curve[f"{kind}dice_mean"], style, color=colour, label=name)
        axes.set(xlabel="painted slices", title=title, ylim=(0, 1), xticks=painted)
        axes.grid(alpha=0.3)
    for name, marker in (("box", "D"), ("click", "x")):
        marked = [x for x in by_label.index if name in x]
        at = [_painted(x) for x in marked]
        panels[1].plot(at, by_label.loc[marked, "dice_mean"], marker, color="black", label=name)
    panels[0].set_ylabel("Dice")
    panels[1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _painted(label: str) -> int:
    """The number of slices that a row of the annotator's table begins with."""
    return int(label.split()[0])
