import numpy as np
import pydicom
import pytest

from lib.geometry import Grid
from lib.sample.dicom import KINDS, as_acquired, write_series
from lib.transforms.load import load_volume


@pytest.mark.parametrize("kind", KINDS)
def test_series_reads_back_to_the_same_voxels_in_space(series, dicom_sample, kind):
    _, folder = series[kind]
    image = load_volume(folder)
    hu, _, affine = as_acquired(dicom_sample, kind)
    written = Grid(hu.shape, affine)
    read = image.grid
    back = read.map_to(written).array(image.grey, written.shape)
    np.testing.assert_array_equal(back, np.clip(hu, -1024, 3071))


@pytest.mark.parametrize("kind", KINDS)
def test_written_twice_is_the_same(series, dicom_sample, tmp_path, kind):
    uid, folder = series[kind]
    hu, _, affine = as_acquired(dicom_sample, kind)
    assert write_series(hu, affine, tmp_path, kind=kind) == uid
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_feet_first_runs_to_the_feet(series):
    _, folder = series["feet-first"]
    first, second = (pydicom.dcmread(folder / f"{n:04d}.dcm") for n in (1, 2))
    assert first.PatientPosition == "FFS"
    assert list(first.ImageOrientationPatient) == [-1, 0, 0, 0, 1, 0]
    assert second.ImagePositionPatient[2] < first.ImagePositionPatient[2]
