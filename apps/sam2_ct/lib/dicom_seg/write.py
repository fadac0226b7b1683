"""A label map as a DICOM Segmentation of the series it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr.coding import CodedConcept
from highdicom.uid import UID
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from skimage.color import rgb2lab

from lib.dicom_seg.codes import STRUCTURE, coded
from lib.dicom_seg.segments import Segment, complete
from lib.errors import BadInput
from lib.files import write_whole
from lib.geometry import Grid
from lib.transforms.dicom import series_files
from lib.version import __version__

_NAME = "sam2_ct"
_SERIES_NUMBER = 300

# All that is read of the images, so that nothing else can get into the file: where they lie, what
# they are, and of patient and study what a SEG must have (attributes of type 1 and 2) and what
# says that the rest was taken out.
_READ = [
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    "ReferringPhysicianName",
]


def save_dicom_seg(
    masks: Mapping[int, NDArray[np.bool_]],
    grid: Grid,
    path: str | Path,
    series: Path,
    segments: Mapping[int, Segment],
) -> None:
    """Write a binary DICOM SEG that refers to the images of a series; whole or not at all.

    Args:
        masks: number of an object → (X, Y, Z) bool; they may overlap. An empty one is left out.
        grid: where the voxels lie; the series' grid, or a flip or permutation of it.
        path: the file to write.
        series: folder of the series, one file a slice.
        segments: names and colours by number; what is not among them is called `object N`.

    Raises:
        BadInput: nothing is segmented; there is no series, it is one multi-frame file, or lies on
            another grid; the file cannot be written.
    """
    if not series.is_dir():
        raise BadInput(
            f"a DICOM SEG refers to the images of a series, and {series} is none: give a folder "
            "with the series as CT, or choose .nii.gz"
        )
    files, _ = series_files(series)
    if len(files) < 2:
        raise BadInput(
            f"{series} is one multi-frame DICOM file: a DICOM SEG is written for a series of "
            "single images only, choose .nii.gz or .nrrd"
        )
    found = {i: mask for i, mask in sorted(masks.items()) if mask.any()}
    if not found:
        raise BadInput("the result is empty: a DICOM SEG cannot hold an empty segmentation")
    images = [
        pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_READ)) for file in files
    ]
    theirs = grid_of_series(images)
    onto = grid.map_to(theirs)
    frames = np.zeros((*theirs.shape[::-1], len(found)), dtype=np.uint8)
    for n, mask in enumerate(found.values()):
        frames[..., n] = onto.array(mask, theirs.shape).T
    seg = Segmentation(
        source_images=images,
        pixel_array=frames,  # images, rows, columns, segments
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(n, segment)
            for n, segment in enumerate(complete(segments, found).values(), start=1)
        ],
        series_instance_uid=UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=__version__,
        device_serial_number=__version__,
        content_label="SEGMENTATION",
        content_description="segmented from marked slices",
        series_description=_NAME,
    )
    if not all(one.SegmentLabel.isascii() for one in seg.SegmentSequence):
        # the images' characters need not have them; what came from the images is read before
        seg.decode()
        seg.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    write_whole(path, seg.save_as)


def grid_of_series(images: Sequence[pydicom.Dataset]) -> Grid:
    """Grid of (columns, rows, images), in RAS, of a series in order.

    Source: DICOM PS3.3, C.7.6.2.1.1; the step between images is the one from the first to the last.
    """
    first, last = images[0], images[-1]
    positions = [np.array(i.ImagePositionPatient, dtype=float) for i in (first, last)]
    directions = np.array(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    between_rows, between_columns = (float(s) for s in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * between_columns
    affine[:3, 1] = directions[1] * between_rows
    affine[:3, 2] = (positions[1] - positions[0]) / (len(images) - 1)
    affine[:3, 3] = positions[0]
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Grid((int(first.Columns), int(first.Rows), len(images)), to_ras @ affine)


def _description(number: int, segment: Segment) -> SegmentDescription:
    what = coded(segment.name)
    description = SegmentDescription(
        segment_number=number,
        # the longest that DICOM allows; a backslash would make two values of it
        segment_label=segment.name.replace("\\", "/")[:64],
        segmented_property_category=STRUCTURE,
        segmented_property_type=what.kind,
        algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=_NAME, family=codes.cid7162.ArtificialIntelligence, version=__version__
        ),
    )
    if what.side is not None:
        (kind,) = description.SegmentedPropertyTypeCodeSequence
        kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept.from_code(what.side)]
    description.RecommendedDisplayCIELabValue = _cielab(segment.colour)
    return description


def _cielab(colour: tuple[int, int, int]) -> list[int]:
    """Scaled to 16 bits as DICOM wants it (PS3.3, C.10.7.1.1)."""
    lightness, a, b = rgb2lab(np.array(colour) / 255.0)
    scaled = (lightness / 100, (a + 128) / 255, (b + 128) / 255)
    return [round(65535 * min(max(part, 0.0), 1.0)) for part in scaled]
