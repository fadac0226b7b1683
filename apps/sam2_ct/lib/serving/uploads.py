"""Files that came over the network: kept under an ending that their content has."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib.errors import BadInput
from lib.files import temporary
from lib.geometry import Grid
from lib.transforms.header import Header, format_of, read_header
from lib.transforms.load import UNREADABLE, load_labelmap, read_grid
from lib.transforms.save import save_labelmap

_ONLY = "send a NIfTI file (.nii, .nii.gz) or an NRRD file (.nrrd) that holds everything itself"


@dataclass(frozen=True)
class Upload:
    """A volume or label map of somebody else's; whoever asked for it removes it.

    Attributes:
        path: of a file in the server's own folder; nothing of its name is the sender's.
        header: what it promises.
    """

    path: Path
    header: Header


def keep(file: BinaryIO) -> Upload:
    """Copy what was uploaded, and look at its header; nothing is decompressed.

    Raises:
        BadInput: another format, a header that makes no sense, or a decompression bomb.
    """
    path = _copied(file)
    try:
        kind = format_of(path)
        if kind is None:
            raise BadInput(f"the upload is no volume: {_ONLY}")
        path = path.rename(path.with_name(path.name + kind.value))
        header = _header(path)
        read_grid(path)
    except (BadInput, OSError):
        path.unlink(missing_ok=True)
        raise
    return Upload(path, header)


def keep_labels_on(grid: Grid, file: BinaryIO, name: str) -> Path:
    """The same for a label map that must lie on `grid`, read to its end: it is somebody's work.

    OHIF sends `label.bin`: one byte for each voxel, in the order of the volume's file.

    Raises:
        BadInput: as `keep`, another grid, or no whole label map.
    """
    if name.lower().endswith(".bin"):
        return _from_bytes(grid, file)
    upload = keep(file)
    try:
        its = read_grid(upload.path)
        if not its.same_as(grid):
            raise BadInput(
                f"the label map lies on another grid than the volume ({its.shape} against "
                f"{grid.shape}, or moved): use the volume as the segmentation's source geometry"
            )
        load_labelmap(upload.path)
    except BadInput:
        upload.path.unlink(missing_ok=True)
        raise
    return upload.path


def _from_bytes(grid: Grid, file: BinaryIO) -> Path:
    count = int(np.prod(grid.shape))
    data = file.read(count + 1)
    if len(data) != count:
        raise BadInput(f"label.bin must hold one byte for each of the {count} voxels")
    labels = np.frombuffer(data, np.uint8).reshape(grid.shape, order="F")
    return temporary(".nii.gz", lambda path: save_labelmap(labels, grid, path), prefix="upload-")


def _copied(file: BinaryIO) -> Path:
    with tempfile.NamedTemporaryFile(prefix="upload-", delete=False) as copy:
        try:
            shutil.copyfileobj(file, copy, 1 << 20)
        except OSError:
            Path(copy.name).unlink(missing_ok=True)
            raise
    return Path(copy.name)


def _header(path: Path) -> Header:
    try:
        header = read_header(path)
    except BadInput:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"the upload is damaged ({reason}): {_ONLY}") from error
    header.check_ratio()
    return header
