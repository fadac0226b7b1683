"""Volumes and label maps from files: NIfTI, NRRD, or a folder with one DICOM series."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
from monai.config import KeysCollection
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader, NrrdReader
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from lib.errors import BadInput
from lib.geometry import Grid
from lib.transforms.dicom import series_files

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")

_TO_RAS = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
}

# what nibabel, gzip, pynrrd and ITK raise on a damaged or foreign file
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    StopIteration,
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
        out = dict(data)
        out["warnings"] = list(out.get("warnings", ()))
        for key in self.key_iterator(out):
            image = load_volume(out[key])
            out[key] = image
            out["source_grid"] = grid_of(image)
            out["warnings"] += image.meta["warnings"]
        return out


class _FilesReader(ITKReader):
    """ITK on a list of slice files that is already known to be one volume, in order."""

    def read(self, data, **kwargs):
        import itk  # costs seconds: only when a DICOM is read

        names = [str(name) for name in data]
        return itk.imread(names if len(names) > 1 else names[0])


class _NrrdReader(NrrdReader):
    """MONAI's reader, for every space that NRRD knows and for headers without one.

    pynrrd instead of ITK: importing ITK costs more seconds than most volumes.
    """

    def get_data(self, img) -> tuple[np.ndarray, dict]:
        header = img.header
        space = str(header.get("space", "left-posterior-superior")).lower()
        if space not in _TO_RAS:
            raise ValueError(f"its space is {space}, not one of {', '.join(_TO_RAS)}")
        warnings = []
        directions = header.get("space directions")
        if directions is None:
            spacings = header.get("spacings", np.ones(img.array.ndim))
            directions = np.diag(np.nan_to_num(np.asarray(spacings, dtype=float), nan=1.0)[:3])
            warnings.append(
                "the NRRD header does not say how it lies in space; left and right are a guess"
            )
        affine = np.eye(4)
        if img.array.ndim == 3:  # other numbers of dimensions are turned down by the caller
            affine[:3, :3] = np.asarray(directions, dtype=float).T
            affine[:3, 3] = header.get("space origin", np.zeros(3))
        affine = np.diag([*_TO_RAS[space], 1.0]) @ affine
        return img.array, {
            "affine": affine,
            "original_affine": affine.copy(),
            "space": SpaceKeys.RAS,
            "warnings": warnings,
        }


def _read(path: Path) -> tuple[np.ndarray, dict]:
    """Voxels and MONAI meta data (`affine` in RAS+, `warnings`) of a file or folder."""
    name = path.name.lower()
    source: object = path
    warnings: list[str] = []
    reader: ImageReader
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    if path.is_dir():
        source, warnings = series_files(path)
        reader = _FilesReader()
    elif name.endswith(NIFTI):
        reader = NibabelReader()
    elif name.endswith(NRRD):
        reader = _NrrdReader()
    elif name.endswith((".dcm", ".dicom", ".ima")):
        source, reader = [path], _FilesReader()
    else:
        raise BadInput(
            f"{path} has an unknown ending: give a .nii, .nii.gz or .nrrd file, or a DICOM folder"
        )
    try:
        array, meta = reader.get_data(reader.read(source))
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} is damaged or not what its ending says ({reason})") from error
    if meta.get("sform_code", 1) == 0 and meta.get("qform_code", 1) == 0:
        warnings.append(
            f"{path.name} does not say how it lies in space; left and right are a guess"
        )
    meta["warnings"] = [*warnings, *meta.get("warnings", ())]
    return array, meta


def _three_dimensional(array: np.ndarray, path: Path) -> np.ndarray:
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise BadInput(f"{path} has {len(shape)} dimensions {shape}: give one volume with three")
    if min(array.shape) < 2:
        raise BadInput(f"{path} is a single slice {shape}: give a volume with several slices")
    if array.dtype.names or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise BadInput(
            f"{path} holds colours or complex numbers: give a volume with one value each"
        )
    return array
