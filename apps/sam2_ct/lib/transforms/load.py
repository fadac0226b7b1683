"""Volumes and label maps from files: NIfTI, NRRD, or a folder with one DICOM series."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import psutil
import pydicom
from isal import isal_zlib
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Grid
from lib.transforms import header as headers
from lib.transforms.dicom import series_files
from lib.transforms.header import Format, Header, read_header
from lib.transforms.labels import narrowed
from lib.transforms.volume import Volume

NIFTI = (".nii", ".nii.gz")
_DICOM = (".dcm", ".dicom", ".ima")

_GREATEST = float(np.finfo(np.float32).max)
_SLICES = 16  # of a DICOM series, at a time
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: What nibabel, gzip, pynrrd, pydicom and ITK raise on a damaged or foreign file.
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,  # RecursionError, too
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    isal_zlib.error,
    nrrd.NRRDError,
    pydicom.errors.InvalidDicomError,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
)


def load_volume(path: str | Path) -> Volume:
    """The CT or MR volume at `path`, as stored.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd`, a folder with one DICOM series, or one multi-frame DICOM.

    Returns:
        The volume in the file's voxel order and number type.

    Raises:
        BadInput: missing, damaged or foreign file; not three dimensions (a trailing one of
            length 1 is dropped); NaN, infinity or one value throughout; several or no DICOM
            series, or one that does not fill a straight grid.
    """
    path = Path(path)
    volume = _read(path)
    low, high = volume.extremes
    if not (np.isfinite(low) and np.isfinite(high)):
        count = volume.stored.size - int(np.isfinite(volume.stored).sum())
        raise BadInput(f"{path} has {count} voxels that are NaN or infinite: repair it first")
    if max(-low, high) > _GREATEST:  # of integers, with the slope of the header
        raise BadInput(f"{path} has grey values up to {max(-low, high):.3g}: repair its header")
    if low == high:
        raise BadInput(f"{path} has the value {low:g} in every voxel: there is nothing to segment")
    return volume


def load_labelmap(path: str | Path) -> tuple[np.ndarray, Grid]:
    """An integer label map, as stored.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd` or a `.seg.nrrd` of one layer.

    Returns:
        (X, Y, Z) of an unsigned integer type, 0 = background, and its grid.

    Raises:
        BadInput: missing or damaged file, not three dimensions, negative or fractional values.
    """
    path = Path(path)
    read = _read(path)
    try:
        return narrowed(read.grey), read.grid
    except BadInput as error:
        raise BadInput(f"{path} is not a label map: {error}") from None


def read_grid(path: str | Path) -> Grid:
    """Where the voxels of a volume or label map lie, by its headers: no voxel is read.

    Raises:
        BadInput: as `load_volume` of the headers.
    """
    path = Path(path)
    files, _ = _dicom_files(path)
    if files:
        with _told(path):
            shape, affine = _dicom_grid(files)
        return Grid(_three(shape, path), affine)
    promised = _promised(path)
    return Grid(_three(promised.shape, path), promised.affine)


def _read(path: Path) -> Volume:
    """What a file or folder holds: numbers of any kind that are one volume."""
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    files, warnings = _dicom_files(path)
    if files:
        return _dicom(path, files, warnings)
    if path.name.lower().endswith(".nhdr"):
        return _detached(path)
    promised = _promised(path)
    _three(promised.shape, path)
    _check_memory(path, promised)
    slope, intercept = 1.0, 0.0
    with _told(path):
        if promised.format is Format.NRRD:
            with path.open("rb") as file:
                stored = headers.read_nrrd(file)
        else:
            stored, slope, intercept = headers.read_nifti(path)
    volume = _volume(path, stored, promised.affine, promised.placed)
    return replace(volume, slope=slope, intercept=intercept)


def _promised(path: Path) -> Header:
    """The header of a NIfTI or NRRD file whose ending says what it is."""
    if not path.is_file():  # whoever opens a pipe may wait for ever
        raise BadInput(f"there is no file or folder {path}")
    name = path.name.lower()
    if not name.endswith((*NIFTI, ".nrrd")):
        raise BadInput(
            f"{path} has an unknown ending: give a .nii, .nii.gz or .nrrd file, or a DICOM folder"
        )
    with _told(path):
        promised = read_header(path)
    if not name.endswith(promised.format.value):
        raise _damaged(path, f"its content is {promised.format.value}")
    return promised


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises, as a sentence about it."""
    try:
        yield
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> BadInput:
    reason = " ".join(str(reason).split())[:200]
    return BadInput(f"{path} is damaged or not what its ending says ({reason})")


def _check_memory(path: Path, promised: Header) -> None:
    needed = promised.voxel_bytes
    free = psutil.virtual_memory().available
    if needed > free:
        raise BadInput(
            f"{path} needs {needed >> 20} MB of memory for {promised.shape} voxels, and this "
            f"machine has {free >> 20} MB free: crop the volume, or free some memory"
        )


