import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lib.commands import execute
from lib.commands.main import app
from lib.sample import canvas
from lib.sample.ct import SHAPE, SPACING, make_sample_ct, varied_grid, write_case

COARSE = {"shape": (75, 60, 48), "spacing": (4.0, 4.0, 8.0)}
EXPECTED = {
    *(f"vertebrae_{v}" for v in ("L1", "L2", "L3", "L4", "L5", "T8", "T9", "T10", "T11", "T12")),
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in range(5, 13)),
    *("hip_left", "hip_right", "femur_left", "femur_right", "sacrum", "sternum"),
}


@pytest.fixture(scope="module", params=[0, 7])
def sample(request):
    return make_sample_ct(request.param)


@pytest.fixture(scope="module")
def coarse():
    return make_sample_ct(**COARSE)


def test_grid(sample):
    assert sample.ct.shape == sample.labels.shape == SHAPE
    assert sample.ct.dtype == np.int16
    assert sample.labels.dtype == np.uint8
    assert sample.affine.dtype == np.float64
    assert nib.aff2axcodes(sample.affine) == ("R", "A", "S")
    zooms = nib.affines.voxel_sizes(sample.affine)
    assert zooms.tolist() == list(SPACING)
    assert len(set(zooms)) > 1
    assert (sample.affine[:3, 3] != 0).all()


def test_every_bone_is_there_on_more_than_six_slices(sample):
    assert set(sample.names.values()) >= EXPECTED
    assert sorted(sample.names) == np.unique(sample.labels)[1:].tolist()
    for label, name in sample.names.items():
        on_slice = (sample.labels == label).any(axis=(0, 1))
        # Bones that the field of view cuts off above may show less, as on a scanner.
        assert on_slice.sum() > 6 or (on_slice[-1] and name not in EXPECTED), name


def test_hounsfield_units(sample):
    ct, bone = sample.ct, sample.labels > 0
    assert ct.min() >= -1024
    assert 900 < ct.max() < 1700
    assert np.median(ct[:3, :3]) == pytest.approx(-1000, abs=10)
    soft = ct[~bone & (ct > -30) & (ct < 130)]
    for label, name in sample.names.items():
        values = ct[sample.labels == label]
        assert values.mean() > soft.mean() + 250, name
        assert np.percentile(values, 90) > 600, name  # there is a cortex
    # Fat, soft tissue and lung each make up a good part of the rest.
    for low, high in ((-150, -50), (0, 90), (-900, -700)):
        assert ((ct > low) & (ct < high) & ~bone).mean() > 0.03
    assert ((ct > 350) & ~bone).mean() < 0.01


def test_spine_is_under_the_skin(sample):
    for label, name in sample.names.items():
        if name.startswith(("vertebrae", "sacrum")):
            around = ndimage.binary_dilation(sample.labels == label, iterations=2)
            assert sample.ct[around].min() > -950, name  # lung may be near, air not


def test_right_is_right(sample):
    names = {name: label for label, name in sample.names.items()}
    for bone in ("hip", "femur"):
        masks = [sample.labels == names[f"{bone}_{side}"] for side in ("left", "right")]
        x = [np.argwhere(mask)[:, 0].mean() for mask in masks]
        assert x[0] < x[1]  # RAS: x grows to the patient's right
    z = [np.argwhere(sample.labels == names[f"vertebrae_{v}"])[:, 2].mean() for v in ("L5", "T12")]
    assert z[0] < z[1]


def test_same_seed_same_voxels(coarse):
    again, other = make_sample_ct(**COARSE), make_sample_ct(1, **COARSE)
    assert np.array_equal(again.ct, coarse.ct)
    assert np.array_equal(again.labels, coarse.labels)
    assert np.array_equal(again.affine, coarse.affine)
    assert not np.array_equal(other.labels, coarse.labels)


def test_looking_at_blocks_first_misses_nothing(monkeypatch, coarse):
    monkeypatch.setattr(canvas, "BLOCK", 1)
    every_voxel = make_sample_ct(**COARSE)
    assert np.array_equal(every_voxel.labels, coarse.labels)
    assert np.array_equal(every_voxel.ct, coarse.ct)


def test_other_grids():
    small = make_sample_ct(shape=(40, 30, 20), spacing=(3.0, 3.5, 4.0))
    assert small.ct.shape == (40, 30, 20)
    assert varied_grid(0) == (SHAPE, SPACING)
    shape, spacing = varied_grid(1)
    assert spacing != SPACING
    assert np.multiply(shape, spacing) == pytest.approx(np.multiply(SHAPE, SPACING), abs=2)
    with pytest.raises(ValueError, match="must be positive"):
        make_sample_ct(shape=(0, 1, 1))


def test_written_case(tmp_path, coarse):
    folder = write_case(coarse, tmp_path / "new" / "case")
    image = nib.load(folder / "ct.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(image.dataobj), coarse.ct)
    assert np.allclose(image.affine, coarse.affine)
    files = sorted(path.name for path in (folder / "segmentations").iterdir())
    assert files == sorted(f"{name}.nii.gz" for name in coarse.names.values())
    total = np.zeros(coarse.ct.shape, dtype=int)
    for file in files:
        mask = nib.load(folder / "segmentations" / file)
        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, image.affine)
        voxels = np.asarray(mask.dataobj)
        assert set(np.unique(voxels)) == {0, 1}
        total += voxels
    assert total.max() == 1  # disjoint
    with pytest.raises(FileExistsError, match="there already"):
        write_case(coarse, folder)


def test_nothing_is_left_of_a_failure(tmp_path, coarse, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_case(coarse, tmp_path / "case")
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lib.sample.ct.varied_grid", lambda _: tuple(COARSE.values()))
    assert execute(app, ["sample", str(tmp_path), "--seed", "3", "--cases", "2"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phantom_0003", "phantom_0004"]
    assert execute(app, ["sample", str(tmp_path), "--seed", "4"]) == 0
    assert "kept" in capsys.readouterr().out
    assert execute(app, ["sample", str(tmp_path), "--cases", "0"]) == 2


def test_a_kind_of_series_that_does_not_exist(tmp_path, capsys):
    assert execute(app, ["sample", str(tmp_path), "--dicom", "upside-down"]) == 2
    assert "straight" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
