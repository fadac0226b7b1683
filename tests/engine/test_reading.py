"""A report that was logged comes back as it was, and old ones as far as they go."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.activelearning.next_slice import NextSlice
from lib.configs.options import Settings
from lib.engine.log import read_log
from lib.engine.reading import read_report
from lib.engine.report import (
    CheckpointReport,
    CropReport,
    ObjectReport,
    Replay,
    Report,
    VolumeReport,
    to_json,
)
from lib.errors import BadInput
from lib.geometry import Axis
from lib.propagation.records import AbsentRange, ObjectEnds, Rule, SliceRecord, Source

LOGS = Path(__file__).parent / "logs"

FULL = Report(
    volume=VolumeReport(Path("ct.nii.gz"), (4, 5, 6), (1.0, 0.5, 3.0)),
    crops=(CropReport((1, 2), (0, 0, 1), (4, 5, 6), (4, 5, 5)),),
    settings=Settings.parse({"window": "lung", "propagation": "three-axis", "extent": "2-5"}),
    checkpoint=CheckpointReport("tiny", "ab" * 32, False, 512, "cuda:0", "bf16"),
    objects=(ObjectReport(1, 100, 2, 3, 4), ObjectReport(2, 0)),
    slices=(
        SliceRecord(1, Axis.CORONAL, 2, Source.PROMPT, 1.0, 10.0, None),
        SliceRecord(1, Axis.CORONAL, 3, Source.BEYOND, 0.5, -1.0, 0.25),
    ),
    encoded_slices=7,
    confidence=0.875,
    next_slices=(NextSlice(2, Axis.AXIAL, 3, 0.5),),
    decided=("a", "b"),
    warnings=("c",),
    seconds={"load": 0.25},
    threads=2,
    versions={"python": "3.11"},
    ends=(ObjectEnds(1, Axis.CORONAL, 1, 4, Rule.WIPED, Rule.VOLUME, "x", "y"),),
    absent=(AbsentRange(1, Axis.CORONAL, 2, 2),),
    tracked_slices=5,
    input_size=512,
    written=(Path("out.nii.gz"),),
    replay=Replay(Path("log.json"), identical=True),
)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(FULL, id="everything"),
        pytest.param(
            replace(FULL, confidence=None, replay=None, ends=(), crops=()),
            id="little",
        ),
    ],
)
def test_there_and_back(report):
    assert read_report(to_json(report)) == report


@pytest.mark.parametrize("name", ["masks", "objects", "slices"])
def test_reports_of_earlier_versions(name):
    log = read_log(LOGS / f"{name}.json")
    told = log.told
    assert told.checkpoint.name == "builtin"
    assert told.checkpoint.precision == "fp32"
    assert told.settings == log.recipe.settings
    assert len(told.slices) == len(log.report["slices"])
    assert told.volume.shape == (40, 36, 16)
    assert len(log.prompts.object_ids) == len(told.objects)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"volume": None}, id="nothing in place of a part"),
        pytest.param({"objects": [{"object": 1}]}, id="a part is missing"),
        pytest.param({"threads": "two"}, id="text for a number"),
        pytest.param({"slices": [{"object": 1, "axis": "oblique"}]}, id="unknown axis"),
        pytest.param({"decided": [1]}, id="number for text"),
    ],
)
def test_what_is_no_report_is_told(change):
    with pytest.raises(BadInput, match=r"not the report|unknown"):
        read_report({**to_json(FULL), **change})


def test_a_report_that_lacks_what_has_no_default():
    record = dict(to_json(FULL))
    del record["checkpoint"]
    with pytest.raises(BadInput, match="checkpoint"):
        read_report(record)