def _dicom_files(path: Path) -> tuple[list[Path], list[str]]:
    """The files of a DICOM volume, in order, and warnings; none if it is something else."""
    if path.is_dir():
        return series_files(path)
    return ([path] if path.name.lower().endswith(_DICOM) else []), []


def _dicom(path: Path, files: list[Path], warnings: list[str]) -> Volume:
    """Slices that are known to be one volume, in order, by ITK."""
    with _told(path):
        stored = _stacked(files) if len(files) > 1 else _all_frames(files)
        _, affine = _dicom_grid(files)
    volume = _volume(path, stored.T, affine, placed=True)
    return replace(volume, warnings=(*volume.warnings, *warnings))


def _dicom_grid(files: list[Path]) -> tuple[tuple[int, ...], NDArray[Any]]:
    """Shape, and (4, 4) voxel index → RAS+ mm, of a volume's files by their headers."""
    import itk

    reader = itk.ImageSeriesReader[itk.Image[itk.SS, 3]].New(
        FileNames=[str(file) for file in files], ImageIO=itk.GDCMImageIO.New()
    )
    reader.UpdateOutputInformation()
    image = reader.GetOutput()
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return tuple(image.GetLargestPossibleRegion().GetSize()), _LPS_TO_RAS @ affine


def _all_frames(files: list[Path]) -> NDArray[Any]:
    """(Z, Y, X) of a multi-frame file, which ITK reads at once."""
    frames = _itk_voxels(files)
    return frames.astype(_fitting(frames))


def _stacked(files: list[Path]) -> NDArray[Any]:
    """(Z, Y, X) of a series, some slices at a time: while ITK reads, no other thread works."""
    stored: NDArray[Any] | None = None
    for first in range(0, len(files), _SLICES):
        voxels = _itk_voxels(files[first : first + _SLICES])
        slices = voxels.reshape(-1, *voxels.shape[-2:])
        fitting = _fitting(slices)
        if stored is None:
            stored = np.empty((len(files), *slices.shape[1:]), fitting)
        elif not np.can_cast(fitting, stored.dtype):
            stored = stored.astype(np.promote_types(fitting, stored.dtype))
        stored[first : first + _SLICES] = slices
    assert stored is not None  # there are files
    return stored


def _fitting(voxels: NDArray[Any]) -> np.dtype[Any]:
    """16 bits if they hold the voxels: with an intercept ITK makes 32-bit integers of them."""
    short = np.iinfo(np.int16)
    fits = voxels.dtype == np.int32 and short.min <= voxels.min() <= voxels.max() <= short.max
    return np.dtype(np.int16) if fits else voxels.dtype


def _itk_voxels(files: list[Path]) -> NDArray[Any]:
    """Voxels of files as ITK reads them, last index first."""
    import itk  # costs seconds: only when a DICOM is read

    names = [str(name) for name in files]
    # named, or ITK would choose the reader by a file's first bytes, which are anybody's
    image = itk.imread(names if len(names) > 1 else names[0], imageio=itk.GDCMImageIO.New())
    return itk.array_view_from_image(image)


def _detached(path: Path) -> Volume:
    """A header on one's own disk, with its voxels in a file beside it."""
    try:
        fields = nrrd.read_header(str(path))
        named = str(fields.get("data file", fields.get("datafile", path.name)))
        if Path(named).name != named or named.startswith("LIST") or "%" in named:
            raise BadInput(f"{path} names {named!r}: its voxels must lie beside it in one file")
        affine, placed = headers.nrrd_affine(fields)
        with path.open("rb") as file:
            nrrd.read_header(file)
            stored = nrrd.read_data(fields, file, str(path))
    except BadInput:
        raise
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    return _volume(path, stored, affine, placed)


def _volume(path: Path, stored: NDArray[Any], affine: NDArray[Any], placed: bool) -> Volume:
    stored = stored.reshape(_three(stored.shape, path), order="F")
    if stored.dtype.names or not np.issubdtype(stored.dtype, np.number) or np.iscomplexobj(stored):
        raise BadInput(
            f"{path} holds colours or complex numbers: give a volume with one value each"
        )
    if stored.dtype.kind == "f":
        stored = stored.astype(np.float32, copy=False)
    guess = f"{path.name} does not say how it lies in space; left and right are a guess"
    return Volume(stored, Grid(stored.shape, affine), warnings=() if placed else (guess,))


def _three(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """A shape of three dimensions; trailing ones of length 1 are dropped."""
    three = shape
    while len(three) > 3 and three[-1] == 1:
        three = three[:-1]
    if len(three) != 3:
        raise BadInput(f"{path} has {len(shape)} dimensions {shape}: give one volume with three")
    if min(three) < 2:
        raise BadInput(f"{path} is a single slice {shape}: give a volume with several slices")
    return three
