import gzip

import nibabel as nib
import nrrd
import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Grid
from lib.transforms import load
from lib.transforms.load import load_labelmap, load_volume, read_grid
from tests.geometry.grids import AFFINES, SHAPE, affine_of
from tests.transforms.conftest import hu

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_nrrd(path, array, affine, space="left-posterior-superior"):
    """By hand, so that the loader is not tested against the saver."""
    flip = LPS if space == "left-posterior-superior" else np.eye(4)
    affine = flip @ affine
    header = {
        "space": space,
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
    }
    nrrd.write(str(path), array, header)
    return path


def dicom_affine(direction) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1: position + i * row * spacing + j * column * spacing, in RAS+."""
    row, column = np.array(direction[:3]), np.array(direction[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * 0.8, column * 0.7
    affine[:3, 2] = np.cross(row, column) * 2.5
    affine[:3, 3] = (-50, -60, 100)
    return LPS @ affine


class TestNifti:
    @pytest.mark.parametrize("affine", AFFINES)
    def test_voxels_and_affine_are_the_files(self, nifti, affine):
        array = hu()
        image = load_volume(nifti(array, affine))
        assert image.stored.dtype == np.int16
        np.testing.assert_array_equal(image.grey, array)
        np.testing.assert_allclose(image.grid.affine, affine, atol=1e-4)
        assert image.warnings == ()

    def test_slope_and_intercept_are_applied(self, tmp_path):
        image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
        image.header.set_slope_inter(2.0, -1000.0)
        nib.save(image, tmp_path / "ct.nii")
        expected = np.asarray(nib.load(tmp_path / "ct.nii").dataobj).astype(np.float32)
        volume = load_volume(tmp_path / "ct.nii")
        assert volume.stored.dtype == np.int16
        np.testing.assert_array_equal(volume.grey, expected)

    def test_big_endian(self, tmp_path):
        array = hu()
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(">i2")
        nib.save(nib.Nifti1Image(array.astype(">i2"), np.eye(4), header), tmp_path / "ct.nii")
        np.testing.assert_array_equal(load_volume(tmp_path / "ct.nii").grey, array)

    def test_trailing_singleton_is_dropped(self, nifti):
        array = hu()
        image = load_volume(nifti(array[..., None]))
        np.testing.assert_array_equal(image.grey, array)

    def test_without_orientation_it_warns(self, tmp_path):
        image = nib.Nifti1Image(hu(), None)
        nib.save(image, tmp_path / "ct.nii.gz")
        (warning,) = load_volume(tmp_path / "ct.nii.gz").warnings
        assert "left and right are a guess" in warning


class TestNrrd:
    @pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
    @pytest.mark.parametrize("affine", AFFINES)
    def test_affine_comes_out_in_ras(self, tmp_path, affine, space):
        array = hu()
        image = load_volume(write_nrrd(tmp_path / "ct.nrrd", array, affine, space))
        np.testing.assert_array_equal(image.grey, array)
        np.testing.assert_allclose(image.grid.affine, affine, atol=1e-6)

    def test_left_anterior_superior(self, tmp_path):
        header = {
            "space": "left-anterior-superior",
            "space directions": np.diag([2.0, 3.0, 4.0]),
            "space origin": [10.0, 20.0, 30.0],
        }
        nrrd.write(str(tmp_path / "ct.nrrd"), hu(), header)
        image = load_volume(tmp_path / "ct.nrrd")
        expected = [[-2, 0, 0, -10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
        np.testing.assert_allclose(image.grid.affine, expected)

    def test_without_orientation_it_warns(self, tmp_path):
        nrrd.write(str(tmp_path / "ct.nrrd"), hu(), {"spacings": [1.0, 2.0, 3.0]})
        image = load_volume(tmp_path / "ct.nrrd")
        assert image.grid.spacing == (1, 2, 3)
        assert "left and right are a guess" in image.warnings[0]

    def test_agrees_with_itk(self, tmp_path):
        itk = pytest.importorskip("itk")
        affine = affine_of("PIR", (0.7, 2.5, 1.3), degrees=(10, 20, 30))
        path = write_nrrd(tmp_path / "ct.nrrd", hu(), affine)
        image = itk.imread(str(path))
        corner = LPS[:3, :3] @ np.array(image.TransformIndexToPhysicalPoint([3, 5, 7]))
        ours = load_volume(path).grid.affine @ [3, 5, 7, 1]
        np.testing.assert_allclose(ours[:3], corner, atol=1e-6)


class TestDicom:
    @pytest.mark.parametrize(
        "direction",
        [
            pytest.param((1, 0, 0, 0, 1, 0), id="axial"),
            pytest.param((-1, 0, 0, 0, 1, 0), id="feet-first"),
            pytest.param((0, 1, 0, 0, 0, -1), id="sagittal"),
            pytest.param((1, 0, 0, 0, 0, -1), id="coronal"),
            pytest.param((0.8, 0.6, 0, -0.36, 0.48, 0.8), id="oblique"),
        ],
    )
    def test_voxels_lie_where_the_standard_puts_them(self, series, direction):
        array = hu()
        folder = series(array, direction=direction)
        image = load_volume(folder)
        np.testing.assert_array_equal(image.grey, array)
        np.testing.assert_allclose(image.grid.affine, dicom_affine(direction), atol=1e-4)

    @pytest.mark.parametrize("whole_folder", [False, True])
    @pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0), (0.8, 0.6, 0, -0.36, 0.48, 0.8)])
    def test_multi_frame(self, multiframe, direction, whole_folder):
        array = hu()
        path = multiframe(array, direction)
        image = load_volume(path.parent if whole_folder else path)
        np.testing.assert_array_equal(image.grey, array)
        np.testing.assert_allclose(image.grid.affine, dicom_affine(direction), atol=1e-4)

    @pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0), (0.8, 0.6, 0, -0.36, 0.48, 0.8)])
    def test_the_grid_comes_from_headers_alone(self, series, multiframe, direction, monkeypatch):
        folder, file = series(hu(), direction=direction), multiframe(hu(), direction)
        grids = [load_volume(path).grid for path in (folder, file)]
        monkeypatch.setattr(load, "_itk_voxels", None)  # nobody may read voxels any more
        for path, expected in zip((folder, file), grids, strict=True):
            found = read_grid(path)
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found.affine, expected.affine)

    def test_two_series_are_listed(self, series):
        series(hu(), uid="1.2.840.1", description="ARTERIAL")
        folder = series(hu(), uid="1.2.840.2", description="VENOUS")
        with pytest.raises(BadInput) as caught:
            load_volume(folder)
        for part in ("2 DICOM series", "1.2.840.1 (ARTERIAL, 9 images)", "1.2.840.2 (VENOUS"):
            assert part in str(caught.value)

    def test_segmentations_and_other_files_beside_the_series_do_not_matter(self, series):
        array = hu()
        folder = series(array)
        series(array[:, :, :1], uid="1.2.9.9", Modality="SEG", NumberOfFrames=1)
        (folder / "README.txt").write_text("notes")
        np.testing.assert_array_equal(load_volume(folder).grey, array)

    def test_no_series(self, tmp_path):
        (tmp_path / "notes.txt").write_text("nothing here")
        with pytest.raises(BadInput, match="no DICOM images in"):
            load_volume(tmp_path)

    def test_missing_slice(self, series):
        with pytest.raises(BadInput, match=r"not evenly spaced \(5.00 mm between slices 3 and 4"):
            load_volume(series(hu(), skip=[4]))

    def test_slices_a_little_off_are_a_warning(self, series):
        offsets = np.arange(9) * 2.5
        offsets[4] += 0.1
        image = load_volume(series(hu(), offsets=offsets))
        (warning,) = image.warnings
        assert "not quite evenly spaced" in warning

    def test_doubled_slices(self, series):
        series(hu(), uid="1.2.3.1111")
        offsets = np.arange(9) * 2.5
        folder = series(
            hu(seed=1), uid="1.2.3.2222", offsets=offsets, SeriesInstanceUID="1.2.3.1111"
        )
        with pytest.raises(BadInput, match=r"two images at the same position \[-50.0, -60.0,"):
            load_volume(folder)

    def test_tilted_gantry(self, series):
        with pytest.raises(BadInput, match=r"gantry tilted by 15.0 degrees: resample"):
            load_volume(series(hu(), step=(0, 2.5 * np.tan(np.radians(15)), 2.5)))

    def test_localizer_in_the_same_series(self, series):
        series(hu(), uid="1.2.3.4444")
        folder = series(
            hu((14, 11, 1)),
            uid="1.2.3.5555",
            SeriesInstanceUID="1.2.3.4444",
            direction=(1, 0, 0, 0, 0, -1),
        )
        with pytest.raises(BadInput, match="different directions: remove the localizer"):
            load_volume(folder)

    @pytest.mark.parametrize(("brightest", "kept"), [(3000, np.int16), (40_000, np.int32)])
    def test_many_slices_in_the_least_type(self, series, brightest, kept):
        array = hu((14, 11, 40)).astype(np.int32)
        array[3, 4, 37] = brightest  # in the last of the slices that are read together
        volume = load_volume(series(array))
        assert volume.stored.dtype == kept
        np.testing.assert_array_equal(volume.grey, array)
        np.testing.assert_allclose(volume.grid.affine, dicom_affine((1, 0, 0, 0, 1, 0)), atol=1e-4)

    def test_mixed_sizes(self, series):
        series(hu(), uid="1.2.3.4444")
        folder = series(
            hu((14, 12, 1)),
            uid="1.2.3.5555",
            SeriesInstanceUID="1.2.3.4444",
            origin=(-50, -60, 97.5),
        )
        with pytest.raises(BadInput, match="different size or pixel size"):
            load_volume(folder)

    @pytest.mark.parametrize(
        ("tag", "sentence"),
        [
            ("ImagePositionPatient", "without a position in space"),
            ("ImageOrientationPatient", "without a position in space"),
            ("PixelSpacing", "without a pixel size"),
        ],
    )
    def test_geometry_left_empty(self, series, tag, sentence):
        with pytest.raises(BadInput, match=sentence):
            load_volume(series(hu(), **{tag: None}))

    def test_one_slice(self, series):
        with pytest.raises(BadInput, match="is a single slice"):
            load_volume(series(hu((14, 11, 1))))


class TestRefused:
    def test_missing_file(self, tmp_path):
        with pytest.raises(BadInput, match=r"there is no file or folder .*ct.nii.gz"):
            load_volume(tmp_path / "ct.nii.gz")

    @pytest.mark.parametrize("name", ["ct.mha", "ct.png", "ct"])
    def test_unknown_ending(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"?")
        with pytest.raises(BadInput, match=r"unknown ending: give a .nii"):
            load_volume(tmp_path / name)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd"])
    @pytest.mark.parametrize("keep", [0.0, 0.02, 0.6])
    def test_truncated(self, tmp_path, name, keep):
        if name.endswith("nrrd"):
            write_nrrd(tmp_path / name, hu((40, 40, 40)), np.eye(4))
        else:
            nib.save(nib.Nifti1Image(hu((40, 40, 40)), np.eye(4)), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(keep * len(whole))])
        with pytest.raises(BadInput, match="is damaged or not what its ending says"):
            load_volume(tmp_path / name)

    def test_corrupted_gzip(self, nifti):
        path = nifti(np.sort(hu((40, 40, 40)), axis=None).reshape(40, 40, 40))
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
        path.write_bytes(data)
        with pytest.raises(BadInput, match="is damaged"):
            load_volume(path)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.dcm"])
    def test_something_else_under_that_name(self, tmp_path, name):
        (tmp_path / name).write_bytes(gzip.compress(b"a letter" * 100))
        with pytest.raises(BadInput, match="is damaged or not what its ending says"):
            load_volume(tmp_path / name)

    @pytest.mark.parametrize("shape", [(20, 20), (20, 20, 1), (20, 20, 5, 3), (20, 20, 5, 1, 3)])
    def test_dimensions(self, nifti, shape):
        with pytest.raises(BadInput, match=r"give one volume with three|is a single slice"):
            load_volume(nifti(hu(shape)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, nifti, value):
        array = hu().astype(np.float32)
        array[3, 4, 5:7] = value
        with pytest.raises(BadInput, match="2 voxels that are NaN or infinite"):
            load_volume(nifti(array))

    def test_constant(self, nifti):
        with pytest.raises(BadInput, match="value -1024 in every voxel"):
            load_volume(nifti(np.full(SHAPE, -1024, np.int16)))

    def test_colours(self, tmp_path):
        rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "ct.nii")
        with pytest.raises(BadInput, match="colours"):
            load_volume(tmp_path / "ct.nii")

    @pytest.mark.parametrize("shape", [(20, 20), (20, 20, 5, 1, 3)])
    def test_every_error_is_one_line(self, nifti, shape):
        with pytest.raises(BadInput) as caught:
            load_volume(nifti(hu(shape)))
        assert "\n" not in str(caught.value)


class TestLabelmap:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
    def test_whole_numbers_of_any_type(self, nifti, dtype):
        labels = np.zeros(SHAPE, dtype)
        labels[1, 2, 3], labels[4, 5, 6] = 7, 104
        array, grid = load_labelmap(nifti(labels))
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, labels)
        assert grid.same_as(Grid(SHAPE, affine_of("LPS", (0.8, 0.8, 3))))

    def test_large_values(self, nifti):
        labels = np.zeros(SHAPE, np.int32)
        labels[1, 2, 3] = 40_000
        array, _ = load_labelmap(nifti(labels))
        assert (array.dtype, array.max()) == (np.uint16, 40_000)

    @pytest.mark.parametrize("name", ["p.nrrd", "p.seg.nrrd"])
    def test_nrrd(self, tmp_path, name):
        affine = affine_of("PIR", (1, 2, 3), degrees=(5, 6, 7))
        labels = (hu() > 1200).astype(np.uint8)
        array, grid = load_labelmap(write_nrrd(tmp_path / name, labels, affine))
        np.testing.assert_array_equal(array, labels)
        np.testing.assert_allclose(grid.affine, affine, atol=1e-6)

    def test_a_trailing_dimension_says_nothing(self, tmp_path):
        affine = affine_of("PIR", (1, 2, 3), degrees=(5, 6, 7))
        labels = (hu() > 1200).astype(np.uint8)
        _, header = nrrd.read(str(write_nrrd(tmp_path / "three.nrrd", labels, affine)))
        header["space directions"] = np.vstack([header["space directions"], np.full(3, np.nan)])
        nrrd.write(str(tmp_path / "four.nrrd"), labels[..., None], header)
        array, grid = load_labelmap(tmp_path / "four.nrrd")
        np.testing.assert_array_equal(array, labels)
        np.testing.assert_allclose(grid.affine, affine, atol=1e-6)

    def test_overlapping_segments_in_layers(self, tmp_path):
        header = {
            "space": "left-posterior-superior",
            "space directions": np.vstack([np.full(3, np.nan), np.eye(3)]),
            "space origin": np.zeros(3),
            "kinds": ["list", "domain", "domain", "domain"],
        }
        nrrd.write(str(tmp_path / "p.seg.nrrd"), np.zeros((2, *SHAPE), np.uint8), header)
        with pytest.raises(BadInput, match="has 4 dimensions"):
            load_labelmap(tmp_path / "p.seg.nrrd")

    @pytest.mark.parametrize(
        ("value", "sentence"),
        [
            (-1, "negative value -1"),
            (0.5, "fractional values"),
            (np.nan, "fractional values"),
            (70_000, "label 70000: use labels up to 65535"),
        ],
    )
    def test_what_is_refused(self, nifti, value, sentence):
        labels = np.zeros(SHAPE, np.float32)
        labels[1, 1, 1] = value
        with pytest.raises(BadInput, match=sentence):
            load_labelmap(nifti(labels))

    def test_four_dimensions(self, nifti):
        with pytest.raises(BadInput, match="has 4 dimensions"):
            load_labelmap(nifti(np.zeros((5, 5, 5, 2), np.uint8)))


class TestReal:
    def test_dicom_equals_its_nifti_twin(self, real):
        dicom = load_volume(real("dicom_thigh/STS_003_CT"))
        nifti = load_volume(real("dicom_thigh/STS_003_CT_image.nii.gz"))
        np.testing.assert_array_equal(dicom.grey, nifti.grey)
        assert dicom.grid.same_as(nifti.grid)

    def test_segmentation_lies_on_its_chest_ct(self, real):
        ct = load_volume(real("slicerio/CTChest4.nrrd"))
        labels, grid = load_labelmap(real("slicerio/Segmentation.seg.nrrd"))
        assert grid.same_as(ct.grid)
        assert set(np.unique(labels)) == set(range(8))
        bone, elsewhere = (ct.grey[m].mean() for m in (labels > 0, labels == 0))
        assert bone > elsewhere + 200

    def test_nrrd_masks_lie_on_their_dicom(self, real):
        ct = load_volume(real("dcmqi/ct-3slice"))
        labels, grid = load_labelmap(real("dcmqi/spine_seg.nrrd"))
        grid.map_to(ct.grid)
        assert ct.grey[labels > 0].mean() > 50

    def test_head_that_is_not_in_hu(self, real):
        ct = load_volume(real("slicer_cthead/series"))
        assert ct.grid.shape == (64, 64, 93)
        assert ct.extremes[0] == 0
