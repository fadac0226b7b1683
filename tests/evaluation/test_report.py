"""The report from a stored folder: every number comes out of results.jsonl."""

import json

import numpy as np
import pandas as pd
import pytest

from lib.errors import BadInput
from lib.evaluation.configurations import ANNOTATOR, TABLES, UNPUBLISHED, rows_of
from lib.evaluation.contact import worst_and_median
from lib.evaluation.report import write_report
from tests.evaluation.stored import store_results


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return store_results(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def report(stored):
    """The Markdown; what is beside it has tests of its own."""
    return write_report(stored.folder, stored.folder / "report").with_suffix(".md")


def test_numbers_are_those_of_the_results(stored, report):
    table = pd.read_csv(report.parent / "table_1.csv").set_index("row")
    key = table.loc["IS + SPS", "configuration"]
    dice = [r["scores"]["dice"] for r in stored.records() if r["configuration"] == key]
    assert table.loc["IS + SPS", "dice_mean"] == pytest.approx(np.mean(dice), rel=1e-5)
    assert table.loc["IS + SPS", "dice_std"] == pytest.approx(np.std(dice, ddof=1), rel=1e-5)
    assert table.loc["IS + SPS", "paper_dice_mean"] == 0.841
    assert f"{np.mean(dice):.3f} ± {np.std(dice, ddof=1):.3f}" in report.read_text()


def test_it_says_which_checkpoint_and_that_it_is_not_zero_shot(report):
    text = report.read_text()
    assert "checkpoint **builtin**" in text
    assert "ab" * 32 in text
    assert "*not* zero-shot" in text
    assert "c0ffee" in text
    # where the network ran, not where the command was typed
    assert "pixels, on NVIDIA H100." in text
    assert "Not measured: checkpoint not fetched" in text


def test_all_tables_figures_and_sheets_are_there(report):
    text = report.read_text()
    for name in (*TABLES, *UNPUBLISHED):
        assert (report.parent / f"table_{name}.csv").exists()
    for name in (
        "figure_3a_threshold", "figure_3b_memory_size", "figure_3c_classes",
        "figure_3d_propagation", "figure_4a_components", "figure_4b_tracking",
        "challenge_rounds", "annotator", "guidance", "guidance_inner", "contact_2",
    ):  # fmt: skip
        assert f"({name}.png)" in text
        assert (report.parent / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Dice salient" in text
    assert "AUC Dice" in text


def test_every_row_is_tested_against_the_row_it_names(stored, report):
    data = pd.read_csv(report.parent / "table_6_paired.csv").set_index(["experiment", "row"])
    budget = data.loc["Experiment 4: propagation, 9 prompts"]
    assert set(budget["against"]) == {"Single axis (baseline)"}
    keys = {r.label: r.configuration.key for r in rows_of("6", "builtin")
            if r.experiment.endswith("9 prompts")}  # fmt: skip
    dice = {
        label: np.array(
            [r["scores"]["dice"] for r in stored.records() if r["configuration"] == key]
        )
        for label, key in keys.items()
    }
    difference = (dice["Three-axis"] - dice["Single axis (baseline)"]).mean()
    assert budget.loc["Three-axis", "dice_difference"] == pytest.approx(difference, abs=1e-5)
    # interpolation stands against SAM 2 with as many painted slices
    data = pd.read_csv(report.parent / "table_5_paired.csv").set_index("row")
    assert data.loc["Interpolation, Uniform (7)", "against"] == "Uniform (7)"


def test_every_against_names_a_row_of_its_table():
    for table in (*TABLES, *UNPUBLISHED):
        rows = rows_of(table, "builtin")
        assert {r.against for r in rows} <= {None, *(r.label for r in rows)}, table
        assert table in ("7", ANNOTATOR) or all(r.against for r in rows), table


def test_rounds_of_correction_and_their_auc(report):
    data = pd.read_csv(report.parent / "table_challenge_rounds.csv")
    assert data.groupby("row")["corrections"].apply(list).map(len).eq(6).all()
    assert {"dice_mean", "nsd_2mm_mean", "dice_std"} <= set(data.columns)
    text = report.read_text()
    assert "| Dice / NSD 2 mm after corrections | n | 0 | 1 | 2 | 3 | 4 | 5 |" in text
    paired = pd.read_csv(report.parent / "table_challenge_paired.csv")
    assert "auc_dice_difference" in paired.columns
    assert "Δ AUC Dice" in text


def test_few_cases_are_said_to_be_few(report):
    assert "**4 cases are too few" in report.read_text()


def test_encoding_is_timed_a_slice_not_a_call(report):
    data = pd.read_csv(report.parent / "component_times.csv").set_index("part")
    assert data.loc["image encoder", "ms_per_slice"] == pytest.approx(10)
    assert data.loc["memory attention", "ms_per_slice"] == pytest.approx(10)


def test_every_sample_is_in_a_csv(stored, report):
    data = pd.read_csv(report.parent / "samples.csv")
    assert len(data) == len(list(stored.records()))
    assert {"sample", "class", "key", "dice", "hd95_mm", "seconds"} <= set(data.columns)


def test_per_class_beside_the_papers(report):
    data = pd.read_csv(report.parent / "table_7.csv").set_index(["class", "row"])
    assert data.loc[("rib", "Base"), "paper_dice"] == 0.751
    assert data.loc[("femur", "IS + SPS"), "paper_iou"] == 0.917
    assert data.loc[("femur", "IS + SPS"), "n"] == 4
    # the paper's gain for ribs, 0.794 - 0.751
    assert "*0.794 / 0.708* |  |  |  | *+0.043* |" in report.read_text()


def test_with_and_without_excluded_samples(stored, tmp_path):
    write_report(stored.folder, tmp_path, frozenset({"case_0", "case_1/rib"}))
    text = (tmp_path / "report.md").read_text()
    assert "3 of 8 samples are on the exclusion list" in " ".join(text.split())
    assert pd.read_csv(tmp_path / "table_1.csv")["n"].max() == 8
    assert pd.read_csv(tmp_path / "table_1_without_excluded.csv")["n"].max() == 5


def test_an_unfinished_run_is_reported_as_such(stored, tmp_path):
    folder = tmp_path / "part"
    folder.mkdir()
    (folder / "run.json").write_text((stored.folder / "run.json").read_text())
    few = stored.lines.read_bytes().splitlines(keepends=True)[:5]
    (folder / "results.jsonl").write_bytes(b"".join(few) + b'{"cut')
    write_report(folder, folder / "report")
    text = (folder / "report" / "report.md").read_text()
    assert "The run is not finished" in text


def test_random_weights_are_said_aloud(stored, tmp_path):
    run = json.loads((stored.folder / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**run, "trained": False, "model": "untrained"}))
    few = stored.lines.read_bytes().splitlines(keepends=True)[:3]
    (tmp_path / "results.jsonl").write_bytes(b"".join(few))
    write_report(tmp_path, tmp_path / "r")
    assert "These weights are random" in (tmp_path / "r" / "report.md").read_text()


def test_nothing_to_report_is_refused(tmp_path):
    with pytest.raises(BadInput, match="holds no results"):
        write_report(tmp_path, tmp_path / "report")


def test_worst_and_median_do_not_repeat():
    scores = pd.DataFrame({"sample": list("abcdefg"), "dice": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]})
    chosen = worst_and_median(scores, 2)
    assert chosen["sample"].tolist() == ["a", "b", "c", "d"] or chosen["sample"].is_unique
    assert chosen[chosen["place"] == "worst"]["sample"].tolist() == ["a", "b"]
    assert "d" in chosen[chosen["place"] == "median"]["sample"].tolist()
    assert len(worst_and_median(scores.head(1), 3)) == 1


def test_the_annotators_rows_have_their_interpolation_beside_them(report):
    data = pd.read_csv(report.parent / "table_annotator.csv").set_index("row")
    assert data.loc["3 with ends", "n"] == 8
    assert data.loc["3 with ends", ["slices_beyond_mean", "ml_beyond_mean"]].tolist() == [3, 0.25]
    difference = data["dice_mean"] - data["interpolation_dice_mean"]
    painted = ~data.index.str.contains("box|click")
    assert data[painted]["dice_difference"].to_numpy() == pytest.approx(
        difference[painted].to_numpy(), abs=1e-5
    )
    assert data[~painted]["dice_difference"].isna().all()
    assert "| 1 box | 8 |" in report.read_text()
