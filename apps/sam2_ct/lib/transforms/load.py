"""Volumes and label maps from files: NIfTI, NRRD, or a folder with one DICOM series."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Hashable, Mapping
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import psutil
import pydicom
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from lib.errors import BadInput
from lib.geometry import Grid
from lib.transforms import header as headers
from lib.transforms.dicom import series_files
from lib.transforms.header import Format, Header, read_header

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")

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
    nrrd.NRRDError,
    pydicom.errors.InvalidDicomError,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
)


def load_volume(path: str | Path) -> MetaTensor:
    """The CT or MR volume at `path`, as stored.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd`, a folder with one DICOM series, or one multi-frame DICOM.

    Returns:
        (1, X, Y, Z) float32 in the file's voxel order; `affine` maps voxel index to RAS+ mm;
        `meta["warnings"]` is a list of sentences for the user.

    Raises:
        BadInput: missing, damaged or foreign file; not three dimensions (a trailing one of
            length 1 is dropped); NaN, infinity or one value throughout; several or no DICOM
            series, or one that does not fill a straight grid.
    """
    path = Path(path)
    array, meta = _read(path)
    volume = _three_dimensional(array, path).astype(np.float32, copy=False)
    low, high = float(volume.min()), float(volume.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = volume.size - int(np.isfinite(volume).sum())
        raise BadInput(f"{path} has {count} voxels that are NaN or infinite: repair it first")
    if low == high:
        raise BadInput(f"{path} has the value {low:g} in every voxel: there is nothing to segment")
    meta["original_channel_dim"] = 0
    meta["spatial_shape"] = np.asarray(volume.shape)
    meta["filename_or_obj"] = str(path)
    image = MetaTensor.ensure_torch_and_prune_meta(volume[None], meta)
    grid_of(image)
    return image


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
    array, meta = _read(path)
    labels = _three_dimensional(array, path)
    if not np.issubdtype(labels.dtype, np.integer):
        if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
            raise BadInput(
                f"{path} is not a label map: it has fractional values, give whole numbers"
            )
        labels = labels.astype(np.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise BadInput(f"{path} is not a label map: it has the negative value {low}")
    if high > np.iinfo(np.uint16).max:
        raise BadInput(f"{path} has the label {high}: use labels up to 65535")
    return labels.astype(np.uint8 if high < 256 else np.uint16), Grid(
        labels.shape, np.asarray(meta["affine"])
    )


def read_grid(path: str | Path) -> Grid:
    """Where the voxels of a NIfTI or NRRD file lie, by its header: nothing is decompressed.

    Raises:
        BadInput: as `load_volume` of the header.
    """
    promised = _promised(Path(path))
    return Grid(_three(promised.shape, Path(path)), promised.affine)


def grid_of(image: MetaTensor) -> Grid:
    """The voxel grid of a (1, X, Y, Z) image."""
    return Grid(tuple(image.shape[1:]), image.affine.numpy())


class LoadVolumed(MapTransform):
    """`load_volume` for dictionaries.

    Replaces the path under each key by the volume; adds `source_grid` (the file's `Grid`) and
    `warnings` (list of str).
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        """Read the files."""
        out = dict(data)
        out["warnings"] = list(out.get("warnings", ()))
        for key in self.key_iterator(out):
            image = load_volume(out[key])
            out[key] = image
            out["source_grid"] = grid_of(image)
            out["warnings"] += image.meta["warnings"]
        return out


def _read(path: Path) -> tuple[np.ndarray, dict]:
    """Voxels and MONAI meta data (`affine` in RAS+, `warnings`) of a file or folder."""
    name = path.name.lower()
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    if path.is_dir():
        files, warnings = series_files(path)
        return _dicom(path, files, warnings)
    if name.endswith((".dcm", ".dicom", ".ima")):
        return _dicom(path, [path], [])
    if name.endswith(".nhdr"):
        return _detached(path)
    promised = _promised(path)
    _three(promised.shape, path)
    _check_memory(path, promised)
    try:
        if promised.format is Format.NRRD:
            with path.open("rb") as file:
                array = headers.read_voxels(file, headers.read_fields(file))
        else:
            array = np.asanyarray(headers.open_nifti(path).dataobj)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    return array, _meta(path, promised.affine, promised.placed)


def _promised(path: Path) -> Header:
    """The header of a NIfTI or NRRD file whose ending says what it is."""
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    name = path.name.lower()
    if not name.endswith((*NIFTI, ".nrrd")):
        raise BadInput(
            f"{path} has an unknown ending: give a .nii, .nii.gz or .nrrd file, or a DICOM folder"
        )
    try:
        promised = read_header(path)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    if not name.endswith(promised.format.value):
        raise _damaged(path, f"its content is {promised.format.value}")
    return promised


def _damaged(path: Path, reason: object) -> BadInput:
    reason = " ".join(str(reason).split())[:200]
    return BadInput(f"{path} is damaged or not what its ending says ({reason})")


def _check_memory(path: Path, promised: Header) -> None:
    needed = promised.voxel_bytes + 4 * math.prod(promised.shape)  # as stored, and as float32
    free = psutil.virtual_memory().available
    if needed > free:
        raise BadInput(
            f"{path} needs {needed >> 20} MB of memory for {promised.shape} voxels, and this "
            f"machine has {free >> 20} MB free: crop the volume, or free some memory"
        )


def _dicom(path: Path, files: list[Path], warnings: list[str]) -> tuple[np.ndarray, dict]:
    """Slices that are known to be one volume, in order, by ITK."""
    import itk  # costs seconds: only when a DICOM is read

    names = [str(name) for name in files]
    try:
        # named, or ITK would choose the reader by a file's first bytes, which are anybody's
        image = itk.imread(names if len(names) > 1 else names[0], imageio=itk.GDCMImageIO.New())
        array = itk.array_from_image(image).T
        affine = np.eye(4)
        affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) @ np.diag(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    meta = _meta(path, _LPS_TO_RAS @ affine, placed=True)
    meta["warnings"] += warnings
    return array, meta


def _detached(path: Path) -> tuple[np.ndarray, dict]:
    """A header on one's own disk, with its voxels in a file beside it."""
    try:
        fields = nrrd.read_header(str(path))
        named = str(fields.get("data file", fields.get("datafile", path.name)))
        if Path(named).name != named or named.startswith("LIST") or "%" in named:
            raise BadInput(f"{path} names {named!r}: its voxels must lie beside it in one file")
        affine, placed = headers.nrrd_affine(fields)
        with path.open("rb") as file:
            nrrd.read_header(file)
            array = nrrd.read_data(fields, file, str(path))
    except BadInput:
        raise
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    return array, _meta(path, affine, placed)


def _meta(path: Path, affine: np.ndarray, placed: bool) -> dict:
    guess = f"{path.name} does not say how it lies in space; left and right are a guess"
    return {
        "affine": np.array(affine, dtype=np.float64),
        "original_affine": np.array(affine, dtype=np.float64),
        "space": SpaceKeys.RAS,
        "warnings": [] if placed else [guess],
    }


def _three_dimensional(array: np.ndarray, path: Path) -> np.ndarray:
    array = array.reshape(_three(array.shape, path))
    if array.dtype.names or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise BadInput(
            f"{path} holds colours or complex numbers: give a volume with one value each"
        )
    return array


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
