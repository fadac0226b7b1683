"""The contact sheet: the worst and the median cases, outlines over the windowed CT."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.evaluation.store import ResultStore
from lib.files import write_whole

TRUTH, PREDICTED = "#37d67a", "#ff4d4d"
EACH = 3
"""Worst cases, and as many around the median."""


def worst_and_median(scores: pd.DataFrame, each: int) -> pd.DataFrame:
    """The `each` lowest Dice values and those around the median, without repeating one.

    Args:
        scores: columns `sample`, `dice`.
        each: how many of either.

    Returns:
        The rows, with a column `place`: `worst` or `median`.
    """
    ordered = scores.sort_values(["dice", "sample"]).reset_index(drop=True)
    worst = ordered.head(min(each, max(1, len(ordered) // 2)))
    rest = ordered.iloc[len(worst) :]
    middle = len(ordered) // 2
    nearest = sorted(rest.index, key=lambda i: (abs(i - middle), i))[:each]
    return pd.concat(
        [worst.assign(place="worst"), ordered.loc[sorted(nearest)].assign(place="median")]
    )


def draw(store: ResultStore, frame: pd.DataFrame, key: str, title: str, path: Path) -> str | None:
    """Draw the sheet of one configuration.

    Returns:
        The cases it shows, in words, for who cannot see it; None if no pictures were kept.
    """
    scores = frame[frame["key"] == key]
    scores = scores[[store.view_path(s, key).exists() for s in scores["sample"]]]
    if not len(scores):
        return None
    mpl.use("Agg")
    chosen = worst_and_median(scores, EACH)
    views = [dict(np.load(store.view_path(s, key))) for s in chosen["sample"]]
    columns = max(len(v["slices"]) for v in views)
    figure = Figure(figsize=(2.2 * columns, 2.5 * len(views) + 0.5), layout="constrained")
    strips = figure.subfigures(len(views), 1, squeeze=False)[:, 0]
    names = [
        f"{place}: {sample}, Dice {dice:.3f}"
        for place, sample, dice in zip(
            chosen["place"], chosen["sample"], chosen["dice"], strict=True
        )
    ]
    for strip, view, name in zip(strips, views, names, strict=True):
        axes_row = strip.subplots(1, columns, squeeze=False)[0]
        for axes in axes_row:
            axes.set_axis_off()
        strip.suptitle(name, x=0.01, ha="left", fontsize=9, fontweight="bold")
        pixel = view["spacing"]
        for n, t in enumerate(view["slices"]):
            axes = axes_row[n]
            # arrays are RAS: anterior up; the patient's left on the right, as radiologists look
            axes.imshow(view["image"][n].T, cmap="gray", origin="lower", aspect=pixel[1] / pixel[0])
            axes.invert_xaxis()
            for mask, colour in ((view["truth"], TRUTH), (view["predicted"], PREDICTED)):
                if mask[n].any():
                    axes.contour(mask[n].T.astype(float), [0.5], colors=colour, linewidths=1.0)
            axes.set_title(f"slice {t}", fontsize=7)
    figure.suptitle(
        f"{title}: truth green, prediction red; slices nobody painted, patient's left on the right",
        fontsize=10,
    )
    write_whole(path, lambda p: figure.savefig(p, dpi=110, format="png"))
    return f"{title}; {'; '.join(names)}"
