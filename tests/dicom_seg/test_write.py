"""DICOM SEG as others read it: dcmqi and pydicom-seg, on straight, oblique and flipped series."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pydicom_seg
import pytest
import SimpleITK as sitk

from lib.dicom_seg.segments import masks_of, named
from lib.dicom_seg.write import grid_of_series, save_dicom_seg
from lib.errors import BadInput
from lib.geometry import Grid
from lib.sample.ct import make_sample_ct
from lib.sample.dicom import KINDS, as_acquired, write_series
from lib.transforms.load import load_labelmap, load_volume

SEGMENTS = named({1: "femur_left", 3: "vertebrae_L3", 7: "mystery 2"})
#: dcmqi's tools lie beside the interpreter.
READER = Path(sys.executable).with_name("segimage2itkimage")


@pytest.fixture(scope="module", params=KINDS)
def acquired(request, tmp_path_factory):
    """Folder of a series, and label map (columns, rows, slices) with its grid."""
    sample = make_sample_ct(0, shape=(40, 32, 14), spacing=(6.0, 7.0, 12.0))
    hu, labels, affine = as_acquired(sample, request.param)
    folder = tmp_path_factory.mktemp(request.param)
    write_series(hu, affine, folder, kind=request.param)
    values = np.zeros_like(labels)
    for value, label in zip(SEGMENTS, sorted(sample.names), strict=False):
        values[labels == label] = value
    values[3, 4, 5] = 7
    assert set(np.unique(values)) == {0, *SEGMENTS}
    return folder, values, Grid(values.shape, affine)


@pytest.fixture(scope="module")
def written(acquired, tmp_path_factory):
    folder, values, grid = acquired
    path = tmp_path_factory.mktemp("seg") / "out.dcm"
    save_dicom_seg(masks_of(values), grid, path, folder, SEGMENTS)
    return path


def test_dcmqi_reads_back_every_voxel_in_its_place(acquired, written, tmp_path):
    _, values, grid = acquired
    command = [READER, "--inputDICOM", written, "--outputDirectory", tmp_path, "-t", "nii"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    told = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    about = {segment["labelID"]: segment for group in told for segment in group}
    for n, value in enumerate(SEGMENTS, start=1):
        mask, its_grid = load_labelmap(tmp_path / f"{n}.nii.gz")
        back = its_grid.map_to(grid).array(mask, grid.shape)
        np.testing.assert_array_equal(back > 0, values == value)
        assert about[n]["SegmentLabel"] == SEGMENTS[value].name
        near = np.subtract(about[n]["recommendedDisplayRGBValue"], SEGMENTS[value].colour)
        assert np.abs(near).max() <= 1


def test_pydicom_seg_reads_back_the_same(acquired, written, tmp_path):
    _, values, grid = acquired
    read = pydicom_seg.SegmentReader().read(pydicom.dcmread(written))
    for n, value in enumerate(SEGMENTS, start=1):
        path = tmp_path / f"{n}.nii.gz"
        sitk.WriteImage(read.segment_image(n), str(path))
        mask, its_grid = load_labelmap(path)
        back = its_grid.map_to(grid).array(mask, grid.shape)
        np.testing.assert_array_equal(back > 0, values == value)


def test_it_refers_to_the_images(acquired, written):
    folder, values, _ = acquired
    seg = pydicom.dcmread(written)
    images = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    (series,) = seg.ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == set(images)
    assert seg.FrameOfReferenceUID == next(iter(images.values())).FrameOfReferenceUID
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (derived,) = frame.DerivationImageSequence
        (source,) = derived.SourceImageSequence
        image = images[source.ReferencedSOPInstanceUID]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, image.ImagePositionPatient, atol=1e-4)
    marked = sum((values == v).any(axis=(0, 1)).sum() for v in SEGMENTS)
    assert len(seg.PerFrameFunctionalGroupsSequence) == marked  # empty ones are left out
    assert seg.SegmentationType == "BINARY"


def test_segments_are_coded(written):
    segments = pydicom.dcmread(written).SegmentSequence
    kinds = [s.SegmentedPropertyTypeCodeSequence[0] for s in segments]
    assert [(k.CodingSchemeDesignator, k.CodeValue) for k in kinds] == [
        ("SCT", "71341001"),
        ("SCT", "36470004"),
        ("SCT", "123037004"),
    ]
    assert kinds[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in kinds[1]
    assert {s.SegmentAlgorithmType for s in segments} == {"SEMIAUTOMATIC"}


def told_anew(series: Path, folder: Path, tell: Callable[[pydicom.Dataset], None]) -> Path:
    """A series with other headers, in a new folder."""
    folder.mkdir()
    for file in series.iterdir():
        image = pydicom.dcmread(file)
        tell(image)
        image.save_as(folder / file.name)
    return folder


def test_no_more_of_the_patient_than_must_be(acquired, tmp_path):
    """The series is full of what somebody may have typed; the SEG has the required fields alone."""
    folder, values, grid = acquired

    def tell(image: pydicom.Dataset) -> None:
        image.PatientName, image.PatientID = "Doe^Jane", "4711"
        image.PatientAddress = image.PatientComments = image.StudyDescription = "SECRET"
        image.OtherPatientNames = image.InstitutionName = image.OperatorsName = "SECRET"
        image.AdditionalPatientHistory = image.AdmittingDiagnosesDescription = "SECRET"
        image.PatientAge, image.PatientWeight = "042Y", 61
        image.add_new((0x0009, 0x0010), "LO", "SECRET")

    path = tmp_path / "out.dcm"
    told = told_anew(folder, tmp_path / "told", tell)
    save_dicom_seg(masks_of(values), grid, path, told, SEGMENTS)
    seg = pydicom.dcmread(path)
    assert (str(seg.PatientName), seg.PatientID) == ("Doe^Jane", "4711")
    assert b"SECRET" not in path.read_bytes()
    assert {e.keyword for e in seg if e.tag.group == 0x0010} == {
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
    }


@pytest.mark.parametrize(
    ("name", "label"),
    [("עצם 😀", "עצם 😀"), ("a\\b", "a/b"), ("ü" * 99, "ü" * 64), ("x^=\\", "x^=/")],
)
def test_any_name_is_one_label_and_hurts_no_other(acquired, tmp_path, name, label):
    folder, values, grid = acquired

    def tell(image: pydicom.Dataset) -> None:
        image.SpecificCharacterSet, image.PatientName = "ISO_IR 100", "Müller^Jürgen"

    path = tmp_path / "out.dcm"
    told = told_anew(folder, tmp_path / "told", tell)
    save_dicom_seg(masks_of(values > 0), grid, path, told, named({1: name}))
    seg = pydicom.dcmread(path)
    assert [s.SegmentLabel for s in seg.SegmentSequence] == [label]
    assert str(seg.PatientName) == "Müller^Jürgen"


def test_overlapping_objects_stay_whole(acquired, tmp_path):
    folder, values, grid = acquired
    first, second, nothing = np.zeros((3, *values.shape), dtype=bool)
    first[5:20, 5:20, 3:8] = True
    second[10:30, 10:25, 5:10] = True
    path = tmp_path / "out.dcm"
    save_dicom_seg({1: first, 2: nothing, 4: second}, grid, path, folder, {})
    read = pydicom_seg.SegmentReader().read(pydicom.dcmread(path))
    for n, mask in ((1, first), (2, second)):
        assert read.segment_data(n).sum() == mask.sum()
    labels = [s.SegmentLabel for s in pydicom.dcmread(path).SegmentSequence]
    assert labels == ["object 1", "object 4"]


def test_the_grid_told_by_the_headers_is_the_one_that_is_read(acquired):
    folder, _, grid = acquired
    images = [pydicom.dcmread(f) for f in sorted(folder.iterdir())]
    images.sort(key=lambda i: i.InstanceNumber)
    assert grid_of_series(images).same_as(grid)
    assert load_volume(folder).grid.map_to(grid).dim(2) == 2


def test_prompts_on_a_flipped_grid_go_where_they_belong(acquired, tmp_path):
    folder, values, grid = acquired
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (grid.shape[2] - 1)
    affine[:3, 2] *= -1
    flipped = Grid((grid.shape[1], grid.shape[0], grid.shape[2]), affine[:, [1, 0, 2, 3]])
    path = tmp_path / "out.dcm"
    save_dicom_seg(masks_of(values.transpose(1, 0, 2)[:, :, ::-1]), flipped, path, folder, SEGMENTS)
    straight = tmp_path / "straight.dcm"
    save_dicom_seg(masks_of(values), grid, straight, folder, SEGMENTS)
    np.testing.assert_array_equal(
        pydicom.dcmread(path).pixel_array, pydicom.dcmread(straight).pixel_array
    )


def test_what_cannot_be_written_leaves_nothing(acquired, tmp_path):
    folder, values, grid = acquired
    path = tmp_path / "out.dcm"
    with pytest.raises(BadInput, match="empty"):
        save_dicom_seg({1: values < 0}, grid, path, folder, SEGMENTS)
    moved = grid.affine.copy()
    moved[0, 3] += 3
    with pytest.raises(BadInput, match="grids"):
        save_dicom_seg(masks_of(values), Grid(grid.shape, moved), path, folder, SEGMENTS)
    one = tmp_path / "one"
    one.mkdir()
    file = next(folder.iterdir())
    (one / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BadInput, match="give a folder"):
        save_dicom_seg(masks_of(values), grid, path, one / file.name, SEGMENTS)
    with pytest.raises(BadInput, match="multi-frame"):
        save_dicom_seg(masks_of(values), grid, path, one, SEGMENTS)
    with pytest.raises(BadInput, match="cannot write"):
        save_dicom_seg(masks_of(values), grid, tmp_path / "nowhere" / "out.dcm", folder, SEGMENTS)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
