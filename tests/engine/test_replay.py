"""Results of earlier versions come again from their logs.

`logs` were written by the version whose logs said "sam2_ct result 1": one of each kind of task.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from lib.engine.log import read_log
from lib.engine.migrations import SCHEMA, migrated
from lib.engine.replay import replay
from lib.errors import BadInput
from lib.geometry import Axis
from lib.transforms.load import load_labelmap
from tests.engine import phantom

LOGS = Path(__file__).with_name("logs")
KINDS = ("masks", "slices", "objects")


@pytest.fixture
def ct(tmp_path) -> Path:
    return phantom.write_ct(tmp_path / "rods.nii.gz")


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_of_the_first_schema_replays(ct, kind):
    logged = load_labelmap(LOGS / f"{kind}.nrrd")[0]
    _, outcome = replay(LOGS / f"{kind}.json", ct, device="cpu")
    # another processor may round a voxel of the outline otherwise, no more
    differing = int((outcome.labels != logged).sum())
    assert differing <= 0.01 * (logged > 0).sum()
    assert outcome.report.replay.identical is (differing == 0)
    assert outcome.report.threads == 1


def test_what_stood_in_one_place_is_told_apart():
    recipe = read_log(LOGS / "masks.json").recipe
    assert recipe.prompts.object_ids == (1,)  # was 3 in the viewer, and 1 in its result
    (wiped,) = recipe.wiped
    assert (wiped.object_id, wiped.axis, wiped.slices) == (1, Axis.AXIAL, {5})
    thin = phantom.rods() == 2
    thin[..., 5] = False
    np.testing.assert_array_equal(recipe.taken, thin)


def test_todays_logs_are_left_as_they_are():
    content = migrated(json.loads((LOGS / "masks.json").read_text()), "masks.json")
    assert content["schema"] == SCHEMA
    assert migrated(content, "masks.json") == content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "not the log"),
        ({"format": "something"}, "its format is not"),
        ({"format": "sam2_ct result", "schema": 99}, "of schema 99, this version reads up to"),
        ({"format": "sam2_ct result"}, "of schema None"),
    ],
)
def test_what_is_no_log_of_ours(content, sentence):
    with pytest.raises(BadInput, match=sentence):
        migrated(content, "x.json")
