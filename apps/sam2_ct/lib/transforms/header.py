"""What a file of voxels is, by its content, and what its header promises; no voxel is read.

Formats that can hold a whole volume in one file, and nothing that names another file: NIfTI pairs,
detached NRRD headers and the like could make a server read what the sender may not see. The one
exception is a `.nhdr` beside its data on one's own disk; files that came over a network never have
that ending.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import nrrd
import numpy as np

from lib.errors import BadInput
from lib.transforms.streams import DECODERS, gunzipped, read_array

_START = 540  # bytes of the longest fixed header, NIfTI-2's
_TEXT_LIMIT = 4 << 20  # of an NRRD header, or of a NIfTI file's extensions
#: Voxels below this are read whatever the file's size; above it a real image, which holds noise,
#: compresses far less than a hundredfold, and a bomb a thousandfold.
_SMALL = 256 << 20
_MAX_RATIO = 100

TO_RAS = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
}

Fields = Mapping[str, object]
"""The fields of an NRRD header, as pynrrd parses them."""


class Format(Enum):
    """A file format; the value is the ending its files have."""

    NIFTI = ".nii"
    NIFTI_GZ = ".nii.gz"
    NRRD = ".nrrd"


@dataclass(frozen=True)
class Header:
    """What a file promises.

    Attributes:
        format: by content.
        shape: as many dimensions as the file has.
        affine: (4, 4) float64, voxel index → RAS+ mm; the identity unless there are three or more
            dimensions.
        voxel_bytes: size of all voxels, decompressed.
        file_bytes: size of the file.
        placed: it says how it lies in space.
    """

    format: Format
    shape: tuple[int, ...]
    affine: np.ndarray
    voxel_bytes: int
    file_bytes: int
    placed: bool

    def check_ratio(self) -> None:
        """Turn down what only a decompression bomb promises.

        Raises:
            BadInput: as it says.
        """
        if self.voxel_bytes > max(_SMALL, _MAX_RATIO * self.file_bytes):
            raise BadInput(
                f"the file promises {self.voxel_bytes >> 20} MB of voxels in "
                f"{self.file_bytes / 1e6:.1f} MB: no image compresses that well"
            )


def format_of(path: Path) -> Format | None:
    """The format by content; None if it is none of those."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        if start.startswith(b"NRRD000"):
            return Format.NRRD
        if _is_nifti(start):
            return Format.NIFTI
        if start.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                return Format.NIFTI_GZ if _is_nifti(file.read(_START)) else None
    except (EOFError, OSError, zlib.error):
        return None
    return None


def read_header(path: Path) -> Header:
    """What a file promises.

    Raises:
        BadInput: none of the formats, or a header that makes no sense.
        Exception: whatever nibabel and pynrrd raise on a damaged header, see `load.UNREADABLE`.
    """
    kind = format_of(path)
    if kind is None:
        raise BadInput("it is neither a single-file NIfTI nor an NRRD with its data attached")
    size = path.stat().st_size
    if kind is Format.NRRD:
        with path.open("rb") as file:
            fields = read_fields(file)
        shape = tuple(int(n) for n in fields["sizes"])
        affine, placed = nrrd_affine(fields)
        return Header(kind, shape, affine, _voxel_bytes(fields), size, placed)
    image = open_nifti(path)
    promised = math.prod(image.shape) * image.get_data_dtype().itemsize
    placed = bool(image.header["sform_code"] or image.header["qform_code"])
    return Header(kind, tuple(image.shape), image.affine, promised, size, placed)


def open_nifti(path: Path) -> nib.Nifti1Image:
    """A NIfTI-1 or -2 image whose voxels are not read yet.

    Raises:
        BadInput: its extensions are too large, or its dimensions make no sense.
    """
    opened = gzip.open if format_of(path) is Format.NIFTI_GZ else open
    with opened(path, "rb") as file:
        start = file.read(_START)
    second = int.from_bytes(start[:4], "little") == 540 or int.from_bytes(start[:4], "big") == 540
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    block = start[: 540 if second else 348]
    bare = kind.header_class(block, check=False)  # its extensions are read by the next line only
    if not 0 <= float(bare["vox_offset"]) <= _TEXT_LIMIT:
        raise BadInput("its header says that the voxels begin in an impossible place")
    image = kind.from_filename(path)
    if not image.shape or min(image.shape) < 1:
        raise BadInput(f"its dimensions {image.shape} make no sense")
    return image


