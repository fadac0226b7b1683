"""The tables for reading: which columns, and how a figure is written."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.evaluation.annotator import ENOUGH
from lib.evaluation.document import Cell, Row, Style, Table, emphasis

NOT_MEASURED = "–"


def scores(data: pd.DataFrame, title: str, salient: bool = False) -> list[Table]:
    """`tables.table`, a table for each experiment: mean ± std, and the paper's where it has any."""
    return [
        _scores(lines, title, str(experiment), salient)
        for experiment, lines in data.groupby("experiment", sort=False)
    ]


def _scores(lines: pd.DataFrame, title: str, experiment: str, salient: bool) -> Table:
    has_auc = lines["auc_dice_mean"].notna().any()
    has_reach = lines["slices_beyond_mean"].notna().any()
    has_paper = lines["paper_dice_mean"].notna().any()
    header = [experiment, "n", "Dice", "95 % CI", "IoU", "HD mm", "HD voxels"]
    header += ["HD95 mm", "NSD 2 mm", "Dice unpainted"]
    header += ["AUC Dice", "AUC NSD"] if has_auc else []
    header += ["Dice salient"] if salient else []
    header += ["slices beyond", "ml beyond", "slices missed"] if has_reach else []
    published = [emphasis(f"paper {name}") for name in ("Dice", "IoU", "HD")] if has_paper else []
    body = []
    for _, r in lines.iterrows():
        if r["n"]:
            row = [
                Cell(r["row"]),
                count(r["n"]),
                spread(r["dice_mean"], r["dice_std"]),
                limits(r["dice_low"], r["dice_high"]),
                spread(r["iou_mean"], r["iou_std"]),
                spread(r["hd_mm_mean"], r["hd_mm_std"], 2),
                spread(r["hd_voxels_mean"], r["hd_voxels_std"], 2),
                spread(r["hd95_mm_mean"], r["hd95_mm_std"], 2),
                spread(r["nsd_2mm_mean"], r["nsd_2mm_std"]),
                number(r["dice_unpainted_mean"]),
            ]
            if has_auc:
                row += [spread(r[f"{a}_mean"], r[f"{a}_std"]) for a in ("auc_dice", "auc_nsd_2mm")]
            if salient:
                row.append(spread(r["dice_salient_mean"], r["dice_salient_std"]))
            if has_reach:
                row += [
                    number(r[f"{name}_mean"], 2)
                    for name in ("slices_beyond", "ml_beyond", "slices_missed")
                ]
        else:
            row = [Cell(r["row"]), *[Cell(NOT_MEASURED)] * (len(header) - 1)]
        body.append([*row, *(_published(r) if has_paper else [])])
    return Table.of(f"{title}: {experiment}", [*header, *published], body)


def _published(r: pd.Series) -> Row:
    digits = {"dice": 3, "iou": 3, "hd": 2}
    return [theirs(spread(r[f"paper_{k}_mean"], r[f"paper_{k}_std"], d)) for k, d in digits.items()]


def per_class(data: pd.DataFrame, title: str) -> Table:
    """Table VII: Dice / IoU, a column per row, ours above the paper's.

    The last column is the paper's: what IS + SPS adds to the baseline's Dice.
    """
    names = list(dict.fromkeys(data["row"]))
    groups = []
    for kind, lines in data.groupby("class", sort=False):
        by_row = lines.set_index("row")
        ours = [pair(by_row.loc[n, "dice_mean"], by_row.loc[n, "iou_mean"]) for n in names]
        rows = [[Cell(str(kind)), count(lines["n"].max()), *ours, _gain(by_row["dice_mean"])]]
        if lines["paper_dice"].notna().any():
            papers = [pair(by_row.loc[n, "paper_dice"], by_row.loc[n, "paper_iou"]) for n in names]
            papers.append(_gain(by_row["paper_dice"]))
            name = Cell("paper", style=Style.EMPHASIS)
            rows.append([name, Cell(""), *(theirs(cell) for cell in papers)])
        groups.append(rows)
    return Table(title, ["Class (Dice / IoU)", "n", *names, "Δ Dice, IS + SPS"], groups)


def _gain(dice: pd.Series) -> Cell:
    return number(dice["IS + SPS"] - dice["Base"], sign="+")


