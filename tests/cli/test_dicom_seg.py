"""`segment` on a DICOM series: a DICOM SEG that others read."""

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pydicom_seg
import pytest

from lib.commands import execute
from lib.commands.main import app
from lib.dicom_seg.write import grid_of_series
from lib.sample.ct import make_sample_ct
from lib.sample.dicom import KINDS, as_acquired, write_series
from lib.transforms.load import load_volume
from lib.transforms.save import save_labelmap


@pytest.fixture(params=KINDS)
def case(request, tmp_path):
    """Folder of a series, its images in order, and painted slices of two bones."""
    sample = make_sample_ct(0, shape=(48, 40, 16), spacing=(5.0, 6.0, 9.0))
    hu, labels, affine = as_acquired(sample, request.param)
    folder = tmp_path / "series"
    write_series(hu, affine, folder, kind=request.param)
    images = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda i: i.InstanceNumber)
    names = {name: label for label, name in sample.names.items()}
    painted = np.zeros(labels.shape, np.uint8)
    for value, bone in ((1, "hip_left"), (2, "sacrum")):
        mask = labels == names[bone]
        slices = np.flatnonzero(mask.any(axis=(0, 1)))
        for k in slices[[1, -2]]:
            painted[:, :, k][mask[:, :, k]] = value
    prompts = tmp_path / "painted.nrrd"
    save_labelmap(painted, grid_of_series(images), prompts)
    return folder, images, prompts, painted


def segment(*words) -> int:
    return execute(app, ["segment", *map(str, words), "--model", "builtin"])


def test_segments_are_named_and_lie_where_the_label_map_does(case, tmp_path):
    folder, images, prompts, _ = case
    words = (folder, "--prompts", prompts, "--labels", "hip_left,sacrum")
    seg_file, nifti = tmp_path / "out.dcm", tmp_path / "out.nii.gz"
    assert segment(*words, "-o", seg_file) == 0
    assert segment(*words[:-2], "-o", nifti) == 0
    read = pydicom_seg.SegmentReader().read(pydicom.dcmread(seg_file))
    labels = np.asarray(nib.load(nifti).dataobj)
    ours = load_volume(folder).grid
    onto = ours.map_to(grid_of_series(images))
    planes = [i.ImagePositionPatient for i in images]
    frames = {tuple(map(float, p)): n for n, p in enumerate(planes)}
    for n, name in ((1, "hip_left"), (2, "sacrum")):
        assert read.segment_infos[n].SegmentLabel == name
        expected = onto.array(labels == n, (images[0].Columns, images[0].Rows, len(images)))
        found = np.zeros_like(expected)
        seg = pydicom.dcmread(seg_file)
        for frame, pixels in zip(
            seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True
        ):
            if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == n:
                at = tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
                found[:, :, frames[at]] = pixels.T > 0
        assert expected.any()
        np.testing.assert_array_equal(found, expected)


def test_names_come_from_slicers_file(case, tmp_path):
    folder, _, prompts, painted = case
    _, header = nrrd.read(str(prompts))
    header |= {
        **{"Segment0_Name": "left hip", "Segment0_LabelValue": "1", "Segment0_Color": "1 0 0"},
        **{"Segment1_Name": "os sacrum", "Segment1_LabelValue": "2", "Segment1_Color": "0 1 0"},
    }
    slicers = tmp_path / "painted.seg.nrrd"
    nrrd.write(str(slicers), painted, header)
    out = tmp_path / "out.dcm"
    assert segment(folder, "--prompts", slicers, "-o", out, "--overlap") == 0
    told = pydicom.dcmread(out).SegmentSequence
    assert [s.SegmentLabel for s in told] == ["left hip", "os sacrum"]
    assert told[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Hip"


@pytest.mark.parametrize("case", ["straight"], indirect=True)
def test_mistakes(case, tmp_path, capsys):
    folder, _, prompts, _ = case
    volume = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), volume)
    for words, said in (
        ((volume, "--prompts", prompts, "-o", tmp_path / "out.dcm"), "folder"),
        ((folder, "--prompts", prompts, "-o", tmp_path / "no" / "out.dcm"), "no folder"),
        ((folder, "--prompts", prompts, "-o", tmp_path / "o.nrrd", "--labels", "a,b"), "OUT.dcm"),
        (
            (folder, "--prompts", prompts, "-o", tmp_path / "out.dcm", "--labels", "a,a"),
            "different",
        ),
    ):
        assert segment(*words) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("o*"))
