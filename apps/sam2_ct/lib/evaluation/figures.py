"""The paper's figures 3 and 4 with our curves beside its own, as PNG. Nothing is drawn from air:
a figure whose results are not there is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.commands import write_whole

OURS, THEIRS = "#1b6ca8", "#b0552f"

Rows = Sequence[Mapping]


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
            "Figure 3a: conditioning slices kept within τ of the volume's length",
            lambda: _curve(frame, ablation, "Experiment 5: temporal threshold", "τ", "τ = "),
        ),
        (
            "figure_3b_memory_size.png",
            "Figure 3b: recent slices in memory, and cosine similarity of this checkpoint's "
            "temporal embeddings (rows 0 to 5 recent, 6 conditioning)",
            lambda: _memory(frame, ablation, cosine),
        ),
        (
            "figure_3c_classes.png",
            "Figure 3c: Dice per class; the paper's as outlines where it has the class",
            lambda: _classes(frame, classes),
        ),
        (
            "figure_3d_propagation.png",
            "Figure 3d: propagation by budget of painted slices",
            lambda: _propagation(frame, ablation),
        ),
        (
            "figure_4a_components.png",
            f"Figure 4a: mean time per call of SAM 2's parts, {model}, over all configurations",
            lambda: _components(component_times(frame, model)),
        ),
        (
            "figure_4b_tracking.png",
            "Figure 4b: tracking time per slice by configuration, without the image encoder",
            lambda: _tracking(frame, [*by_table.get("1", []), *ablation]),
        ),
        (
            "challenge_rounds.png",
            "Corrections of the worst slice: Dice and NSD (2 mm) after each round",
            lambda: _rounds(frame, by_table.get("challenge", [])),
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


def _means(frame: pd.DataFrame, rows: Rows, score: str = "dice") -> np.ndarray:
    return np.array([frame.loc[frame["key"] == r["key"], score].mean() for r in rows])


def _published(rows: Rows, score: str = "dice") -> np.ndarray:
    return np.array([r["published"].get(score, [np.nan])[0] for r in rows], dtype=float)


def _of(rows: Rows, experiment: str, frame: pd.DataFrame) -> list[Mapping]:
    """Rows of an experiment that have results."""
    have = set(frame["key"])
    return [r for r in rows if r["experiment"] == experiment and r["key"] in have]


def _curve(
    frame: pd.DataFrame, rows: Rows, experiment: str, label: str, prefix: str
) -> Figure | None:
    rows = _of(rows, experiment, frame)
    if len(rows) < 2:
        return None
    figure, (axes,) = _figure()
    x = [float(r["label"].removeprefix(prefix).split()[0]) for r in rows]
    _two_lines(axes, x, _means(frame, rows), _published(rows))
    axes.set(xlabel=label, ylabel="Dice")
    return figure


def _two_lines(axes: Axes, x: Sequence[float], ours: np.ndarray, theirs: np.ndarray) -> None:
    axes.plot(x, ours, "o-", color=OURS, label="measured")
    if not np.isnan(theirs).all():
        axes.plot(x, theirs, "s--", color=THEIRS, label="paper (SAM 2 small)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _memory(frame: pd.DataFrame, rows: Rows, cosine: Sequence[Sequence[float]]) -> Figure | None:
    rows = _of(rows, "Experiment 3: memory bank capacity", frame)
    curve = [r for r in rows if r["label"].startswith("Sliced")]
    if len(curve) < 2:
        return None
    figure, (left, right) = _figure(2)
    x = [int(r["label"].split()[1]) for r in curve]
    _two_lines(left, x, _means(frame, curve), _published(curve))
    for r in rows:
        if r["label"] == "Intelligent slicing":
            left.plot(2, _means(frame, [r])[0], "*", color=OURS, markersize=13)
            left.plot(2, _published([r])[0], "*", color=THEIRS, markersize=13)
            left.annotate("IS", (2, _means(frame, [r])[0]), (5, 5), textcoords="offset points")
    left.set(xlabel="recent slices in memory", ylabel="Dice")
    image = right.imshow(np.asarray(cosine), vmin=-1, vmax=1, cmap="RdBu_r")
    for i, row in enumerate(cosine):
        for j, value in enumerate(row):
            right.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7)
    right.set(xlabel="temporal embedding", ylabel="temporal embedding")
    right.set_title("cosine similarity", fontsize=10)
    figure.colorbar(image, ax=right, shrink=0.85)
    return figure


def _classes(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    from lib.evaluation.configurations import paper

    have = set(frame["key"])
    rows = [r for r in rows if r["key"] in have]
    if not rows:
        return None
    published = paper()["per_class"]
    kinds = sorted(frame["class"].unique())
    figure, (axes,) = _figure(width=max(7.0, 1.3 * len(kinds) + 3), height=4.2)
    width = 0.85 / len(rows)
    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.9, len(rows)))
    for n, r in enumerate(rows):
        at = np.arange(len(kinds)) + (n - (len(rows) - 1) / 2) * width
        ours = frame[frame["key"] == r["key"]].groupby("class")["dice"].mean().reindex(kinds)
        axes.bar(at, ours, width, color=colours[n], label=r["label"])
        theirs = [published.get(k, {}).get(r["label"], (np.nan,))[0] for k in kinds]
        axes.bar(at, theirs, width, fill=False, edgecolor=THEIRS, linewidth=1.2)
    axes.set(xticks=np.arange(len(kinds)), xticklabels=kinds, ylabel="Dice", ylim=(0, 1))
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _propagation(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    budgets = ("3 prompts", "9 prompts")
    by_budget = {b: _of(rows, f"Experiment 4: propagation, {b}", frame) for b in budgets}
    if not any(by_budget.values()):
        return None
    figure, pair = _figure(2, width=5.0)
    for axes, (budget, chosen) in zip(pair, by_budget.items(), strict=True):
        at = np.arange(len(chosen))
        axes.barh(at - 0.2, _means(frame, chosen), 0.38, color=OURS, label="measured")
        axes.barh(at + 0.2, _published(chosen), 0.38, color=THEIRS, label="paper")
        axes.invert_yaxis()
        axes.set(yticks=at, yticklabels=[r["label"] for r in chosen], xlabel="Dice", xlim=(0, 1))
        axes.set_title(budget, fontsize=10)
        axes.grid(alpha=0.3, axis="x")
    pair[0].legend(frameon=False, fontsize=8)
    return figure


def component_times(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """Mean milliseconds per call of each part of a model, over its results, and the calls."""
    total: dict[str, list[float]] = {}
    for components in frame.loc[frame["key"].str.startswith(f"{model}_"), "components"]:
        for part, (seconds, calls) in components.items():
            sums = total.setdefault(part, [0.0, 0])
            sums[0] += seconds
            sums[1] += calls
    return pd.DataFrame(
        [{"part": p, "ms_per_call": 1000 * s / n, "calls": n} for p, (s, n) in total.items()]
    )


def _components(times: pd.DataFrame) -> Figure | None:
    if not len(times):
        return None
    figure, (axes,) = _figure()
    bars = axes.bar(times["part"], times["ms_per_call"], color=OURS)
    axes.bar_label(bars, fmt="%.1f")
    axes.set(ylabel="ms per call")
    return figure


def _tracking(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    names: dict[str, str] = {}
    for r in rows:
        many = ", 9 prompts" if r["experiment"].endswith("9 prompts") else ""
        names.setdefault(r["key"], r["label"].removesuffix(" (baseline)") + many)
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
    axes.tick_params(axis="x", rotation=90, labelsize=8)
    axes.grid(alpha=0.3, axis="y")
    return figure


def _rounds(frame: pd.DataFrame, rows: Rows) -> Figure | None:
    have = set(frame["key"])
    rows = [r for r in rows if r["key"] in have]
    if not rows:
        return None
    figure, pair = _figure(2)
    for axes, score, label in zip(pair, ("dice", "nsd_2mm"), ("Dice", "NSD 2 mm"), strict=True):
        for r in rows:
            rounds = frame.loc[frame["key"] == r["key"], "rounds"]
            curve = np.mean([[step[score] for step in one] for one in rounds], axis=0)
            axes.plot(range(len(curve)), curve, "o-", label=r["label"])
        axes.set(xlabel="corrections", ylabel=label)
        axes.grid(alpha=0.3)
    pair[0].legend(frameon=False, fontsize=8)
    return figure
