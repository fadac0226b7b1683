import os

import nibabel as nib
import nrrd
import numpy as np
import pytest

from lib.errors import BadInput
from lib.files import check_output
from lib.geometry import Grid
from lib.transforms.load import load_labelmap
from lib.transforms.save import save_labelmap
from tests.geometry.grids import AFFINES, SHAPE, affine_of, random_labels
from tests.transforms.conftest import hu

GRID = Grid(SHAPE, affine_of("LPS", (0.8, 0.8, 3)))


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz", "out.nrrd", "out.seg.nrrd"])
@pytest.mark.parametrize("affine", AFFINES)
def test_round_trip(tmp_path, name, affine):
    grid, labels = Grid(SHAPE, affine), random_labels()
    save_labelmap(labels, grid, tmp_path / name)
    array, its_grid = load_labelmap(tmp_path / name)
    np.testing.assert_array_equal(array, labels)
    np.testing.assert_allclose(its_grid.affine, affine, atol=1e-4)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd"])
@pytest.mark.parametrize(
    ("values", "dtype", "stored"),
    [
        ((0, 1), bool, np.uint8),
        ((0, 255), np.int64, np.uint8),
        ((0, 256), np.int64, np.uint16),
        ((0, 65535), np.int32, np.uint16),
    ],
)
def test_smallest_type_that_holds_the_values(tmp_path, name, values, dtype, stored):
    labels = np.zeros(SHAPE, dtype)
    labels[3, 4, 5] = values[1]
    save_labelmap(labels, GRID, tmp_path / name)
    if name.endswith("nrrd"):
        array, _ = nrrd.read(str(tmp_path / name))
    else:
        array = np.asarray(nib.load(tmp_path / name).dataobj)
    assert array.dtype == stored
    np.testing.assert_array_equal(array, labels)


def test_itk_reads_the_nrrd_in_the_same_place(tmp_path):
    itk = pytest.importorskip("itk")
    grid = Grid(SHAPE, affine_of("PIR", (0.7, 2.5, 1.3), degrees=(10, 20, 30)))
    labels = random_labels()
    save_labelmap(labels, grid, tmp_path / "out.nrrd")
    image = itk.imread(str(tmp_path / "out.nrrd"))
    np.testing.assert_array_equal(itk.array_view_from_image(image).T, labels)
    x, y, z = image.TransformIndexToPhysicalPoint([3, 5, 7])
    np.testing.assert_allclose((grid.affine @ [3, 5, 7, 1])[:3], [-x, -y, z], atol=1e-6)


class TestLike:
    def ct(self, tmp_path, affine, sform=1, qform=2):
        image = nib.Nifti1Image(hu(), affine)
        image.set_sform(affine, sform)
        image.set_qform(affine, qform)
        image.header.set_xyzt_units("mm", "sec")
        image.header["descrip"] = b"Doe, Jane"
        image.header.set_slope_inter(1, 0)
        nib.save(image, tmp_path / "ct.nii.gz")
        return tmp_path / "ct.nii.gz"

    @pytest.mark.parametrize("codes", [(1, 2), (2, 0), (0, 1), (4, 1)])
    @pytest.mark.parametrize("affine", AFFINES[:-1])
    def test_forms_and_codes_are_those_of_the_ct(self, tmp_path, affine, codes):
        ct = self.ct(tmp_path, affine, *codes)
        source = nib.load(ct)
        labels = random_labels()
        save_labelmap(labels, Grid(SHAPE, source.affine), tmp_path / "out.nii.gz", like=ct)
        ours = nib.load(tmp_path / "out.nii.gz")
        for field in (
            "sform_code",
            "qform_code",
            "srow_x",
            "srow_y",
            "srow_z",
            "pixdim",
            "quatern_b",
            "quatern_c",
            "quatern_d",
            "qoffset_x",
            "xyzt_units",
        ):
            np.testing.assert_array_equal(ours.header[field], source.header[field], field)
        np.testing.assert_array_equal(ours.affine, source.affine)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), labels)
        assert ours.get_data_dtype() == np.uint8

    def test_nothing_about_the_patient_is_copied(self, tmp_path):
        ct = self.ct(tmp_path, GRID.affine)
        save_labelmap(random_labels(), GRID, tmp_path / "out.nii", like=ct)
        assert b"Jane" not in (tmp_path / "out.nii").read_bytes()

    def test_scaling_of_the_ct_does_not_touch_the_labels(self, tmp_path):
        image = nib.Nifti1Image(hu().astype(np.float32) * 1.7, GRID.affine)
        image.header.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
        nib.save(image, tmp_path / "ct.nii")
        labels = random_labels()
        save_labelmap(labels, GRID, tmp_path / "out.nii", like=tmp_path / "ct.nii")
        np.testing.assert_array_equal(nib.load(tmp_path / "out.nii").get_fdata(), labels)

    def test_a_ct_on_another_grid_is_not_followed(self, tmp_path):
        ct = self.ct(tmp_path, affine_of("RAS", (5, 5, 5)))
        save_labelmap(random_labels(), GRID, tmp_path / "out.nii.gz", like=ct)
        np.testing.assert_allclose(nib.load(tmp_path / "out.nii.gz").affine, GRID.affine, atol=1e-4)

    def test_a_dicom_folder_is_nothing_to_follow(self, tmp_path):
        save_labelmap(random_labels(), GRID, tmp_path / "out.nii.gz", like=tmp_path)
        np.testing.assert_allclose(nib.load(tmp_path / "out.nii.gz").affine, GRID.affine, atol=1e-4)

    def test_four_dimensional_ct_with_a_singleton(self, tmp_path):
        nib.save(nib.Nifti1Image(hu()[..., None], GRID.affine), tmp_path / "ct.nii.gz")
        save_labelmap(random_labels(), GRID, tmp_path / "out.nii.gz", like=tmp_path / "ct.nii.gz")
        assert nib.load(tmp_path / "out.nii.gz").shape == SHAPE