def rounds(data: pd.DataFrame, title: str) -> Table:
    """Rounds of correction: a line per row, a column per round."""
    most = int(data["corrections"].max())
    body = []
    for label, lines in data.groupby("row", sort=False):
        cells = [pair(r["dice_mean"], r["nsd_2mm_mean"]) for _, r in lines.iterrows()]
        cells += [Cell("")] * (most + 1 - len(cells))
        body.append([Cell(str(label)), count(lines["n"].iloc[0]), *cells])
    header = ["Dice / NSD 2 mm after corrections", "n", *map(str, range(most + 1))]
    return Table.of(f"{title}: after each round of corrections", header, body)


def annotator(data: pd.DataFrame, title: str) -> list[Table]:
    """`annotator.table`, a table for each experiment; interpolation beside the result."""
    header = ["n", "Dice", "95 % CI", "interpolation", "Δ Dice", "95 % CI", "p (Holm)"]
    header += [
        f"share better (> {ENOUGH} slices)",
        "NSD 2 mm",
        "interpolation",
        "Δ NSD",
        "p (Holm)",
    ]
    header += ["slices beyond", "ml beyond", "slices missed", "interpolation"]
    tables = []
    for experiment, lines in data.groupby("experiment", sort=False):
        body = [
            [
                Cell(r["row"]),
                count(r["n"]),
                number(r["dice_mean"]),
                limits(r["dice_low"], r["dice_high"]),
                number(r["interpolation_dice_mean"]),
                number(r["dice_difference"], sign="+"),
                limits(r["dice_difference_low"], r["dice_difference_high"], "+"),
                _p(r["dice_difference_p_holm"]),
                number(r["better"], 2),
                number(r["nsd_2mm_mean"]),
                number(r["interpolation_nsd_2mm_mean"]),
                number(r["nsd_2mm_difference"], sign="+"),
                _p(r["nsd_2mm_difference_p_holm"]),
                number(r["slices_beyond_mean"], 2),
                number(r["ml_beyond_mean"], 2),
                number(r["slices_missed_mean"], 2),
                number(r["interpolation_slices_missed_mean"], 2),
            ]
            for _, r in lines.iterrows()
        ]
        tables.append(Table.of(f"{title}: {experiment}", [str(experiment), *header], body))
    return tables


def comparisons(data: pd.DataFrame, title: str, score: str = "dice") -> Table:
    """Paired comparisons."""
    body = [
        [
            Cell(f"{r['row']} ({r['experiment']})"),
            Cell(r["against"]),
            count(r["n"]),
            number(r[f"{score}_difference"], sign="+"),
            limits(r["low"], r["high"], "+"),
            _p(r["p"]),
            _p(r["p_holm"]),
        ]
        for _, r in data.iterrows()
    ]
    measure = {"dice": "Dice", "auc_dice": "AUC Dice"}[score]
    header = ["Row", "against", "n", f"Δ {measure}", "95 % CI", "Wilcoxon p", "p (Holm)"]
    return Table.of(f"{title}: paired differences", header, body)


# --- cells ------------------------------------------------------------------------------


def count(value: int) -> Cell:
    """How many."""
    return Cell(str(int(value)), int(value))


def number(value: float, digits: int = 3, sign: str = "") -> Cell:
    """A figure, or a dash where there is none."""
    if value is None or np.isnan(value):
        return Cell(NOT_MEASURED)
    return Cell(f"{value:{sign}.{digits}f}", float(value))


def spread(mean: float, std: float, digits: int = 3) -> Cell:
    """Mean ± standard deviation."""
    if np.isnan(mean) or np.isnan(std):
        return number(mean, digits)
    return Cell(f"{mean:.{digits}f} ± {std:.{digits}f}", float(mean))


def pair(first: float, second: float) -> Cell:
    """Two figures, sorted by the first."""
    cell = number(first)
    return Cell(f"{cell.text} / {number(second).text}", cell.value)


def limits(low: float, high: float, sign: str = "") -> Cell:
    """An interval, sorted by its lower limit."""
    if np.isnan(low):
        return Cell(NOT_MEASURED)
    return Cell(f"{low:{sign}.3f} to {high:{sign}.3f}", float(low))


def theirs(cell: Cell) -> Cell:
    """A published figure; nothing where none was published."""
    if cell.value is None:
        return Cell("")
    return Cell(cell.text, cell.value, Style.EMPHASIS)


def _p(value: float) -> Cell:
    return Cell("< 0.001", float(value)) if value < 0.001 else number(value)
