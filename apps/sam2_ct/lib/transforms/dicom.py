"""Which files of a folder make up its one DICOM series, in order, and whether they fill a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from lib.errors import BadInput

_TAGS = [
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "Rows",
    "Columns",
    "PixelSpacing",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
_NOT_IMAGES = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG"}


def series_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of the folder's one image series from first to last slice, and warnings.

    Objects that go with a series (RTSTRUCT, SEG, reports) may lie beside it and are left alone.

    Raises:
        BadInput: no series or several; slices of different size or direction; slices that are
            missing, doubled or tilted (the volume would not be a straight grid).
    """
    series: dict[str, list[tuple[Path, pydicom.Dataset]]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except InvalidDicomError:
            continue
        if "Rows" in header and header.get("Modality", "") not in _NOT_IMAGES:
            series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if not series:
        raise BadInput(f"no DICOM images in {folder}: give the folder that holds the series itself")
    if len(series) > 1:
        listed = "; ".join(
            f"{uid} ({files[0][1].get('SeriesDescription', 'no description')}, {len(files)} images)"
            for uid, files in sorted(series.items())
        )
        raise BadInput(
            f"{folder} holds {len(series)} DICOM series, keep one of them in a folder: {listed}"
        )
    (files,) = series.values()
    if len(files) == 1:
        return [files[0][0]], []  # multi-frame, or a single slice that the loader turns down
    return _ordered(files, folder)


def _ordered(
    files: list[tuple[Path, pydicom.Dataset]], folder: Path
) -> tuple[list[Path], list[str]]:
    headers = [header for _, header in files]
    if not all(h.get("ImagePositionPatient") and h.get("ImageOrientationPatient") for h in headers):
        raise BadInput(f"the DICOM series in {folder} has images without a position in space")
    if not all(h.get("PixelSpacing") for h in headers):
        raise BadInput(f"the DICOM series in {folder} has images without a pixel size")
    if len({(h.Rows, h.Columns, *map(float, h.PixelSpacing)) for h in headers}) > 1:
        raise BadInput(f"the DICOM series in {folder} mixes images of different size or pixel size")
    directions = np.array([h.ImageOrientationPatient for h in headers], dtype=float)
    if np.abs(directions - directions[0]).max() > 1e-3:
        raise BadInput(
            f"the DICOM series in {folder} mixes images of different directions: "
            "remove the localizer"
        )
    normal = np.cross(directions[0, :3], directions[0, 3:])
    positions = np.array([h.ImagePositionPatient for h in headers], dtype=float)
    heights = positions @ normal
    order = np.argsort(heights)
    steps = np.diff(heights[order])
    usual = float(np.median(steps))

    if steps.min() < 1e-3:
        at = positions[order[int(steps.argmin())]]
        raise BadInput(
            f"the DICOM series in {folder} has two images at the same position "
            f"{np.round(at, 2).tolist()}: keep one phase or reconstruction"
        )
    # in-plane drift from first to last slice: more than half a pixel is a tilted gantry
    travel = positions[order[-1]] - positions[order[0]]
    drift = float(np.linalg.norm(travel - (travel @ normal) * normal))
    if drift > 0.5 * min(map(float, headers[0].PixelSpacing)):
        angle = np.degrees(np.arctan2(drift, abs(travel @ normal)))
        raise BadInput(
            f"the DICOM series in {folder} was taken with the gantry tilted by "
            f"{angle:.1f} degrees: resample it to a straight grid first"
        )
    uneven = np.abs(steps - usual) / usual
    worst = int(uneven.argmax())
    where = (
        f"{steps[worst]:.2f} mm between slices {worst} and {worst + 1}, elsewhere {usual:.2f} mm"
    )
    if uneven[worst] > 0.1:
        raise BadInput(
            f"the slices of the DICOM series in {folder} are not evenly spaced ({where}): "
            "a slice is missing, or resample the series first"
        )
    warnings = []
    if uneven[worst] > 0.01:
        warnings.append(f"slices are not quite evenly spaced ({where}); taken as even")
    return [files[n][0] for n in order], warnings
