"""The paper's tables with our figures beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.evaluation.configurations import paper
from lib.evaluation.frames import SCORES
from lib.evaluation.statistics import holm, mean_interval, paired

NOT_MEASURED = "–"


def table(frame: pd.DataFrame, rows: Sequence[Mapping], skipped: Mapping[str, str]) -> pd.DataFrame:
    """One table: a line per row, measured mean ± std beside the published.

    Args:
        frame: from `as_frame`.
        rows: rows of `run.json` of one table.
        skipped: configuration → why it was not measured.

    Returns:
        Plain numbers, for CSV: `n`, mean and std of every score, the interval of Dice, seconds,
        `paper_*`.
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


# --- Markdown ---------------------------------------------------------------------------


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def table_markdown(data: pd.DataFrame, salient: bool = False) -> str:
    """A table for reading: mean ± std, the paper's in italics where it has figures."""
    parts = []
    for experiment, lines in data.groupby("experiment", sort=False):
        has_auc = lines["auc_dice_mean"].notna().any()
        has_paper = lines["paper_dice_mean"].notna().any()
        header = [str(experiment), "n", "Dice", "95 % CI", "IoU", "HD mm", "HD voxels"]
        header += ["HD95 mm", "NSD 2 mm", "Dice unpainted"]
        header += ["AUC Dice", "AUC NSD"] if has_auc else []
        header += ["Dice salient"] if salient else []
        header += ["*paper Dice*", "*paper IoU*", "*paper HD*"] if has_paper else []
        body = []
        for _, r in lines.iterrows():
            if not r["n"]:
                text = [r["row"], NOT_MEASURED, *[NOT_MEASURED] * (len(header) - 2)]
                if has_paper:
                    text[-3:] = _paper_cells(r)
                body.append(text)
                continue
            text = [
                r["row"],
                str(r["n"]),
                spread(r["dice_mean"], r["dice_std"]),
                _limits(r["dice_low"], r["dice_high"]),
                spread(r["iou_mean"], r["iou_std"]),
                spread(r["hd_mm_mean"], r["hd_mm_std"], 2),
                spread(r["hd_voxels_mean"], r["hd_voxels_std"], 2),
                spread(r["hd95_mm_mean"], r["hd95_mm_std"], 2),
                spread(r["nsd_2mm_mean"], r["nsd_2mm_std"]),
                number(r["dice_unpainted_mean"]),
            ]
            if has_auc:
                text += [spread(r[f"{a}_mean"], r[f"{a}_std"]) for a in ("auc_dice", "auc_nsd_2mm")]
            if salient:
                text.append(spread(r["dice_salient_mean"], r["dice_salient_std"]))
            if has_paper:
                text += _paper_cells(r)
            body.append(text)
        parts.append(markdown(header, body))
    return "\n\n".join(parts)


def per_class_markdown(data: pd.DataFrame) -> str:
    """Table VII for reading: Dice / IoU, a column per row, ours above the paper's.

    The last column is the paper's: what IS + SPS adds to the baseline's Dice.
    """
    names = list(dict.fromkeys(data["row"]))
    body = []
    for kind, lines in data.groupby("class", sort=False):
        by_row = lines.set_index("row")
        ours = [
            f"{number(by_row.loc[n, 'dice_mean'])} / {number(by_row.loc[n, 'iou_mean'])}"
            for n in names
        ]
        body.append([str(kind), str(int(lines["n"].max())), *ours, _gain(by_row["dice_mean"])])
        if lines["paper_dice"].notna().any():
            theirs = [
                f"*{number(by_row.loc[n, 'paper_dice'])} / {number(by_row.loc[n, 'paper_iou'])}*"
                if not np.isnan(by_row.loc[n, "paper_dice"])
                else ""
                for n in names
            ]
            body.append(["*paper*", "", *theirs, f"*{_gain(by_row['paper_dice'])}*"])
    return markdown(["Class (Dice / IoU)", "n", *names, "Δ Dice, IS + SPS"], body)


def _gain(dice: pd.Series) -> str:
    gain = dice["IS + SPS"] - dice["Base"]
    return NOT_MEASURED if np.isnan(gain) else f"{gain:+.3f}"


def rounds_markdown(data: pd.DataFrame) -> str:
    """Rounds of correction for reading: a line per row, a column per round."""
    body = [
        [
            str(label),
            str(int(lines["n"].iloc[0])),
            *(
                f"{number(r['dice_mean'])} / {number(r['nsd_2mm_mean'])}"
                for _, r in lines.iterrows()
            ),
        ]
        for label, lines in data.groupby("row", sort=False)
    ]
    most = int(data["corrections"].max())
    header = ["Dice / NSD 2 mm after corrections", "n", *map(str, range(most + 1))]
    return markdown(header, [line + [""] * (len(header) - len(line)) for line in body])


def comparisons_markdown(data: pd.DataFrame, score: str = "dice") -> str:
    """Paired comparisons for reading."""
    body = [
        [
            f"{r['row']} ({r['experiment']})",
            r["against"],
            str(r["n"]),
            f"{r[f'{score}_difference']:+.3f}",
            _limits(r["low"], r["high"], "+"),
            _p(r["p"]),
            _p(r["p_holm"]),
        ]
        for _, r in data.iterrows()
    ]
    measure = {"dice": "Dice", "auc_dice": "AUC Dice"}[score]
    header = ["Row", "against", "n", f"Δ {measure}", "95 % CI", "Wilcoxon p", "p (Holm)"]
    return markdown(header, body)


def number(value: float, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return NOT_MEASURED if value is None or np.isnan(value) else f"{value:.{digits}f}"


def spread(mean: float, std: float, digits: int = 3) -> str:
    """Mean ± standard deviation, as text."""
    if np.isnan(mean) or np.isnan(std):
        return number(mean, digits)
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def _limits(low: float, high: float, sign: str = "") -> str:
    return NOT_MEASURED if np.isnan(low) else f"{low:{sign}.3f} to {high:{sign}.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value)


def _paper_cells(r: pd.Series) -> list[str]:
    digits = {"dice": 3, "iou": 3, "hd": 2}
    cells = (spread(r[f"paper_{k}_mean"], r[f"paper_{k}_std"], d) for k, d in digits.items())
    return ["" if c == NOT_MEASURED else f"*{c}*" for c in cells]


def _in_order(known: Sequence[str]):
    return lambda kind: (known.index(kind) if kind in known else len(known), kind)
