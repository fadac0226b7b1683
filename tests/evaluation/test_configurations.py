"""Rows of the tables: each what the paper says, equal work filed once."""

import re
from dataclasses import replace

import pytest

from lib.configs.option import Where
from lib.configs.options import Settings, options_of
from lib.errors import BadInput
from lib.evaluation.configurations import (
    ANNOTATOR,
    BASE,
    TABLES,
    UNPUBLISHED,
    Configuration,
    Method,
    Scope,
    paper,
    rows_from_file,
    rows_of,
)
from lib.evaluation.following import Following
from lib.geometry import Axis
from lib.propagation.policy import MemoryPolicy
from lib.transforms.window import PRESETS


def by_label(table, experiment):
    return {r.label: r for r in rows_of(table, "small") if r.experiment.startswith(experiment)}


def test_table_1_is_the_papers():
    rows = by_label("1", "Method")
    assert list(rows) == ["NP", "Baseline", "SPS", "IS", "IS + SPS"]
    assert rows["NP"].configuration.settings.window.describe() == "none"
    assert rows["Baseline"].configuration.settings.policy == MemoryPolicy()
    best = MemoryPolicy(tau=0.3, intelligent=True)
    assert rows["IS + SPS"].configuration.settings.policy == best
    assert rows["IS + SPS"].published == {
        "dice": [0.841, 0.107], "iou": [0.778, 0.122], "hd": [4.788, 4.93],
    }  # fmt: skip


def test_equal_work_is_filed_once():
    rows = rows_of("all", "small")
    baseline = Configuration().on("small").key
    assert sum(r.configuration.key == baseline for r in rows) >= 8
    thresholds = by_label("6", "Experiment 5")
    assert thresholds["τ = 0.3"].configuration.key == by_label("1", "M")["SPS"].configuration.key
    assert thresholds["τ = 1.0 (baseline)"].configuration.key == baseline
    assert all(re.fullmatch(r"[\w.,=+-]+", r.configuration.key) for r in rows)


def test_table_6_has_every_row_of_the_paper():
    sizes = {}
    for r in rows_of("6", "small"):
        if r.published:
            sizes[r.experiment.split(":")[0]] = sizes.get(r.experiment.split(":")[0], 0) + 1
    assert sizes == {
        "Experiment 1": 3, "Experiment 2": 7, "Experiment 3": 8, "Experiment 4": 5,
        "Experiment 5": 10,
    }  # fmt: skip
    assert set(paper()["per_class"]) == {
        "vertebrae", "rib", "humerus", "clavicle", "hip", "scapula", "femur", "sacrum",
        "sternum", "skull",
    }  # fmt: skip


def test_comparators_stand_in_every_table():
    for table in TABLES:
        methods = {r.configuration.method for r in rows_of(table, "small")}
        assert Method.SAM2 in methods
        assert len(methods) > 1, table


def test_the_annotators_table_is_served_and_has_interpolation_beside_every_mask():
    rows = {r.label: r for r in rows_of(ANNOTATOR, "small")}
    assert {r.configuration.scope for r in rows.values()} == {Scope.VOLUME}
    served = {r.configuration.settings for r in rows.values()}
    assert served == {replace(Settings(), axis=Axis.AXIAL)}
    for label, row in rows.items():
        if row.configuration.method is Method.INTERPOLATION:
            continue
        filled = rows.get(row.against)
        if row.configuration.annotation in ("mask", "freehand"):
            assert filled.label == f"{label}: interpolation"
            assert filled.configuration == replace(row.configuration, method=Method.INTERPOLATION)
        else:
            assert filled is None
    masks = {r.configuration.prompts for r in rows.values()}
    assert masks == {"middle", *(f"{k}-{n}" for k in ("uniform", "inner") for n in (2, 3, 5, 7, 9))}


def test_all_are_the_papers_tables_only():
    assert {r.table for r in rows_of("all", "small")} == set(TABLES)
    assert not set(TABLES) & set(UNPUBLISHED)


@pytest.mark.parametrize(
    ("experiment", "prompts"), [("Both ends first", "first-last"), ("Ends unknown", "inner-3")]
)
def test_guidance_differs_in_the_choice_alone(experiment, prompts):
    rows = [r.configuration for r in rows_of("guidance", "small") if r.experiment == experiment]
    assert [c.choice for c in rows] == [
        Following.SUGGESTED, Following.MIDDLE, Following.RANDOM, Following.WORST
    ]  # fmt: skip
    (alike,) = {replace(c, choice=Following.WORST) for c in rows}
    assert alike.prompts == prompts
    assert len({c.key for c in rows}) == len(rows)


def test_the_window_of_the_run_is_that_of_served_rows_too():
    mr = replace(BASE, window=PRESETS["mr"])
    assert {r.configuration.settings.window for r in rows_of(ANNOTATOR, "small", mr)} == {
        PRESETS["mr"]
    }


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "volume"},
        {"scope": "volume", "policy": "baseline"},
        {"scope": "volume", "extent": "open"},
        {"scope": "volume", "prior": "off"},
        {"scope": "volume", "annotation": "freehand"},
        {"scope": "volume", "annotation": "box"},
        {"extent": "auto"},
        {"prior": "auto"},
        {"method": "interpolation", "scope": "volume"},
        {"method": "interpolation", "axis": "coronal"},
        {"method": "interpolation", "annotation": "freehand"},
    ],
)
def test_other_work_has_another_key(options):
    given = Configuration.parse(options)
    for other in ({}, {"scope": "volume"}, {"method": "interpolation"}):
        if other != options:
            assert given.key != Configuration.parse(other).key


def test_what_is_served_may_be_said_in_full():
    short = Configuration.parse({"scope": "volume"})
    default = {o.name: o.default_text for o in options_of(Settings, where=Where.YAML)}
    full = Configuration.parse({"scope": "volume", **default})
    assert full == short
    assert full.key == short.key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polizy": "is"}, "unknown option 'polizy'"),
        ({"policy": "nonsense"}, "unknown policy"),
        ({"prompts": "everywhere"}, "unknown prompt strategy"),
        ({"method": "magic"}, "methods are sam2"),
        ({"annotation": "clicks-0"}, "unknown annotation"),
        ({"method": "interpolation", "annotation": "clicks-1"}, "needs painted slices"),
        ({"method": "interpolation", "annotation": "box"}, "needs painted slices"),
        ({"rounds": "2", "correction": "box"}, "use mask or clicks-1"),
        ({"scope": "universe"}, "unknown scope"),
        ({"choice": "best"}, "unknown following 'best'"),
        ({"method": "interpolation", "choice": "suggested"}, "suggests no slice"),
        ({"rounds": "2", "propagation": "three-axis"}, "not with three-axis"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        Configuration.parse(options)


def test_own_configurations_from_a_file(configurations, tmp_path):
    rows = rows_from_file(configurations, "tiny")
    assert [r.label for r in rows] == ["baseline", "is+sps", "interpolation", "served"]
    assert rows[0].configuration == Configuration(model="tiny")
    bad = tmp_path / "bad.yaml"
    bad.write_text("[1, 2]")
    with pytest.raises(BadInput, match="needs a list"):
        rows_from_file(bad, "tiny")
    with pytest.raises(BadInput, match="unknown table"):
        rows_of("9", "tiny")