def read_fields(file: BinaryIO) -> Fields:
    """The header of an NRRD file; `file` stands at its first voxel then.

    Raises:
        BadInput: it refers to another file, or cannot be read safely.
    """
    text = file.read(_TEXT_LIMIT)
    end = re.search(rb"\n\r?\n", text)
    if end is None:
        raise BadInput("its header does not end, or the voxels are in another file")
    file.seek(end.end())
    fields = nrrd.read_header(io.BytesIO(text[: end.end()]))
    if {"data file", "datafile"} & {name.lower() for name in fields}:
        raise BadInput("its voxels are in another file: save it as one file (attached data)")
    skips = ("line skip", "lineskip", "byte skip", "byteskip")
    if any(fields.get(name) for name in skips):
        raise BadInput("its voxels do not follow its header: save it anew")
    missing = {"dimension", "type", "encoding", "sizes"} - fields.keys()
    if missing:
        raise BadInput(f"its header lacks {', '.join(sorted(missing))}")
    if str(fields["encoding"]).lower() not in DECODERS:
        raise BadInput(f"its encoding {fields['encoding']!r} is not supported: use raw or gzip")
    if len(fields["sizes"]) != fields["dimension"] or min(fields["sizes"], default=0) < 1:
        raise BadInput("its dimensions make no sense")
    return fields


def read_nrrd(file: BinaryIO) -> np.ndarray:
    """The voxels of an NRRD file: no more than its header promises.

    pynrrd decompresses to the end first and counts then.

    Raises:
        BadInput: there are fewer, or as `read_fields`.
    """
    fields = read_fields(file)
    stream = DECODERS[str(fields["encoding"]).lower()](file)
    shape = tuple(int(n) for n in fields["sizes"])
    return read_array(stream, shape, nrrd.reader._determine_datatype(fields))


def read_nifti(path: Path) -> tuple[np.ndarray, float, float]:
    """The voxels of a NIfTI file as they are stored, and their slope and intercept.

    Raises:
        BadInput: there are fewer than its header promises, or as `open_nifti`.
    """
    promised = open_nifti(path).dataobj
    with path.open("rb") as file:
        stream = gunzipped(file) if format_of(path) is Format.NIFTI_GZ else file
        stream.seek(promised.offset)
        stored = read_array(stream, promised.shape, promised.dtype)
    return stored, float(promised.slope), float(promised.inter)


def nrrd_affine(fields: Fields) -> tuple[np.ndarray, bool]:
    """(4, 4) voxel index → RAS+ mm of an NRRD header, and whether it says so or it is a guess.

    Raises:
        BadInput: an unknown space.
    """
    space = str(fields.get("space", "left-posterior-superior")).lower()
    if space not in TO_RAS:
        raise BadInput(f"its space is {space}, not one of {', '.join(TO_RAS)}")
    affine = np.eye(4)
    directions = fields.get("space directions")
    placed = directions is not None
    if not placed:
        spacings = fields.get("spacings", np.ones(len(fields["sizes"])))
        directions = np.diag(np.nan_to_num(np.asarray(spacings, dtype=float), nan=1.0)[:3])
    # trailing dimensions of length 1 say nothing; others are turned down by the caller
    if len(fields["sizes"]) >= 3:
        affine[:3, :3] = np.asarray(directions, dtype=float)[:3].T
        affine[:3, 3] = fields.get("space origin", np.zeros(3))
    return np.diag([*TO_RAS[space], 1.0]) @ affine, placed


def _voxel_bytes(fields: Fields) -> int:
    item = nrrd.reader._determine_datatype(fields).itemsize
    return math.prod(int(n) for n in fields["sizes"]) * item


def _is_nifti(start: bytes) -> bool:
    """Single-file NIfTI-1 or -2 of either byte order."""
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        if size == 348 and start[344:348] == b"n+1\0":
            return True
        if size == 540 and start[4:12] == b"n+2\0\r\n\x1a\n":
            return True
    return False
