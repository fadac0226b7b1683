"""The table of what an annotator gets: a result as served, and interpolation of the same slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.evaluation.statistics import mean_interval
from lib.evaluation.tables import comparisons

#: On objects of more slices than this it is counted which of the two is better: on few slices,
#: most are painted.
ENOUGH = 12

#: What is tested.
SCORES = ("dice", "nsd_2mm")


def table(frame: pd.DataFrame, rows: Sequence[Mapping]) -> pd.DataFrame:
    """A line per way of marking: the result, interpolation from the same prompts, and their test.

    Args:
        frame: from `as_frame`.
        rows: rows of `run.json` of the table; `against` names a row's interpolation.

    Returns:
        Plain numbers, for CSV: means, 95 % intervals over cases, `interpolation_*`; for Dice and
        NSD the paired difference, its interval and p after Holm's correction over the table; the
        share of objects of more than `ENOUGH` slices on which the result has the higher Dice. NaN
        where there is no interpolation.
    """
    keys = {r["label"]: r["key"] for r in rows}
    filled = {r["against"] for r in rows}
    tested = {score: comparisons(frame, rows, score) for score in SCORES}
    lines = []
    for row in rows:
        if row["label"] in filled:
            continue
        beside = keys.get(row["against"])
        ours, theirs = (
            frame[frame["key"] == key].set_index("sample") for key in (row["key"], beside)
        )
        lines.append(
            {
                "experiment": row["experiment"],
                "row": row["label"],
                "n": len(ours),
                **_means(ours),
                **{f"interpolation_{name}": value for name, value in _means(theirs).items()},
                **{k: v for score in SCORES for k, v in _difference(tested[score], row, score)},
                "better": _better(ours, theirs),
                "configuration": row["key"],
            }
        )
    return pd.DataFrame(lines)


def _means(results: pd.DataFrame) -> dict[str, float]:
    means: dict[str, float] = {}
    for score in SCORES:
        found = mean_interval(results[score], results["case"])
        means |= {
            f"{score}_mean": found.mean,
            f"{score}_low": found.low,
            f"{score}_high": found.high,
        }
    for extent in ("slices_beyond", "ml_beyond", "slices_missed"):
        means[f"{extent}_mean"] = results[extent].mean()
    return means


def _difference(tested: pd.DataFrame, row: Mapping, score: str) -> Iterator[tuple[str, float]]:
    named = f"{score}_difference"
    found = tested[tested["row"] == row["label"]] if len(tested) else tested
    for column, name in ((named, named), *((c, f"{named}_{c}") for c in ("low", "high", "p_holm"))):
        yield name, float(found[column].iloc[0]) if len(found) else np.nan


def _better(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    shared = ours.index.intersection(theirs.index)
    ours, theirs = ours.loc[shared], theirs.loc[shared]
    long = ours["object_slices"] > ENOUGH
    return float((ours["dice"] > theirs["dice"])[long].mean()) if long.any() else np.nan