class TestWholeOrNotAtAll:
    def test_a_failed_write_leaves_what_was_there(self, tmp_path, monkeypatch):
        path = tmp_path / "out.nii.gz"
        path.write_bytes(b"the result before")

        def disk_full(image, files):
            files["image"].fileobj.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(nib.Nifti1Image, "to_file_map", disk_full)
        with pytest.raises(BadInput, match=r"cannot write .*out.nii.gz: No space left on device"):
            save_labelmap(random_labels(), GRID, path)
        assert path.read_bytes() == b"the result before"
        assert os.listdir(tmp_path) == ["out.nii.gz"]

    def test_an_interrupt_leaves_nothing(self, tmp_path, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_labelmap(random_labels(), GRID, tmp_path / "out.nrrd")
        assert os.listdir(tmp_path) == []

    def test_replaces_an_older_result(self, tmp_path):
        for seed in (0, 1):
            save_labelmap(random_labels(seed=seed), GRID, tmp_path / "out.nii.gz")
        array, _ = load_labelmap(tmp_path / "out.nii.gz")
        np.testing.assert_array_equal(array, random_labels(seed=1))

    def test_others_may_read_it(self, tmp_path):
        save_labelmap(random_labels(), GRID, tmp_path / "out.nii.gz")
        (tmp_path / "plain").touch()
        modes = {os.stat(tmp_path / name).st_mode for name in ("out.nii.gz", "plain")}
        assert len(modes) == 1


class TestRefused:
    @pytest.mark.parametrize("name", ["out", "out.mha", "out.nii.zip", "out.nhdr"])
    def test_ending(self, tmp_path, name):
        with pytest.raises(BadInput, match=r"must end in .nii.gz, .nii or .nrrd"):
            check_output(tmp_path / name)

    def test_no_folder(self, tmp_path):
        with pytest.raises(BadInput, match="there is no folder"):
            save_labelmap(random_labels(), GRID, tmp_path / "missing" / "out.nii.gz")

    def test_values_and_shapes_that_are_our_own_defects(self, tmp_path):
        for labels, sentence in (
            (np.full(SHAPE, -1), "negative value -1"),
            (np.full(SHAPE, 65536), "use labels up to 65535"),
            (np.zeros((3, 3, 3)), "on a grid of shape"),
        ):
            with pytest.raises(ValueError, match=sentence):
                save_labelmap(labels, GRID, tmp_path / "out.nii.gz")
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"", b"no volume", b"\x1f\x8b\x08"])
def test_a_volume_that_has_gone_or_was_replaced_is_no_model(tmp_path, content):
    like = tmp_path / "ct.nii.gz"
    if content is not None:
        like.write_bytes(content)
    save_labelmap(random_labels(), GRID, tmp_path / "out.nii.gz", like=like)
    assert load_labelmap(tmp_path / "out.nii.gz")[1].same_as(GRID)
