"""Volumes written to disk, and the real ones where they are at hand."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from tests.geometry.grids import SHAPE, affine_of


def hu(shape=SHAPE, seed=0) -> np.ndarray:
    """(X, Y, Z) int16 values like those of a CT."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape, dtype=np.int16)


@pytest.fixture
def nifti(tmp_path):
    def write(array, affine=None, name="ct.nii.gz"):
        path = tmp_path / name
        affine = affine_of("LPS", (0.8, 0.8, 3)) if affine is None else affine
        nib.save(nib.Nifti1Image(array, affine), path)
        return path

    return write


@pytest.fixture
def real():
    """A file of the data shared between the project's workplaces, which are never committed."""
    root = Path(os.environ.get("SAM2_CT_DATA", Path(__file__).parents[3] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"{name} is not among the real volumes (set SAM2_CT_DATA to their folder)")
        return root / name

    return find


@pytest.fixture
def series(tmp_path):
    """Write (X, Y, Z) int16 as a DICOM series; returns the folder."""

    def write(
        array,
        *,
        folder="series",
        direction=(1, 0, 0, 0, 1, 0),
        origin=(-50.0, -60.0, 100.0),
        spacing=(0.8, 0.7),
        offsets=None,
        step=None,
        description="THORAX",
        uid=None,
        skip=(),
        **tags,
    ):
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        row, column = np.array(direction[:3], float), np.array(direction[3:], float)
        step = np.cross(row, column) * 2.5 if step is None else np.asarray(step, float)
        uid = uid or generate_uid()
        for k in set(range(array.shape[2])) - set(skip):
            offset = step * k if offsets is None else np.cross(row, column) * offsets[k]
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            # names in an order that is not that of the slices
            path = target / f"{(k * 7) % 101:03d}_{uid[-4:]}.dcm"
            ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
            ds.is_little_endian, ds.is_implicit_VR = True, False
            ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            ds.SeriesInstanceUID, ds.SeriesDescription, ds.Modality = uid, description, "CT"
            ds.StudyInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.4"
            ds.PatientID, ds.InstanceNumber = "phantom", k + 1
            ds.ImageOrientationPatient = [f"{v:.6f}" for v in direction]
            ds.ImagePositionPatient = [f"{v:.6f}" for v in np.asarray(origin) + offset]
            ds.PixelSpacing = [str(spacing[1]), str(spacing[0])]  # between rows, then columns
            ds.SliceThickness = "2.5"
            ds.Columns, ds.Rows = array.shape[:2]
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
            ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
            for name, value in tags.items():
                setattr(ds, name, value)
            ds.PixelData = (array[:, :, k].T.astype(np.int32) + 1024).astype(np.uint16).tobytes()
            pydicom.dcmwrite(path, ds, write_like_original=False)
        return target

    return write


@pytest.fixture
def multiframe(tmp_path):
    """Write (X, Y, Z) int16 as one Enhanced CT file in a folder of its own; returns the file."""

    def sequence(**tags):
        item = Dataset()
        for name, value in tags.items():
            setattr(item, name, value)
        return Sequence([item])

    def write(array, direction, origin=(-50.0, -60.0, 100.0), spacing=(0.8, 0.7), step=2.5):
        folder = tmp_path / "enhanced"
        folder.mkdir()
        path = folder / "volume.dcm"
        normal = np.cross(direction[:3], direction[3:])
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        ds.is_little_endian, ds.is_implicit_VR = True, False
        ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.3", generate_uid(), "CT"
        ds.Columns, ds.Rows, ds.NumberOfFrames = array.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.SharedFunctionalGroupsSequence = sequence(
            PlaneOrientationSequence=sequence(ImageOrientationPatient=list(direction)),
            PixelMeasuresSequence=sequence(
                PixelSpacing=[spacing[1], spacing[0]], SliceThickness=step
            ),
            PixelValueTransformationSequence=sequence(
                RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU"
            ),
        )
        ds.PerFrameFunctionalGroupsSequence = Sequence(
            sequence(
                PlanePositionSequence=sequence(
                    ImagePositionPatient=[
                        f"{v:.6f}" for v in np.asarray(origin) + k * step * normal
                    ]
                ),
                FrameContentSequence=sequence(DimensionIndexValues=[k + 1]),
            )[0]
            for k in range(array.shape[2])
        )
        ds.PixelData = (array.T.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        pydicom.dcmwrite(path, ds, write_like_original=False)
        return path

    return write
