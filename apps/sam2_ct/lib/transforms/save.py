"""Label maps to files, whole or not at all."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np

from lib.errors import BadInput
from lib.files import check_output, write_whole
from lib.geometry import Grid
from lib.transforms.header import open_nifti
from lib.transforms.labels import narrowed
from lib.transforms.load import NIFTI, UNREADABLE, read_grid
from lib.transforms.streams import gzipped

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def save_labelmap(
    array: np.ndarray,
    grid: Grid,
    path: str | Path,
    *,
    like: str | Path | None = None,
    compress: bool = True,
) -> None:
    """Write labels (X, Y, Z) on `grid` as NIfTI or NRRD, by the ending of `path`.

    The file appears complete: it is written beside `path` and then renamed. Values up to 255
    are stored as uint8, larger ones as uint16.

    Args:
        array: whole numbers from 0 to 65535, or bool.
        grid: where the voxels lie.
        path: `.nii`, `.nii.gz` or `.nrrd`.
        like: the CT file; if it is NIfTI on the same grid, a NIfTI output keeps its sform and
            qform, their codes and units bit for bit.
        compress: NRRD only; NIfTI goes by its ending.

    Raises:
        BadInput: a path that cannot be written.
    """
    path = Path(path)
    check_output(path)
    if array.shape != grid.shape:
        raise ValueError(f"labels of shape {array.shape} on a grid of shape {grid.shape}")
    try:
        labels = narrowed(array)
    except BadInput as error:  # no file of somebody else's: our own defect
        raise ValueError(str(error)) from error

    name = path.name.lower()
    if name.endswith(".nrrd"):
        write_whole(path, lambda partial: _write_nrrd(labels, grid, partial, compress))
    else:
        image = _nifti(labels, grid, like)
        write_whole(path, lambda partial: _write_nifti(image, partial, name.endswith(".gz")))


def _nifti(labels: np.ndarray, grid: Grid, like: str | Path | None) -> nib.Nifti1Image:
    if like is not None and str(like).lower().endswith(NIFTI):
        source = _nifti_on(grid, Path(like))
        if source is not None:
            header = source.header.copy()
            header.extensions.clear()  # may name the patient
            header.set_data_dtype(labels.dtype)
            header.set_slope_inter(1, 0)
            header.set_intent("none")
            for text in ("descrip", "aux_file", "db_name", "intent_name"):
                if text in header:
                    header[text] = b""
            header["cal_min"] = header["cal_max"] = 0
            return type(source)(labels, source.affine, header)
    image = nib.Nifti1Image(labels, grid.affine)
    image.set_sform(grid.affine, code="scanner")
    image.set_qform(grid.affine, code="scanner", strip_shears=True)
    image.header.set_xyzt_units("mm")
    return image


def _nifti_on(grid: Grid, path: Path) -> nib.Nifti1Image | None:
    """The NIfTI file at `path`, if it lies on `grid`; it may have gone or been replaced by now."""
    try:
        return open_nifti(path) if read_grid(path).same_as(grid) else None
    except UNREADABLE:  # BadInput is one
        return None


def _write_nifti(image: nib.Nifti1Image, path: Path, compress: bool) -> None:
    with path.open("wb") as file, gzipped(file) if compress else nullcontext(file) as out:
        image.to_file_map({"image": nib.FileHolder(fileobj=out)})


def _write_nrrd(labels: np.ndarray, grid: Grid, path: Path, compress: bool) -> None:
    """Slice by slice: neither a copy of the whole, nor do other threads wait."""
    directions = (_RAS_TO_LPS @ grid.affine[:3, :3]).T
    header = [
        "NRRD0004",
        f"type: {labels.dtype.name}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, labels.shape))}",
        f"space directions: {' '.join(map(_vector, directions))}",
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_vector(_RAS_TO_LPS @ grid.affine[:3, 3])}",
    ]
    stored = labels.dtype.newbyteorder("<")
    with path.open("wb") as file:
        file.write("\n".join([*header, "", ""]).encode("ascii"))
        with gzipped(file) if compress else nullcontext(file) as out:
            for k in range(labels.shape[2]):
                out.write(labels[:, :, k].astype(stored, copy=False).tobytes(order="F"))


def _vector(values: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
