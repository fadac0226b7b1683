import json

import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.files import read_points
from lib.prompts.types import Box, Points
from tests.geometry.grids import SHAPE, affine_of

GRID = Grid(SHAPE, affine_of("LPS", (0.8, 0.8, 3)))


@pytest.fixture
def read(tmp_path):
    def read(entries, grid=GRID):
        path = tmp_path / "points.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return read_points(path, grid)

    return read


def test_points_are_grouped_by_slice(read):
    entry = {
        "object": 3,
        "foreground": [[1, 2, 4], [5, 6, 0], [3, 3, 4]],
        "background": [[9, 9, 4]],
    }
    first, second = read([entry]).prompts
    assert (first.index, second.index) == (0, 4)
    assert first.object_id == second.object_id == 3
    np.testing.assert_array_equal(first.foreground, [[5, 6]])
    assert first.background.shape == (0, 2)
    np.testing.assert_array_equal(second.foreground, [[1, 2], [3, 3]])
    np.testing.assert_array_equal(second.background, [[9, 9]])


def test_defaults_are_object_one_and_axial(read):
    (prompt,) = read([{"foreground": [[1, 2, 4]]}]).prompts
    assert (prompt.object_id, prompt.axis, prompt.index) == (1, Axis.AXIAL, 4)


def test_anatomical_axis_of_a_rotated_file(read):
    pir = Grid(SHAPE, affine_of("PIR"))  # axial is the second dimension, sagittal the third
    axial, sagittal = read(
        [
            {"axis": "axial", "foreground": [[1, 2, 3]]},
            {"object": 2, "axis": "sagittal", "foreground": [[1, 2, 3]]},
        ],
        pir,
    ).prompts
    assert (axial.index, axial.foreground.tolist()) == (2, [[1, 3]])
    assert (sagittal.index, sagittal.foreground.tolist()) == (3, [[1, 2]])


def test_box_with_descending_pairs(read):
    (box,) = read([{"axis": "coronal", "box": [9, 2, 4, 4, 7, 1]}]).prompts
    assert isinstance(box, Box)
    assert (box.axis, box.index) == (Axis.CORONAL, 4)
    assert (box.low.tolist(), box.high.tolist()) == ([2, 1], [9, 7])


def test_points_and_box_of_one_entry(read):
    kinds = {
        type(p) for p in read([{"foreground": [[1, 1, 1]], "box": [0, 3, 0, 3, 1, 1]}]).prompts
    }
    assert kinds == {Points, Box}


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "at least one entry"),
        ({"foreground": [[1, 1, 1]]}, "must hold a list"),
        ([[1, 2, 3]], "entry 0: must be an object"),
        ([{}], "entry 0: has neither foreground nor background nor box"),
        ([{"foreground": []}], "entry 0: has neither"),
        ([{"foreground": [[1, 1, 1]]}, {"points": [[1, 1, 1]]}], "entry 1: unknown field points"),
        ([{"foreground": [[1, 1]]}], r"entry 0: foreground must be a list of \[i, j, k\]"),
        ([{"foreground": [1, 1, 1]}], "entry 0: foreground must be"),
        ([{"foreground": [["a", 1, 1]]}], "entry 0: foreground must be"),
        ([{"foreground": [[1, 1, 1], [1, 1]]}], "entry 0: foreground must be"),
        ([{"foreground": {"i": 1}}], "entry 0: foreground must be"),
        ([{"background": 7}], "entry 0: background must be"),
        ([{"foreground": None}], "entry 0: foreground must be"),
        ([{"foreground": "[]"}], "entry 0: foreground must be"),
        ([{"foreground": [[1, 1, 1e999]]}], "entry 0: foreground must be"),
        ([{"object": 0, "foreground": [[1, 1, 1]]}], "entry 0: object must be a whole number"),
        ([{"object": "rib", "foreground": [[1, 1, 1]]}], "object must be.*not 'rib'"),
        ([{"object": True, "foreground": [[1, 1, 1]]}], "object must be"),
        ([{"axis": "up", "foreground": [[1, 1, 1]]}], "entry 0: unknown axis 'up'"),
        ([{"box": [1, 2, 3]}], r"entry 0: box must be \[i0, i1, j0, j1, k0, k1\], not \[1, 2, 3\]"),
        ([{"box": [0, 3, 0, 3, 1, 2]}], "entry 0: box must span one axial slice.*from 1 to 2"),
        ([{"box": [0, 99, 0, 3, 1, 1]}], "entry 0: a prompt lies outside the volume"),
        ([{"foreground": [[1, 1, 9]]}], "entry 0: a prompt lies outside the volume: axial slice 9"),
        ([{"foreground": [[-1, 1, 1]]}], "entry 0: a prompt lies outside the volume"),
    ],
)
def test_what_is_refused(read, entries, sentence):
    with pytest.raises(BadInput, match=sentence):
        read(entries)


def test_missing_file(tmp_path):
    with pytest.raises(BadInput, match=r"cannot read .*points.json: No such file"):
        read_points(tmp_path / "points.json", GRID)


def test_binary_file(tmp_path):
    (tmp_path / "points.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadInput, match="is not JSON"):
        read_points(tmp_path / "points.json", GRID)
