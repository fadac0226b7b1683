"""The annotator's table: results beside interpolation of the same prompts, and their test."""

import numpy as np
import pandas as pd
import pytest

from lib.evaluation import layout
from lib.evaluation.annotator import table
from lib.evaluation.statistics import mean_interval, paired

ROWS = [
    {"experiment": "masks", "label": "3", "key": "a", "against": "3: interpolation"},
    {"experiment": "masks", "label": "3: interpolation", "key": "b", "against": None},
    {"experiment": "boxes", "label": "1 box", "key": "c", "against": None},
]


@pytest.fixture(scope="module")
def frame():
    """Six samples of three cases; on the last of them interpolation is better."""
    rng = np.random.default_rng(0)
    lines = []
    for key, best in (("a", 0.9), ("b", 0.7), ("c", 0.6)):
        for n in range(6):
            dice = best + rng.uniform(-0.05, 0.05)
            if n == 5:
                dice = 1.5 - dice
            lines.append(
                {
                    "sample": f"case_{n // 2}/{n}", "case": f"case_{n // 2}", "key": key,
                    "dice": dice, "nsd_2mm": dice / 2,
                    "object_slices": 12.0 if n < 2 else 13.0,
                    "slices_beyond": float(n), "ml_beyond": 0.5 * n, "slices_missed": 1.0,
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def test_the_numbers_are_those_of_the_results(frame):
    data = table(frame, ROWS).set_index("row")
    assert list(data.index) == ["3", "1 box"]
    ours, theirs = (frame[frame["key"] == key].reset_index() for key in "ab")
    row = data.loc["3"]
    assert row["n"] == 6
    assert row["dice_mean"] == pytest.approx(ours["dice"].mean())
    assert row["dice_low"] == mean_interval(ours["dice"], ours["case"]).low
    assert row["interpolation_nsd_2mm_mean"] == pytest.approx(theirs["nsd_2mm"].mean())
    assert row["slices_beyond_mean"] == 2.5
    assert row["ml_beyond_mean"] == 1.25
    assert row["slices_missed_mean"] == 1.0
    found = paired(ours["dice"], theirs["dice"], ours["case"])
    assert row["dice_difference"] == pytest.approx(found.difference.mean)
    assert row["dice_difference_high"] == pytest.approx(found.difference.high)
    assert row["dice_difference_p_holm"] == pytest.approx(found.p)  # one test, nothing to correct
    # of the four on more than twelve slices, three
    assert row["better"] == 0.75


def test_without_interpolation_there_is_a_dash(frame):
    data = table(frame, ROWS)
    (masks, boxes) = layout.annotator(data, "Title")
    assert boxes.caption == "Title: boxes"
    (row,) = boxes.rows
    by_name = dict(zip(boxes.header, row, strict=False))
    assert by_name["Dice"].value == pytest.approx(data["dice_mean"].iloc[1])
    assert by_name["Δ Dice"].text == by_name["Δ NSD"].text == "–"
    assert sum(cell.text == "–" for cell in row) == 9
    assert not any(cell.text == "–" for cell in masks.rows[0])
    assert "0.75" in [cell.text for cell in masks.rows[0]]


def test_a_row_without_results_yet_has_none(frame):
    data = table(frame[frame["key"] == "c"], ROWS).set_index("row")
    assert data.loc["3", "n"] == 0
    assert np.isnan(data.loc["3", ["dice_mean", "dice_difference", "better"]].astype(float)).all()
