"""The paper's tables with our figures beside its own, as numbers (`layout.py` writes them out)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.evaluation.configurations import paper
from lib.evaluation.frames import REACH, SCORES
from lib.evaluation.statistics import holm, mean_interval, paired


def table(frame: pd.DataFrame, rows: Sequence[Mapping], skipped: Mapping[str, str]) -> pd.DataFrame:
    """One table: a line per row, measured mean ± std beside the published.

    Args:
        frame: from `as_frame`.
        rows: rows of `run.json` of one table.
        skipped: configuration → why it was not measured.

    Returns:
        Plain numbers, for CSV: `n`, mean and std of every score, the interval of Dice, means of how
        far results reach beyond the object, seconds, `paper_*`.
    """
    lines = []
    for row in rows:
        ours = frame[frame["key"] == row["key"]]
        line: dict[str, object] = {
            "experiment": row["experiment"],
            "row": row["label"],
            "n": len(ours),
            "empty": int(ours["empty"].sum()),
        }
        for name in SCORES:
            line[f"{name}_mean"] = ours[name].mean()
            line[f"{name}_std"] = ours[name].std(ddof=1) if len(ours) > 1 else np.nan
        dice = mean_interval(ours["dice"], ours["case"])
        line |= {"dice_low": dice.low, "dice_high": dice.high}
        line |= {f"{name}_mean": ours[name].mean() for name in REACH}
        line["seconds_mean"] = ours["seconds"].mean()
        line["tracking_ms_mean"] = ours["tracking_ms"].mean()
        for name in ("auc_dice", "auc_nsd_2mm"):
            line[f"{name}_mean"] = ours[name].mean()
            line[f"{name}_std"] = ours[name].std(ddof=1) if len(ours) > 1 else np.nan
        for name in ("dice", "iou", "hd"):
            mean, std = row["published"].get(name, (np.nan, np.nan))
            line |= {f"paper_{name}_mean": mean, f"paper_{name}_std": std}
        line["configuration"] = row["key"]
        line["not_measured"] = skipped.get(row["key"], "")
        lines.append(line)
    return pd.DataFrame(lines)


def per_class(frame: pd.DataFrame, rows: Sequence[Mapping]) -> pd.DataFrame:
    """Table VII: a line per class and row; Dice and IoU, ours and the paper's."""
    published = paper()["per_class"]
    lines = []
    for kind in sorted(frame["class"].unique(), key=_in_order(list(published))):
        of_class = frame[frame["class"] == kind]
        for row in rows:
            ours = of_class[of_class["key"] == row["key"]]
            dice, iou = published.get(kind, {}).get(row["label"], (np.nan, np.nan))
            lines.append(
                {
                    "class": kind,
                    "row": row["label"],
                    "n": len(ours),
                    "dice_mean": ours["dice"].mean(),
                    "dice_std": ours["dice"].std(ddof=1) if len(ours) > 1 else np.nan,
                    "iou_mean": ours["iou"].mean(),
                    "iou_std": ours["iou"].std(ddof=1) if len(ours) > 1 else np.nan,
                    "hd_mm_mean": ours["hd_mm"].mean(),
                    "nsd_2mm_mean": ours["nsd_2mm"].mean(),
                    "paper_dice": dice,
                    "paper_iou": iou,
                }
            )
    return pd.DataFrame(lines)


def rounds(frame: pd.DataFrame, rows: Sequence[Mapping]) -> pd.DataFrame:
    """Dice and NSD after each round of correction: a line per row and round."""
    lines = []
    for row in rows:
        of_row = [r for r in frame.loc[frame["key"] == row["key"], "rounds"] if r is not None]
        for number, steps in enumerate(zip(*of_row, strict=True)):
            line = {"row": row["label"], "corrections": number, "n": len(steps)}
            for name in ("dice", "nsd_2mm"):
                values = [step[name] for step in steps]
                line[f"{name}_mean"] = np.mean(values)
                line[f"{name}_std"] = np.std(values, ddof=1) if len(values) > 1 else np.nan
            lines.append(line)
    return pd.DataFrame(lines)


def comparisons(frame: pd.DataFrame, rows: Sequence[Mapping], score: str = "dice") -> pd.DataFrame:
    """Every row of a table against the row it names, on the samples both measured.

    Args:
        frame: a row per sample and configuration.
        rows: of the table; `against` names what a row is compared with.
        score: column of `frame` that is compared.

    Returns:
        Difference with its 95 % interval, Wilcoxon p, and p after Holm's correction over the
        table's rows. Pairs that stand in the table twice are tested once.
    """
    lines, seen = [], set()
    for row in rows:
        reference = _reference(row, rows)
        pair = (row["key"], reference)
        if reference in (None, row["key"]) or pair in seen:
            continue
        seen.add(pair)
        ours, base = (frame[frame["key"] == key].set_index("sample") for key in pair)
        shared = ours.index.intersection(base.index)
        if not len(shared):
            continue
        found = paired(ours.loc[shared, score], base.loc[shared, score], ours.loc[shared, "case"])
        lines.append(
            {
                "experiment": row["experiment"],
                "row": row["label"],
                "against": row["against"],
                "n": found.n,
                f"{score}_difference": found.difference.mean,
                "low": found.difference.low,
                "high": found.difference.high,
                "p": found.p,
            }
        )
    result = pd.DataFrame(lines)
    if len(result):
        result["p_holm"] = holm(result["p"])
    return result


def _reference(row: Mapping, rows: Sequence[Mapping]) -> str | None:
    """Key of the row that `against` names: in the same experiment, else in the table."""
    named = [r for r in rows if r["label"] == row["against"]]
    near = [r for r in named if r["experiment"] == row["experiment"]]
    return next((r["key"] for r in near + named), None)


def _in_order(known: Sequence[str]):
    return lambda kind: (known.index(kind) if kind in known else len(known), kind)
