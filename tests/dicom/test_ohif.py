"""OHIF's requests against a real server on a real Orthanc."""

import json
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests

from lib.geometry import Grid
from lib.sample.dicom import KINDS, as_acquired
from tests.server.viewers import TIMEOUT, Ohif


@pytest.fixture
def ohif(dicom_server) -> Ohif:
    return Ohif(dicom_server.url)


@pytest.fixture
def converted(dicom_server, series):
    """Kind → grid of the volume that the server makes of a series, which OHIF's indices are of."""

    def grid(kind: str) -> Grid:
        uid, _ = series[kind]
        answer = requests.get(
            f"{dicom_server.url}/datastore/image", params={"image": uid}, timeout=TIMEOUT
        )
        path = dicom_server.log.parent / f"{kind}.nii.gz"
        path.write_bytes(answer.content)
        image = nib.load(path)
        return Grid(image.shape, image.affine)

    return grid


def on_grid(mask: np.ndarray, sample, kind: str, grid: Grid) -> np.ndarray:
    """A mask of the sample (RAS) on the server's grid of a series."""
    value = as_acquired(sample, kind)
    stored = as_acquired(type(sample)(sample.ct, mask.astype(np.uint8), {}, sample.affine), kind)[1]
    return Grid(stored.shape, value[2]).map_to(grid).array(stored, grid.shape) > 0


def box_around(mask: np.ndarray, k: int) -> list[int]:
    at = np.argwhere(mask[..., k])
    (i0, j0), (i1, j1) = at.min(0).tolist(), at.max(0).tolist()
    return [i0, i1, j0, j1, k, k]


def middle(mask: np.ndarray, k: int) -> list[int]:
    at = np.argwhere(mask[..., k])
    return [*at[np.abs(at - at.mean(0)).sum(1).argmin()].tolist(), k]


@pytest.mark.parametrize("kind", KINDS)
def test_clicks_give_voxels_in_the_volumes_order(ohif, series, dicom_sample, hip, converted, kind):
    uid, _ = series[kind]
    grid = converted(kind)
    here = on_grid(hip, dicom_sample, kind, grid)
    k = int(np.argmax(here.sum((0, 1))))
    answer = ohif.infer("sam2_ct_slice", uid, foreground=[middle(here, k)], background=[])
    assert answer.status == 200, answer.detail
    assert answer.labels.shape == grid.shape
    assert answer.labels.dtype == np.uint8
    assert set(np.flatnonzero(answer.labels.any((0, 1)))) <= {k}
    assert answer.header["encoding"] == "raw"


def test_accepted_slices_propagate(ohif, series, dicom_sample, hip, converted):
    uid, _ = series["straight"]
    here = on_grid(hip, dicom_sample, "straight", converted("straight"))
    slices = np.flatnonzero(here.any((0, 1)))
    accepted = {}
    for k in (slices[3], slices[-4]):
        k = int(k)
        answer = ohif.infer(
            "sam2_ct_slice", uid, foreground=[], roi=box_around(here, k), label="hip"
        )
        accepted[k] = answer.labels[..., k]
    assert any(mask.any() for mask in accepted.values())
    answer = ohif.infer("sam2_ct_propagate", uid, label="hip")
    assert answer.status == 200, answer.detail
    for k, mask in accepted.items():
        if mask.any():
            np.testing.assert_array_equal(answer.labels[..., k] > 0, mask > 0)


def test_objects_are_kept_apart_by_name(ohif, series, dicom_sample, converted):
    uid, _ = series["oblique"]
    grid, found, me = converted("oblique"), {}, {"client_id": "somebody"}
    for name in ("hip_left", "hip_right"):
        value = next(v for v, n in dicom_sample.names.items() if n == name)
        here = on_grid(dicom_sample.labels == value, dicom_sample, "oblique", grid)
        k = int(np.argmax(here.sum((0, 1))))
        answer = ohif.infer("sam2_ct_slice", uid, roi=box_around(here, k), object=name, **me)
        assert answer.status == 200, answer.detail
        found[name] = k, answer.labels[..., k] > 0
    assert all(mask.any() for _, mask in found.values())
    both = ohif.infer("sam2_ct_propagate", uid, output="all", **me)
    assert both.status == 200, both.detail
    assert set(both.params["label_names"]) == set(found)
    (k_left, left), (k_right, right) = found.values()
    shared = left & right & (k_left == k_right)  # claimed twice: it can be of one object only
    for name, (k, mask) in found.items():
        value = both.params["label_names"][name]
        np.testing.assert_array_equal(both.labels[..., k][mask & ~shared], value)
    values = list(both.params["label_names"].values())
    assert np.isin(both.labels[..., k_left][shared], values).all()


