"""Names, colours and codes of segments."""

import nrrd
import numpy as np
import pytest

from lib.dicom_seg.codes import STRUCTURE, coded
from lib.dicom_seg.segments import Segment, complete, named, of_slicer
from lib.evaluation.dataset import BONES


@pytest.mark.parametrize(
    ("name", "value", "side"),
    [
        ("femur_left", "71341001", "Left"),
        ("Right Femur", "71341001", "Right"),
        ("femurs", "71341001", None),
        ("clavicula_right", "51299004", "Right"),
        ("hip_left", "29836001", "Left"),
        ("skull", "89546000", None),
        ("tibia", "12611008", None),
        ("rib_left_1", "48535007", "Left"),
        ("rib_right_12", "43993008", "Right"),
        ("rib", "113197003", None),
        ("ribs 2", "113197003", None),
        ("vertebrae_C7", "87391001", None),
        ("vertebra T10", "7610001", None),
        ("L5", "49668003", None),
        ("vertebrae", "51282000", None),
        ("bone", "272673000", None),
        ("liver", "10200004", None),
        ("kidney_left", "64033007", "Left"),
        ("vertebrae_L9", "51282000", None),
        ("left", STRUCTURE.value, "Left"),
        ("", STRUCTURE.value, None),
        ("Müller's object 3", STRUCTURE.value, None),
    ],
)
def test_codes(name, value, side):
    found = coded(name)
    assert found.kind.scheme_designator == "SCT"
    assert found.kind.value == value
    assert (found.side and found.side.meaning) == side


def test_every_bone_of_the_paper_has_a_code():
    for kind in BONES:
        assert coded(kind).kind != STRUCTURE, kind


def test_every_level_has_a_code_of_its_own():
    levels = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)]
    levels += [f"L{n}" for n in range(1, 6)] + [f"rib_{n}" for n in range(1, 13)]
    assert len({coded(level).kind.value for level in levels}) == len(levels)


def test_neighbours_differ_in_colour():
    colours = [segment.colour for segment in named({i: "x" for i in range(1, 8)}).values()]
    assert len(set(colours)) == 7


def test_what_has_no_name_is_numbered():
    known = {2: Segment("femur", (1, 2, 3))}
    chosen = complete(known, [2, 5])
    assert chosen[2] == known[2]
    assert chosen[5].name == "object 5"
    assert list(chosen) == [2, 5]


def test_segments_of_slicer(tmp_path):
    header = {
        "Segment0_Name": "left hip",
        "Segment0_LabelValue": "4",
        "Segment0_Color": "1 0.5 0",
        "Segment1_Name": "without a colour",
        "Segment1_LabelValue": "5",
        **{
            f"Segment{n}_{key}": value
            for n, color in enumerate(("x y z", "nan 0 0", "1e999 0 0", "1 1", "1 1 1 1"), start=2)
            for key, value in {"Name": "odd", "LabelValue": str(n + 4), "Color": color}.items()
        },
        "Segment9_Name": "no number",
        "Segment9_LabelValue": "x",
        "Segment9_Color": "1 1 1",
    }
    path = tmp_path / "painted.seg.nrrd"
    nrrd.write(str(path), np.zeros((3, 3, 3), np.uint8), header)
    assert of_slicer(path) == {4: Segment("left hip", (255, 128, 0))}
    assert of_slicer(tmp_path / "painted.nii.gz") == {}
