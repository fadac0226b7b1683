"""The sample CT as a DICOM CT series: straight, oblique, or feet first."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from lib.sample.ct import SampleCT

KINDS = ("straight", "oblique", "feet-first")

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_INTERCEPT = -1024


def as_acquired(sample: SampleCT, kind: str) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """How a scanner would have stored the sample.

    Args:
        sample: RAS.
        kind: `straight` (columns to the left, rows to the back, slices to the head), `oblique`
            (the same, the table turned by some degrees about two axes), or `feet-first` (columns
            to the right, rows to the back, slices to the feet).

    Returns:
        HU and labels (columns, rows, slices), and the (4, 4) affine from voxel index to RAS mm.
    """
    codes = ("R", "P", "I") if kind == "feet-first" else ("L", "P", "S")
    move = nib.orientations.ornt_transform(
        nib.io_orientation(sample.affine), nib.orientations.axcodes2ornt(codes)
    )
    ct, labels = (nib.apply_orientation(v, move) for v in (sample.ct, sample.labels))
    affine = sample.affine @ nib.orientations.inv_ornt_aff(move, sample.ct.shape)
    if kind == "oblique":
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xz", [14, 9], degrees=True).as_matrix()
        affine = turn @ affine
    return ct, labels, affine


def write_series(
    hu: NDArray, affine: NDArray[np.float64], folder: Path, *, kind: str, seed: int = 0
) -> str:
    """Write a volume (columns, rows, slices) as CT images, one a slice; returns the series UID."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = _RAS_TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    row, column = (lps[:3, d] / spacing[d] for d in (0, 1))
    uids = {
        name: generate_uid(entropy_srcs=["sam2_ct sample", kind, str(seed), name])
        for name in ("study", "series", "frame")
    }
    for k in range(hu.shape[2]):
        image = _header(kind, seed, uids, k)
        image.Rows, image.Columns = hu.shape[1], hu.shape[0]
        image.PixelSpacing = [_number(spacing[1]), _number(spacing[0])]
        image.SliceThickness = _number(spacing[2])
        image.ImageOrientationPatient = [_number(v) for v in (*row, *column)]
        position = lps @ [0, 0, k, 1]
        image.ImagePositionPatient = [_number(v) for v in position[:3]]
        image.SliceLocation = _number(position[:3] @ np.cross(row, column))
        stored = hu[:, :, k].T.astype(np.int32) - _INTERCEPT
        image.PixelData = np.clip(stored, 0, 4095).astype("<u2").tobytes()
        image.save_as(folder / f"{k + 1:04d}.dcm", write_like_original=False)
    return uids["series"]


def _header(kind: str, seed: int, uids: dict[str, str], k: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uids["series"], str(k)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.is_little_endian, image.is_implicit_VR = True, False
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.StudyDate = image.SeriesDate = image.ContentDate = image.AcquisitionDate = "20260102"
    image.StudyTime = image.SeriesTime = image.ContentTime = image.AcquisitionTime = "101112"
    image.AccessionNumber = ""
    image.Modality = "CT"
    image.Manufacturer = "sam2_ct"
    image.ReferringPhysicianName = ""
    image.StudyDescription = "sam2_ct sample"
    image.SeriesDescription = f"phantom {kind}"
    image.PatientName = f"Phantom^{kind}"
    image.PatientID = f"phantom-{kind}-{seed}"
    image.PatientBirthDate = ""
    image.PatientSex = "O"
    image.StudyInstanceUID, image.SeriesInstanceUID = uids["study"], uids["series"]
    image.FrameOfReferenceUID = uids["frame"]
    image.PositionReferenceIndicator = ""
    image.StudyID = "1"
    image.SeriesNumber = 1
    image.AcquisitionNumber = 1
    image.InstanceNumber = k + 1
    image.PatientPosition = "FFS" if kind == "feet-first" else "HFS"
    image.KVP = 120
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = _INTERCEPT, 1, "HU"
    image.WindowCenter, image.WindowWidth = 400, 1800
    return image


def _number(value: float) -> str:
    """A decimal string: DICOM allows 16 characters."""
    return f"{float(value):.10g}"[:16]