def test_a_single_object_of_another_name_is_shown(ohif, series, dicom_sample, hip, converted):
    """OHIF draws no values but those of the server's labels, here `bone`, 1."""
    uid, _ = series["feet-first"]
    here = on_grid(hip, dicom_sample, "feet-first", converted("feet-first"))
    k, me = int(np.argmax(here.sum((0, 1)))), {"client_id": "one object"}
    slice_ = ohif.infer("sam2_ct_slice", uid, roi=box_around(here, k), object="hip", **me)
    assert slice_.labels.any()
    answer = ohif.infer("sam2_ct_propagate", uid, output="all", **me)
    assert answer.params["label_names"] == {"hip": 1}
    assert set(np.unique(answer.labels)) == {0, 1}


def test_unknown_series(ohif):
    for image in ("1.2.3.4", "nobody", "../../etc/passwd"):
        answer = ohif.infer("sam2_ct_points", image, foreground=[[1, 1, 1]])
        assert answer.status == 404, answer.detail


def test_random_serves_our_order(dicom_server, series):
    chosen = requests.post(f"{dicom_server.url}/activelearning/random", json={}, timeout=TIMEOUT)
    assert chosen.ok, chosen.text
    assert chosen.json()["id"] in {uid for uid, _ in series.values()}


class TestDicomSeg:
    @pytest.mark.parametrize("kind", KINDS)
    def test_reads_back_to_the_identical_mask(
        self, dicom_server, series, dicom_sample, hip, converted, tmp_path, kind
    ):
        uid, folder = series[kind]
        grid = converted(kind)
        here = on_grid(hip, dicom_sample, kind, grid)
        painted = np.zeros(here.shape, np.uint8)
        slices = np.flatnonzero(here.any((0, 1)))
        for k in (slices[0], slices[len(slices) // 2], slices[-1]):
            painted[..., k] = here[..., k]
        slicer = dicom_server.slicer()
        plain = slicer.scribbles(uid, painted, grid.affine, {"hip": 1}, "hip")
        assert plain.status == 200, plain.detail
        params = {
            "label_info": [{"name": "hip", "id": 1}],
            "selected_label_name": "hip",
            "prompt_slices": "all",
            "client_id": "seg",
        }
        label = tmp_path / "label.nii.gz"
        nib.save(nib.Nifti1Image(painted, grid.affine), label)
        answer = requests.post(
            f"{dicom_server.url}/infer/sam2_ct_masks",
            params={"image": uid, "output": "dicom_seg"},
            files={"params": (None, json.dumps(params)), "label": (label.name, label.read_bytes())},
            timeout=TIMEOUT,
        )
        assert answer.status_code == 200, answer.text
        seg = tmp_path / "seg.dcm"
        seg.write_bytes(answer.content)
        np.testing.assert_array_equal(self.by_highdicom(seg, folder, grid), plain.labels > 0)
        np.testing.assert_array_equal(self.by_dcmqi(seg, tmp_path, grid), plain.labels > 0)

    @staticmethod
    def by_highdicom(path: Path, folder: Path, grid: Grid) -> np.ndarray:
        """The mask on the server's grid, slice by slice through the images it refers to."""
        seg = hd.seg.segread(path)
        images = sorted(
            (pydicom.dcmread(p, stop_before_pixels=True) for p in folder.iterdir()),
            key=lambda image: image.InstanceNumber,
        )
        frames = seg.get_pixels_by_source_instance(
            [image.SOPInstanceUID for image in images],
            ignore_spatial_locations=True,  # dcmqi does not say that it kept them
            assert_missing_frames_are_empty=True,
        )[..., 0]
        mask = np.zeros(grid.shape, bool)
        for image, frame in zip(images, frames, strict=True):
            place = np.eye(4)
            row, column = np.reshape(np.array(image.ImageOrientationPatient, float), (2, 3))
            place[:3, 0] = row * float(image.PixelSpacing[1])
            place[:3, 1] = column * float(image.PixelSpacing[0])
            place[:3, 3] = image.ImagePositionPatient
            to_voxel = np.linalg.inv(grid.affine) @ np.diag([-1, -1, 1, 1]) @ place
            rows, columns = np.nonzero(frame)
            points = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)])
            ijk = np.rint(to_voxel @ points).astype(int)[:3]
            mask[tuple(ijk)] = True
        return mask

    @staticmethod
    def by_dcmqi(path: Path, folder: Path, grid: Grid) -> np.ndarray:
        subprocess.run(
            [Path(sys.executable).with_name("segimage2itkimage"), "--inputDICOM", path,
             "--outputDirectory", folder, "--outputType", "nii"],
            check=True,
            capture_output=True,
        )  # fmt: skip
        image = nib.load(next(folder.glob("*1.nii.gz")))
        its = Grid(image.shape[:3], image.affine)
        return its.map_to(grid).array(np.asarray(image.dataobj) > 0, grid.shape, fill=0)

    def test_empty_result(self, dicom_server, series):
        uid, _ = series["straight"]
        answer = requests.post(
            f"{dicom_server.url}/infer/sam2_ct_propagate",
            params={"image": uid, "output": "dicom_seg"},
            files={"params": (None, '{"client_id": "nobody"}')},
            timeout=TIMEOUT,
        )
        assert answer.status_code == 422
